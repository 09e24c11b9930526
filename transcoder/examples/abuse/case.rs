//! A clip and what is done to it.

use std::{fmt, path::PathBuf, str::FromStr};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// What is done to a clip. Its text is what a report names and the command line takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Nothing.
    Whole,
    /// Only so many bytes of it are there.
    Cut { at: usize },
    /// So many of a million bytes are others.
    Flips { ppm: u64, seed: u64 },
}

impl Damage {
    /// The clip after it.
    pub(crate) fn apply(self, clip: &[u8]) -> Vec<u8> {
        let mut bytes = match self {
            Self::Cut { at } => clip[..at.min(clip.len())].to_vec(),
            Self::Whole | Self::Flips { .. } => clip.to_vec(),
        };
        if let Self::Flips { ppm, seed } = self
            && !bytes.is_empty()
        {
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..(bytes.len() as u64 * ppm).div_ceil(1_000_000) {
                let place = random.random_range(0..bytes.len());
                bytes[place] ^= random.random_range(1..=u8::MAX);
            }
        }
        bytes
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Cut { at } => write!(f, "cut:{at}"),
            Self::Flips { ppm, seed } => write!(f, "flips:{ppm}:{seed}"),
        }
    }
}

impl FromStr for Damage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match parts[..] {
            ["whole"] => Ok(Self::Whole),
            ["cut", at] => Ok(Self::Cut { at: usize::try_from(number(at)?).unwrap_or(usize::MAX) }),
            ["flips", ppm, seed] => Ok(Self::Flips { ppm: number(ppm)?, seed: number(seed)? }),
            _ => Err(format!("{text} is no damage; give whole, cut:BYTES or flips:PPM:SEED")),
        }
    }
}

/// One thing that is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) clip: PathBuf,
    pub(crate) damage: Damage,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.clip.file_name().unwrap_or_default();
        write!(f, "{} {}", name.display(), self.damage)
    }
}

/// How much of each kind of damage a clip gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    /// Places at which it is cut.
    pub(crate) cuts: usize,
    /// Times that its bytes are changed, at each of two rates.
    pub(crate) flips: u64,
    /// Where randomness starts.
    pub(crate) seed: u64,
}

/// One byte in a hundred leaves hardly a packet whole; one in ten thousand lets most of them through to the decoders.
const RATES: [u64; 2] = [10_000, 100];

/// The whole clip and everything that is done to it.
pub(crate) fn cases(clip: PathBuf, length: usize, measure: Measure) -> Vec<Case> {
    // Each clip has places of its own, which do not depend on what clips are there beside it.
    let name = clip.file_name().unwrap_or_default().as_encoded_bytes();
    let own = name.iter().fold(measure.seed, |seed, &byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = StdRng::seed_from_u64(own);
    let cuts = (0..measure.cuts).map(|_| Damage::Cut { at: random.random_range(0..length.max(1)) });
    let cuts: Vec<Damage> = cuts.collect();
    let flips = (0..measure.flips)
        .flat_map(|number| RATES.map(|ppm| Damage::Flips { ppm, seed: own.wrapping_add(number) }));
    let all = std::iter::once(Damage::Whole).chain(cuts).chain(flips);
    all.map(|damage| Case { clip: clip.clone(), damage }).collect()
}
