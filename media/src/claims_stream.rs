//! What an MP4 claims that arrives as a stream: each header is looked at whole before FFmpeg sees its first byte.

use std::io::{self, Cursor, Read};

use crate::avio::Failure;
use crate::claims::Claims;
use crate::error::{Limit, MediaError};
use crate::limits::{MediaLimits, check};

/// Samples that headers may claim before the bytes of that many have come: their index takes 192 MiB.
const AHEAD_SAMPLES: u64 = 8 << 20;
/// Bytes of a header, which wait here until all of it has come. That of six hours with two tracks has less.
const MAX_HEADER: usize = 32 << 20;
/// The size of a box that goes on to the end of the stream.
const TO_THE_END: u64 = u64::MAX;
/// A box starts with a size and a name, of which the size may say that a longer one follows.
const SHORT_HEAD: usize = 8;
const LONG_HEAD: usize = 16;

/// Passes on an MP4 as it arrives, and fails before a header that claims too much.
pub(crate) struct ClaimsReader<R> {
    inner: R,
    limits: MediaLimits,
    failure: Failure,
    /// A header that was looked at, and how much of it is passed on.
    header: Cursor<Vec<u8>>,
    /// Bytes of media that are passed on as they come.
    media: u64,
    passed: u64,
    claims: Claims,
}

impl<R: Read> ClaimsReader<R> {
    /// What fails here is left in `failure`.
    pub(crate) fn new(inner: R, limits: &MediaLimits, failure: Failure) -> Self {
        let limits = limits.clone();
        let header = Cursor::default();
        Self { inner, limits, failure, header, media: 0, passed: 0, claims: Claims::default() }
    }

    /// Reads the next header whole, or the start of media.
    fn next_box(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(LONG_HEAD);
        self.gather(&mut bytes, SHORT_HEAD)?;
        if number(&bytes, 0..4) == Some(1) {
            self.gather(&mut bytes, LONG_HEAD)?;
        }
        let size = match number(&bytes, 0..4) {
            Some(0) => Some(TO_THE_END),
            Some(1) => number(&bytes, SHORT_HEAD..LONG_HEAD),
            size => size,
        };
        match (size.filter(|&size| size >= bytes.len() as u64), bytes.get(4..SHORT_HEAD)) {
            (Some(size), Some(b"mdat")) => self.media = size - bytes.len() as u64,
            (Some(size), Some(_)) => self.take_header(&mut bytes, size)?,
            // No box: FFmpeg looks for none behind it either.
            _ => self.media = TO_THE_END,
        }
        self.passed = self.passed.saturating_add(bytes.len() as u64);
        self.header = Cursor::new(bytes);
        Ok(())
    }

    fn take_header(&mut self, bytes: &mut Vec<u8>, size: u64) -> io::Result<()> {
        if size != TO_THE_END {
            self.judge(check(Limit::HeaderBytes, size, MAX_HEADER as u64))?;
        }
        let most = usize::try_from(size).unwrap_or(usize::MAX).min(MAX_HEADER + 1);
        self.gather(bytes, most)?;
        self.judge(check(Limit::HeaderBytes, bytes.len() as u64, MAX_HEADER as u64))?;
        let ahead = self.passed.max(AHEAD_SAMPLES);
        let verdict = self.claims.add(bytes).and_then(|()| self.claims.check(ahead, &self.limits));
        self.judge(verdict)
    }

    /// Reads on until there are so many bytes, fewer at the end of the stream.
    fn gather(&mut self, bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let missing = length.saturating_sub(bytes.len()) as u64;
        self.inner.by_ref().take(missing).read_to_end(bytes).map(|_| ())
    }

    fn judge(&self, verdict: Result<(), MediaError>) -> io::Result<()> {
        verdict.map_err(|error| self.failure.set(error))
    }
}

/// The big-endian number in a place.
fn number(bytes: &[u8], place: std::ops::Range<usize>) -> Option<u64> {
    Some(bytes.get(place)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

impl<R: Read> Read for ClaimsReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from_header = self.header.read(buffer)?;
        if from_header > 0 || buffer.is_empty() {
            return Ok(from_header);
        }
        if self.media == 0 {
            self.next_box()?;
            return self.header.read(buffer);
        }
        let most = usize::try_from(self.media).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.media -= count as u64;
        self.passed = self.passed.saturating_add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + SHORT_HEAD).expect("a small box");
        [&size.to_be_bytes(), &kind[..], body].concat()
    }

    fn claim(samples: u32) -> Vec<u8> {
        let numbers = [0, 1, samples].into_iter().flat_map(u32::to_be_bytes);
        boxed(b"moov", &boxed(b"stsz", &numbers.collect::<Vec<u8>>()))
    }

    /// What comes out of a stream that arrives three bytes at a time, and the error it ends with.
    fn passed(stream: &[u8]) -> (Vec<u8>, Option<MediaError>) {
        struct Pieces<'a>(&'a [u8]);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let most = buffer.len().min(3);
                self.0.read(&mut buffer[..most])
            }
        }
        let failure = Failure::default();
        let mut reader = ClaimsReader::new(Pieces(stream), &MediaLimits::default(), failure.clone());
        let mut bytes = Vec::new();
        let outcome = reader.read_to_end(&mut bytes);
        assert_eq!(outcome.is_err(), failure.get().is_some());
        (bytes, failure.get())
    }

    #[test]
    fn what_claims_little_passes_byte_for_byte() {
        let long = [&[0, 0, 0, 1], &b"mdat"[..], &[0, 0, 0, 0, 0, 0, 0, 18], b"ab"].concat();
        let open = [&[0, 0, 0, 0], &b"mdat"[..], &claim(u32::MAX)].concat();
        let stream = [boxed(b"ftyp", b"isom"), claim(1_000), long, boxed(b"mdat", b"abc"), open].concat();
        assert_eq!(passed(&stream), (stream, None));
    }

    #[test]
    fn whatever_is_cut_off_passes_as_far_as_it_goes() {
        let stream = [boxed(b"ftyp", b"isom"), claim(1_000), boxed(b"mdat", b"abc")].concat();
        for end in 0..stream.len() {
            assert_eq!(passed(&stream[..end]), (stream[..end].to_vec(), None));
        }
    }

    #[test]
    fn a_header_that_claims_too_much_does_not_pass() {
        let first = boxed(b"ftyp", b"isom");
        let (bytes, error) = passed(&[first.clone(), claim(u32::MAX)].concat());
        assert_eq!(bytes, first);
        assert!(matches!(error, Some(MediaError::LimitExceeded { limit: Limit::Samples, .. })), "{error:?}");
    }

    #[test]
    fn claims_of_all_headers_add_up() {
        let half = claim(5 << 20);
        assert_eq!(passed(&half).1, None);
        assert!(passed(&[half.clone(), boxed(b"mdat", b"abc"), half].concat()).1.is_some());
    }

    #[test]
    fn a_header_larger_than_any_is_refused_before_it_has_come() {
        let head = [&u32::MAX.to_be_bytes(), &b"free"[..]].concat();
        let error = passed(&head).1;
        assert!(
            matches!(error, Some(MediaError::LimitExceeded { limit: Limit::HeaderBytes, .. })),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_no_box_is_left_to_ffmpeg() {
        let stream = [boxed(b"ftyp", b"isom"), b"\0\0\0\x03freeabc".to_vec()].concat();
        assert_eq!(passed(&stream), (stream, None));
    }
}
