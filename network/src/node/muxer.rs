//! Yamux over TCP with a bound on what one connection may buffer.
//!
//! `libp2p-yamux` leaves a connection's receive windows at yamux's own default, which lets a peer grow them to a gibibyte. This is
//! the same thin layer with the bound set, and with frames as large as our chunks, so that a chunk costs one header.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io::{self, IoSlice, IoSliceMut};
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::{AsyncRead, AsyncWrite, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

use crate::transfer::MAX_CHUNK_BYTES;

/// What a stream may have in flight without having proven a need for more; yamux's specification fixes it.
const FIRST_WINDOW: usize = yamux::DEFAULT_CREDIT as usize;
/// By how much all windows of a connection together may grow on long and fast paths.
const MAX_GROWTH: usize = 8 * 1024 * 1024;
/// Opened streams that wait to be taken; the peer stops at as many that are not acknowledged.
const MAX_WAITING: usize = 256;

/// How a connection is multiplexed.
#[derive(Debug, Clone)]
pub(super) struct Config(yamux::Config);

impl Config {
    /// At most `streams` at a time in both directions.
    pub(super) fn new(streams: usize) -> Self {
        let mut config = yamux::Config::default();
        // Each of both is checked against the other: the default bound would refuse many streams.
        config.set_max_connection_receive_window(None);
        config.set_max_num_streams(streams);
        config.set_max_connection_receive_window(Some(streams * FIRST_WINDOW + MAX_GROWTH));
        config.set_split_send_size(MAX_CHUNK_BYTES);
        Self(config)
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, self.0, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, self.0, yamux::Mode::Client)))
    }
}

/// A multiplexed connection.
pub(super) struct Muxer<C> {
    connection: yamux::Connection<C>,
    /// Streams that came while the connection was driven for others.
    waiting: VecDeque<yamux::Stream>,
    waker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(io: C, config: yamux::Config, mode: yamux::Mode) -> Self {
        let connection = yamux::Connection::new(io, config, mode);
        Self { connection, waiting: VecDeque::new(), waker: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(next.unwrap_or(Err(yamux::ConnectionError::Closed)).map_err(failed))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(Stream(stream)));
        }
        if let Poll::Ready(next) = self.poll_next(cx) {
            return Poll::Ready(next.map(Stream));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.connection.poll_new_outbound(cx).map_ok(Stream).map_err(failed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(failed)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.poll_next(cx))?;
        // Dropping a stream resets it.
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(stream);
            self.waker.take().inspect(Waker::wake_by_ref);
        }
        // Others get a turn before the next stream is looked for.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn failed(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// One stream of a connection.
#[derive(Debug)]
pub(super) struct Stream(yamux::Stream);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, buffers)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_any_number_of_streams_that_may_be_configured() {
        for streams in [1, 144, 512, 4_096, 20_016] {
            Config::new(streams);
        }
    }
}
