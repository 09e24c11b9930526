//! One HTTP exchange on a connection of its own, as FFmpeg's muxers make one for each segment. By hand, because the moment at which
//! the last byte of a body was handed over is what a load test measures from.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::error::LoadError;

/// Longest wait for an answer: above any segment's deadline.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer that is read: a playlist, a page of metrics, or a rendition of one segment.
const MAX_ANSWER: u64 = 16 << 20;

/// What came back, and when.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// Stages and their milliseconds, from the `Server-Timing` header.
    pub(super) stages: Vec<(String, f64)>,
    /// When the whole request had been handed to the kernel.
    pub(super) sent: Instant,
    /// When the whole answer was there.
    pub(super) received: Instant,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Gets a page.
///
/// # Errors
/// The server does not answer with status 200.
pub(super) async fn get(address: &str, path: &str) -> Result<Answer, LoadError> {
    let answer = exchange(address, "GET", path, &Bytes::new()).await?;
    match answer.status {
        200 => Ok(answer),
        status => Err(failed(address, path, format!("status {status}: {}", answer.text().trim()))),
    }
}

/// Pushes a segment. Any answer counts, refusals too.
///
/// # Errors
/// The server cannot be reached, or its answer cannot be read.
pub(super) async fn put(address: &str, path: &str, body: &Bytes) -> Result<Answer, LoadError> {
    exchange(address, "PUT", path, body).await
}

fn failed(address: &str, path: &str, reason: String) -> LoadError {
    LoadError::Web { address: address.to_owned(), path: path.to_owned(), reason }
}

async fn exchange(address: &str, method: &str, path: &str, body: &Bytes) -> Result<Answer, LoadError> {
    let talk = talk(address, method, path, body);
    let answered = timeout(PATIENCE, talk).await.map_err(|_| format!("no answer within {PATIENCE:?}"));
    answered.and_then(|answer| answer).map_err(|reason| failed(address, path, reason))
}

async fn talk(address: &str, method: &str, path: &str, body: &Bytes) -> Result<Answer, String> {
    let plain = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(plain)?;
    stream.set_nodelay(true).map_err(plain)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.map_err(plain)?;
    // A server that refuses a body may close before its end: what it says about it is read all the same.
    let written = stream.write_all(body).await;
    let sent = Instant::now();
    let mut bytes = Vec::new();
    let read = (&mut stream).take(MAX_ANSWER).read_to_end(&mut bytes).await;
    let received = Instant::now();
    if bytes.is_empty() {
        written.map_err(plain)?;
        read.map_err(plain)?;
    }
    parse(&Bytes::from(bytes), sent, received).ok_or_else(|| "the answer is no http".to_owned())
}

fn parse(bytes: &Bytes, sent: Instant, received: Instant) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = || lines.clone().filter_map(|line| line.split_once(": "));
    let header =
        |name: &str| headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let body = bytes.slice(end + 4..);
    let whole = header("content-length").is_none_or(|length| length.parse() == Ok(body.len()));
    let stages = header("server-timing").map(stages).unwrap_or_default();
    whole.then_some(Answer { status, body, stages, sent, received })
}

/// Reads `name;dur=12, other;dur=3`.
fn stages(header: &str) -> Vec<(String, f64)> {
    let stage = |text: &str| {
        let (name, millis) = text.trim().split_once(";dur=")?;
        Some((name.to_owned(), millis.parse().ok()?))
    };
    header.split(',').filter_map(stage).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    fn answer(text: &str) -> Option<Answer> {
        parse(&Bytes::copy_from_slice(text.as_bytes()), Instant::now(), Instant::now())
    }

    #[test]
    fn reads_status_body_and_the_time_of_each_stage() {
        let text =
            "HTTP/1.1 200 OK\r\nserver-timing: ingest;dur=2, pay;dur=17\r\ncontent-length: 2\r\n\r\nok";
        let answer = answer(text).unwrap();
        assert_eq!((answer.status, answer.text()), (200, "ok".to_owned()));
        assert_eq!(answer.stages, [("ingest".to_owned(), 2.0), ("pay".to_owned(), 17.0)]);
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok").is_none());
        assert!(answer("HTTP/1.1 200 OK\r\n").is_none());
        assert!(answer("").is_none());
    }
}
