//! What an MP4 claims to hold, before FFmpeg believes it.
//!
//! FFmpeg builds an index with an entry for every sample of every track, and a table of equal samples claims four billion of
//! them in twelve bytes: sixteen kilobytes made it take eight gigabytes and most of a minute, in which no deadline is
//! looked at.

use std::io::{self, Read, Seek, SeekFrom};

use crate::error::{Limit, MediaError};
use crate::limits::{MediaLimits, check};
use crate::time::TICKS_PER_SECOND;

/// Samples any input may claim: an index of this many takes 24 MiB.
const FREE_SAMPLES: u64 = 1 << 20;
/// Samples of one second: two tracks of the finest PCM, whose every sample may be one of the container's.
const SAMPLES_PER_SECOND: u64 = 2 * 192_000;
/// Bytes of a run of chunks with as many samples each.
const RUN: usize = 12;
/// FFmpeg puts so many samples of PCM under one entry.
const PCM_SAMPLES: u64 = 1024;
/// How many times its own length a header's tables of runs may have together. They lie side by side, and only in a header that is
/// made for it does one begin in another again and again.
const OVERLAP: usize = 4;
/// Bytes of a header box that are looked at; a moov of ten hours has less.
const MAX_BOX: u64 = 256 << 20;

/// Refuses an MP4 that claims more samples than its bytes can hold or its duration may have.
pub(crate) fn check_claims(reader: &mut (impl Read + Seek), limits: &MediaLimits) -> Result<(), MediaError> {
    let failed = |error: io::Error| MediaError::Source { reason: error.to_string() };
    let length = reader.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut claims = Claims::default();
    let mut at = 0;
    while let Some(found) = next_box(reader, at, length).map_err(failed)? {
        limits.check_time()?;
        if &found.kind != b"mdat" {
            let body = (found.end - at).min(MAX_BOX);
            let mut bytes = Vec::new();
            reader.seek(SeekFrom::Start(at)).map_err(failed)?;
            reader.by_ref().take(body).read_to_end(&mut bytes).map_err(failed)?;
            claims.add(&bytes)?;
            claims.check(length, limits)?;
        }
        at = found.end;
    }
    Ok(())
}

/// A box at the top of the file.
struct TopBox {
    kind: [u8; 4],
    end: u64,
}

/// The box that starts at `at`; `None` at the end of what can be read as boxes.
fn next_box(reader: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Option<TopBox>> {
    let mut head = [0; 16];
    if at >= length {
        return Ok(None);
    }
    reader.seek(SeekFrom::Start(at))?;
    let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(head.len());
    reader.read_exact(&mut head[..wanted])?;
    let size = match number(&head, 0) {
        _ if wanted < 8 => return Ok(None),
        Some(0) => length - at,
        Some(1) => u64::from_be_bytes(head[8..].try_into().expect("eight bytes of sixteen")),
        size => size.unwrap_or(0).into(),
    };
    let kind = head[4..8].try_into().expect("four bytes of sixteen");
    let end = at.saturating_add(size).min(length);
    Ok((size >= 8).then_some(TopBox { kind, end }))
}

/// The big-endian number at a place.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Samples that the tables claim. They are found by their names, wherever they lie, because FFmpeg reads them in places
/// where no standard puts them.
#[derive(Default)]
pub(crate) struct Claims {
    listed: u64,
    chunks: u64,
    samples_per_chunk: u64,
}

impl Claims {
    /// Adds what one box and all inside it claims.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        let mut left = OVERLAP * bytes.len();
        for (at, name) in bytes.windows(4).enumerate() {
            // What follows the name: version and flags, then the table's own numbers.
            let field = |index: usize| u64::from(number(bytes, at + 8 + 4 * index).unwrap_or(0));
            match name {
                b"cmov" => return Err(MediaError::NotMedia { reason: "its index is compressed".into() }),
                b"stsz" if field(0) > 0 => self.listed = self.listed.saturating_add(field(1)),
                b"trun" => self.listed = self.listed.saturating_add(field(0)),
                b"stco" | b"co64" => self.chunks = self.chunks.saturating_add(field(0)),
                b"stsc" => self.add_runs(&bytes[at + 4..], &mut left)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The table of how many samples a chunk has: triples of a first chunk, a number of samples, a description. `left` is how many
    /// bytes of such tables are still looked at.
    fn add_runs(&mut self, table: &[u8], left: &mut usize) -> Result<(), MediaError> {
        let count = number(table, 4).map_or(0, |count| count as usize);
        let runs = table.get(8..).unwrap_or_default().chunks_exact(RUN).take(count);
        *left = left
            .checked_sub(runs.len() * RUN)
            .ok_or_else(|| MediaError::NotMedia { reason: "its tables lie in one another".into() })?;
        let most = runs.filter_map(|run| number(run, 4)).max().unwrap_or(0);
        self.samples_per_chunk = self.samples_per_chunk.max(most.into());
        Ok(())
    }

    /// Refuses more samples than so many bytes can hold or the duration may have.
    pub(crate) fn check(&self, bytes: u64, limits: &MediaLimits) -> Result<(), MediaError> {
        let seconds = limits.duration.max(0).unsigned_abs() / TICKS_PER_SECOND.unsigned_abs() + 1;
        let bound = bytes.min(seconds.saturating_mul(SAMPLES_PER_SECOND)).max(FREE_SAMPLES);
        check(Limit::Samples, self.samples(), bound)
    }

    fn samples(&self) -> u64 {
        self.listed.saturating_add(self.chunks.saturating_mul(self.samples_per_chunk) / PCM_SAMPLES)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).expect("a small box");
        [&size.to_be_bytes(), &kind[..], body].concat()
    }

    fn table(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
        let numbers = numbers.iter().flat_map(|number| number.to_be_bytes());
        boxed(kind, &[0; 4].into_iter().chain(numbers).collect::<Vec<u8>>())
    }

    fn verdict(file: &[u8]) -> Result<(), MediaError> {
        check_claims(&mut Cursor::new(file), &MediaLimits::segment())
    }

    #[test]
    fn tables_that_lie_in_one_another_are_not_read_over_and_over() {
        let file = boxed(b"free", &b"stsc".repeat(1 << 18));
        let refusal = verdict(&file).expect_err("no muxer writes this");
        assert!(refusal.to_string().contains("tables"), "{refusal}");
    }

    #[test]
    fn four_billion_equal_samples_are_refused_wherever_they_lie() {
        let claim = table(b"stsz", &[1, u32::MAX]);
        for file in [boxed(b"moov", &claim), boxed(b"free", &boxed(b"udta", &claim))] {
            assert!(matches!(verdict(&file), Err(MediaError::LimitExceeded { limit: Limit::Samples, .. })));
        }
    }

    #[test]
    fn claims_of_all_tracks_and_fragments_add_up() {
        let half = table(b"trun", &[600_000]);
        assert_eq!(verdict(&boxed(b"moof", &half)), Ok(()));
        let both = [boxed(b"moof", &half), boxed(b"moof", &half)].concat();
        assert_eq!(verdict(&both).unwrap_err().code(), "limit_exceeded");
    }

    #[test]
    fn many_chunks_of_many_samples_are_refused() {
        let tables = [table(b"stsc", &[1, 1, u32::MAX, 1]), table(b"stco", &[1_000])].concat();
        assert_eq!(verdict(&boxed(b"moov", &tables)).unwrap_err().code(), "limit_exceeded");
    }

    #[test]
    fn compressed_indices_are_refused() {
        assert_eq!(verdict(&boxed(b"moov", &boxed(b"cmov", &[0; 9]))).unwrap_err().code(), "not_media");
    }

    #[test]
    fn media_may_contain_any_bytes() {
        let claim = table(b"stsz", &[1, u32::MAX]);
        assert_eq!(verdict(&boxed(b"mdat", &claim)), Ok(()));
    }

    #[test]
    fn whatever_is_cut_off_is_read_as_far_as_it_goes() {
        let file = boxed(b"moov", &table(b"stsc", &[3, 1, 2, 1]));
        for end in 0..file.len() {
            assert_eq!(verdict(&file[..end]), Ok(()));
        }
    }
}
