//! An hour of a stream in 200 segments, encoded by two processes in turn: put together again it is the source's to the tick.
//!
//! `cargo run -p framemill-transcoder --example joins`

use std::{env, error::Error};

use framemill_media::Rational;

mod process;
mod relay;

/// What the processes that do the work are told.
const WORKER: &str = "--worker";
/// One hour.
const STREAM: relay::Stream =
    relay::Stream { segments: 200, frames: 90, rate: Rational::new(5, 1), sample_rate: 48_000 };

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() == Some(WORKER) {
        return Ok(relay::work()?);
    }
    let folder = tempfile::tempdir()?;
    let (source, rungs) = STREAM.run(&env::current_exe()?, &[WORKER], folder.path())?;
    let heard = relay::digest_of_sound(&source)?;
    for rung in &rungs {
        if relay::digest_of_sound(rung)? != heard {
            return Err("the sound decodes to other samples than the source's".into());
        }
    }
    let told = heard
        .map_or("no ffmpeg command line decoded the sound", |_| "the sound decodes to the source's samples");
    println!("{} segments of {} frames join: {told}", STREAM.segments, STREAM.frames);
    Ok(())
}
