//! Hours of a stream at fast forward through one software engine: nothing lost, nothing kept.
//!
//! `cargo run -p framemill-transcoder --example long_run -- [HOURS]`, 8 hours unless told otherwise. Ends with an error when
//! the process holds more at the end than after the first tenth.

use std::error::Error;

mod steady;

use steady::{Held, SEGMENT_SECONDS, run};

/// What memory may grow by after the first tenth, in KiB: allocators round, and keep what they were given.
const GROWTH: u64 = 8 << 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hours: u32 = std::env::args().nth(1).map_or(Ok(8), |hours| hours.parse())?;
    let segments = hours.checked_mul(3600 / SEGMENT_SECONDS).filter(|&count| count > 0).ok_or("too long")?;
    let tenth = segments.div_ceil(10);
    let mut tenths = [None; 10];
    run(segments, |sequence, held| {
        let part = (sequence / tenth) as usize;
        tenths[part] = Held::over(tenths[part], held);
        if (sequence + 1) % tenth == 0
            && let Some(Held { memory, files, threads }) = tenths[part]
        {
            println!("{} segments: {memory} KiB, {files} files, {threads} threads", sequence + 1);
        }
    })
    .await?;
    // Fewer than ten segments leave the last tenths empty.
    let (Some(first), Some(last)) = (tenths[0], tenths.into_iter().flatten().last()) else {
        return Err("nothing was seen".into());
    };
    if last.memory > first.memory + GROWTH || last.files > first.files || last.threads > first.threads {
        return Err(format!("the process holds {last:?} at the end, {first:?} after the first tenth").into());
    }
    println!("{segments} segments whole; nothing was kept");
    Ok(())
}
