//! Prepared media: source segments, and what an honest engine made of each. Made once, kept in a folder.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_broadcaster::source_of;
use framemill_media::{
    ClipSpec, MediaLimits, Rational, Segmenter, SegmenterConfig, SourceSegment, generate_clip,
};
use framemill_network::{Codec, Ladder};
use framemill_transcoder::{Engine, Job, SessionId, SoftwareEngine};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::LoadError;

/// What changes when media are prepared in another way, so that older ones are made again.
const VERSION: u32 = 1;
/// File that says what lies in the folder; written last.
const MANIFEST: &str = "prepared.json";
/// Frames per second of the synthetic clip.
const CLIP_FPS: u32 = 30;
/// Bits per second of the synthetic clip's video.
const CLIP_BITRATE: u64 = 1_900_000;
/// Length of a segment of the synthetic clip, in seconds.
const SEGMENT_SECONDS: u32 = 2;
/// Time for one segment's renditions: preparing is not live.
const ENCODE_LIMIT: Duration = Duration::from_secs(600);

/// What is to be prepared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recipe {
    version: u32,
    /// Size of the synthetic clip, or the hash of the given file.
    source: Source,
    segments: u32,
    ladder: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Synthetic { width: u32, height: u32 },
    File { sha256: B256 },
}

/// The segments and their renditions, in memory.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// Concrete, as a broadcaster resolves it for these segments.
    pub(super) ladder: Ladder,
    /// In the clip's order.
    pub(super) segments: Vec<Segment>,
}

/// One source segment.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) data: Bytes,
    pub(super) sha256: B256,
    pub(super) duration: Duration,
    /// In ladder order.
    pub(super) renditions: Vec<Rendition>,
}

/// One prepared rendition.
#[derive(Debug, Clone)]
pub(super) struct Rendition {
    pub(super) data: Bytes,
    pub(super) frames: u64,
    pub(super) pixels: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    recipe: Recipe,
    ladder: Ladder,
    segments: Vec<SegmentEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SegmentEntry {
    source: FileEntry,
    duration_90k: u64,
    renditions: Vec<RenditionEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RenditionEntry {
    file: FileEntry,
    frames: u64,
    pixels: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileEntry {
    name: String,
    sha256: B256,
}

impl Recipe {
    /// The recipe for a file, or for a synthetic clip of this size.
    pub(super) fn new(
        input: Option<&Path>,
        size: (u32, u32),
        segments: u32,
        ladder: &str,
    ) -> Result<Self, LoadError> {
        let source = match input {
            Some(path) => Source::File { sha256: hash(&read(path)?) },
            None => Source::Synthetic { width: size.0, height: size.1 },
        };
        Ok(Self { version: VERSION, source, segments, ladder: ladder.to_owned() })
    }
}

impl Prepared {
    /// What lies in `folder`, every file checked by its hash.
    ///
    /// # Errors
    /// Nothing is prepared there, or it is damaged.
    pub(super) fn load(folder: &Path) -> Result<Self, LoadError> {
        let manifest = Manifest::read(folder)?.ok_or_else(|| LoadError::NotPrepared(folder.to_owned()))?;
        manifest.load(folder)
    }

    /// What `recipe` makes, from `folder` where it was made before.
    ///
    /// # Errors
    /// The input is no usable media, the ladder cannot be encoded here, or the folder cannot be written.
    pub(super) async fn open(
        recipe: &Recipe,
        input: Option<&Path>,
        folder: &Path,
    ) -> Result<Self, LoadError> {
        if let Ok(Some(manifest)) = Manifest::read(folder)
            && manifest.recipe == *recipe
            && let Ok(prepared) = manifest.load(folder)
        {
            return Ok(prepared);
        }
        println!("load: preparing {} segments and their renditions, once", recipe.segments);
        let prepared = recipe.make(input).await?;
        prepared.save(recipe, folder)?;
        Ok(prepared)
    }

    fn save(&self, recipe: &Recipe, folder: &Path) -> Result<(), LoadError> {
        std::fs::create_dir_all(folder).map_err(|error| LoadError::file(folder, error))?;
        let mut segments = Vec::with_capacity(self.segments.len());
        for (number, segment) in self.segments.iter().enumerate() {
            let source = write(folder, format!("{number}.ts"), &segment.data)?;
            let entries = self.ladder.iter().zip(&segment.renditions).map(|(entry, rendition)| {
                let file = write(folder, format!("{number}-{}.ts", entry.name), &rendition.data)?;
                Ok(RenditionEntry { file, frames: rendition.frames, pixels: rendition.pixels })
            });
            segments.push(SegmentEntry {
                source,
                duration_90k: ticks(segment.duration),
                renditions: entries.collect::<Result<_, LoadError>>()?,
            });
        }
        let manifest = Manifest { recipe: recipe.clone(), ladder: self.ladder.clone(), segments };
        let text = serde_json::to_vec_pretty(&manifest).expect("plain data has a json form");
        write(folder, MANIFEST.to_owned(), &text).map(drop)
    }

    /// Bytes of an average source segment.
    pub(super) fn source_bytes(&self) -> u64 {
        mean(self.segments.iter().map(|segment| segment.data.len() as u64))
    }

    /// Bytes of an average segment's renditions together.
    pub(super) fn rendition_bytes(&self) -> u64 {
        let of = |segment: &Segment| segment.renditions.iter().map(|one| one.data.len() as u64).sum();
        mean(self.segments.iter().map(of))
    }

    /// Pixels of the renditions of the segment with most.
    pub(super) fn most_pixels(&self) -> u64 {
        let of = |segment: &Segment| segment.renditions.iter().map(|one| one.pixels).sum();
        self.segments.iter().map(of).max().unwrap_or(0)
    }
}

impl Manifest {
    /// None where there is none.
    fn read(folder: &Path) -> Result<Option<Self>, LoadError> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let damaged =
            |error: serde_json::Error| LoadError::Damaged { path: path.clone(), reason: error.to_string() };
        serde_json::from_slice(&read(&path)?).map(Some).map_err(damaged)
    }

    fn load(self, folder: &Path) -> Result<Prepared, LoadError> {
        let rungs = self.ladder.len();
        let segments = self.segments.into_iter().map(|segment| segment.load(folder, rungs));
        let segments: Vec<Segment> = segments.collect::<Result<_, _>>()?;
        if segments.is_empty() {
            return Err(LoadError::NotPrepared(folder.to_owned()));
        }
        Ok(Prepared { ladder: self.ladder, segments })
    }
}

impl SegmentEntry {
    fn load(self, folder: &Path, rungs: usize) -> Result<Segment, LoadError> {
        if self.renditions.len() != rungs {
            let reason = format!("{} renditions of {rungs}", self.renditions.len());
            return Err(LoadError::Damaged { path: folder.join(self.source.name), reason });
        }
        let renditions = self.renditions.into_iter().map(|rendition| {
            let RenditionEntry { file, frames, pixels } = rendition;
            Ok(Rendition { data: file.load(folder)?, frames, pixels })
        });
        Ok(Segment {
            renditions: renditions.collect::<Result<_, LoadError>>()?,
            sha256: self.source.sha256,
            duration: Duration::from_micros(self.duration_90k.saturating_mul(100) / 9),
            data: self.source.load(folder)?,
        })
    }
}

impl FileEntry {
    fn load(&self, folder: &Path) -> Result<Bytes, LoadError> {
        let path = folder.join(&self.name);
        let data = read(&path)?;
        if hash(&data) != self.sha256 {
            return Err(LoadError::Damaged { path, reason: "its bytes have another hash".to_owned() });
        }
        Ok(data)
    }
}

impl Recipe {
    async fn make(&self, input: Option<&Path>) -> Result<Prepared, LoadError> {
        let ladder: Ladder = self.ladder.parse().map_err(LoadError::Ladder)?;
        if let Some(entry) = ladder.iter().find(|entry| entry.codec == Codec::Av1) {
            return Err(LoadError::Pieces(entry.name.clone()));
        }
        let (recipe, input) = (self.clone(), input.map(Path::to_owned));
        let sources = tokio::task::spawn_blocking(move || recipe.cut(input)).await;
        let sources = sources.map_err(|error| LoadError::Died(error.to_string()))??;
        let first = sources.first().ok_or(LoadError::NoSegments)?;
        let ladder = ladder.resolve(&source_of(&first.info)).map_err(LoadError::Ladder)?;
        let engine = SoftwareEngine::default();
        let mut segments = Vec::with_capacity(sources.len());
        for source in sources {
            segments.push(encode(&engine, source, &ladder).await?);
        }
        Ok(Prepared { ladder, segments })
    }

    /// Blocks on making or reading the clip.
    fn cut(&self, input: Option<PathBuf>) -> Result<Vec<SourceSegment>, LoadError> {
        let limits = MediaLimits::default();
        let config = SegmenterConfig { require_video: true, ..SegmenterConfig::default() };
        let mut segmenter = match input {
            Some(path) => {
                let file = std::fs::File::open(&path).map_err(|error| LoadError::file(&path, error))?;
                Segmenter::open_seekable(file, config, &limits)?
            }
            None => Segmenter::from_bytes(generate_clip(&self.clip(), &limits)?, config, &limits)?,
        };
        let mut segments = Vec::new();
        while segments.len() < self.segments as usize
            && let Some(segment) = segmenter.next_segment()?
        {
            segments.push(segment);
        }
        Ok(segments)
    }

    fn clip(&self) -> ClipSpec {
        let (width, height) = match self.source {
            Source::Synthetic { width, height } => (width, height),
            Source::File { .. } => unreachable!("a file is cut as it is"),
        };
        let seconds = self.segments.saturating_mul(SEGMENT_SECONDS);
        let spec = ClipSpec::new(width, height, Rational::new(CLIP_FPS, 1), seconds);
        // A small picture of the same look needs fewer bits.
        let share = u64::from(width) * u64::from(height) * 1_000 / (1280 * 720);
        ClipSpec { bitrate: (CLIP_BITRATE * share.min(1_000) / 1_000).max(100_000), ..spec }
    }
}

async fn encode(
    engine: &SoftwareEngine,
    source: SourceSegment,
    ladder: &Ladder,
) -> Result<Segment, LoadError> {
    let job = Job {
        session: SessionId::ZERO,
        sequence: source.sequence,
        source: source.data.clone(),
        ladder: ladder.clone(),
        deadline: Instant::now() + ENCODE_LIMIT,
    };
    let made = engine.transcode(job).collect_all().await?;
    let renditions = made.into_iter().map(|rendition| Rendition {
        data: rendition.data,
        frames: rendition.summary.frames,
        pixels: rendition.summary.pixels,
    });
    let duration_90k = u64::try_from(source.duration).unwrap_or(0);
    Ok(Segment {
        renditions: renditions.collect(),
        sha256: hash(&source.data),
        duration: Duration::from_micros(duration_90k.saturating_mul(100) / 9),
        data: source.data,
    })
}

pub(super) fn hash(data: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(data))
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().saturating_mul(9).div_ceil(100)).unwrap_or(u64::MAX)
}

fn mean(values: impl ExactSizeIterator<Item = u64>) -> u64 {
    let count = values.len().max(1) as u64;
    values.sum::<u64>() / count
}

fn read(path: &Path) -> Result<Bytes, LoadError> {
    std::fs::read(path).map(Bytes::from).map_err(|error| LoadError::file(path, error))
}

fn write(folder: &Path, name: String, data: &[u8]) -> Result<FileEntry, LoadError> {
    let path = folder.join(&name);
    std::fs::write(&path, data).map_err(|error| LoadError::file(&path, error))?;
    Ok(FileEntry { name, sha256: hash(data) })
}

#[cfg(test)]
pub(super) fn tiny(segments: usize) -> Prepared {
    let ladder = r#"[{"name":"a","width":64,"height":36,"bitrate":100000},{"name":"b","width":32,"height":18,"bitrate":50000}]"#;
    let rendition = |number: usize, rung: u8| Rendition {
        data: Bytes::from(vec![rung + number as u8; 100_000]),
        frames: 60,
        pixels: 60 * 64 * 36,
    };
    let segment = |number: usize| {
        let data = Bytes::from(format!("segment {number}"));
        let renditions = vec![rendition(number, 1), rendition(number, 101)];
        Segment { sha256: hash(&data), data, duration: Duration::from_secs(2), renditions }
    };
    let ladder = ladder.parse().expect("a literal ladder");
    Prepared { ladder, segments: (0..segments).map(segment).collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    fn recipe() -> Recipe {
        Recipe::new(None, (64, 36), 2, "18:50k").unwrap()
    }

    #[test]
    fn what_was_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        tiny(3).save(&recipe(), folder.path()).unwrap();
        let loaded = Prepared::load(folder.path()).unwrap();
        assert_eq!(loaded.segments.len(), 3);
        assert_eq!(loaded.segments[2].renditions[1].data, tiny(3).segments[2].renditions[1].data);
        assert_eq!(loaded.segments[0].duration, Duration::from_secs(2));
        assert_eq!(loaded.ladder, tiny(3).ladder);
    }

    #[test]
    fn a_changed_file_is_no_prepared_one() {
        let folder = tempfile::tempdir().unwrap();
        tiny(1).save(&recipe(), folder.path()).unwrap();
        std::fs::write(folder.path().join("0-a.ts"), b"other").unwrap();
        assert!(
            matches!(Prepared::load(folder.path()), Err(LoadError::Damaged { path, .. }) if path.ends_with("0-a.ts"))
        );
    }

    #[test]
    fn an_empty_folder_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = Prepared::load(folder.path()).unwrap_err();
        assert!(error.to_string().contains("framemill load"), "{error}");
    }
}
