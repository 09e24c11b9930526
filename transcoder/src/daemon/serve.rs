//! One job from the orchestrator: take the source in, run the engine, send the renditions back as they come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use framemill_network::{IncomingJob, JobHeader, JobReply, NetworkError, WireCode, WireError};
use futures::StreamExt;
use tracing::{debug, warn};

use crate::{Engine, Job, Metrics, RenditionEvent, Renditions, TranscodeError};

/// Longest life of a job, whatever deadline the orchestrator names: beyond this nothing live is worth anything.
const MAX_DEADLINE: Duration = Duration::from_secs(120);

/// Serves an admitted job to its end. Whatever goes wrong ends this job only. Returns the time for which the engine was waited for, of
/// jobs that tell something of its speed.
pub(crate) async fn serve(
    job: IncomingJob,
    engine: Arc<dyn Engine>,
    metrics: Option<Metrics>,
) -> Option<Duration> {
    let begun = Instant::now();
    let mut waited = Duration::ZERO;
    let header = job.header().clone();
    if let Some(metrics) = &metrics {
        metrics.job_started();
    }
    let outcome = run(job, &header, engine.as_ref(), begun, &mut waited).await;
    match &outcome {
        Ok(pixels) => debug!(sequence = header.sequence, pixels, "transcoded segment"),
        Err(TranscodeError::Cancelled) => debug!(sequence = header.sequence, "orchestrator went away"),
        Err(error) => warn!(sequence = header.sequence, %error, "segment failed"),
    }
    if let Some(metrics) = &metrics {
        metrics.job_ended(engine.name(), begun.elapsed(), &outcome);
    }
    let done_or_late = matches!(outcome, Ok(_) | Err(TranscodeError::DeadlineExceeded));
    done_or_late.then_some(waited).filter(|waited| !waited.is_zero())
}

async fn run(
    job: IncomingJob,
    header: &JobHeader,
    engine: &dyn Engine,
    begun: Instant,
    waited: &mut Duration,
) -> Result<u64, TranscodeError> {
    let (source, mut reply) = job.accept().await.map_err(gone)?;
    let source = match source.read_all().await {
        Ok(source) => source,
        Err(error) => {
            reply.fail(error.to_wire()).await;
            return Err(gone(error));
        }
    };
    let deadline = begun + header.deadline.min(MAX_DEADLINE);
    let renditions = engine.transcode(Job {
        session: header.session,
        sequence: header.sequence,
        source,
        ladder: header.ladder.clone(),
        deadline,
    });
    match deliver(renditions, &mut reply, waited).await {
        Ok(pixels) => {
            reply.finish().await.map_err(gone)?;
            Ok(pixels)
        }
        Err(error) => {
            reply.fail(wire(&error)).await;
            Err(error)
        }
    }
}

/// Sends what comes; the way back may be slow, which is not the engine's time.
async fn deliver(
    mut renditions: Renditions,
    reply: &mut JobReply,
    waited: &mut Duration,
) -> Result<u64, TranscodeError> {
    let mut pixels = 0_u64;
    loop {
        let asked = Instant::now();
        let next = renditions.next().await;
        *waited += asked.elapsed();
        let Some(event) = next else { return Ok(pixels) };
        match event? {
            RenditionEvent::Chunk { index, data } => reply.chunk(index, data).await.map_err(gone)?,
            RenditionEvent::End { index, summary } => {
                let frames = u32::try_from(summary.frames).unwrap_or(u32::MAX);
                reply.end(index, summary.pixels, frames).await.map_err(gone)?;
                pixels = pixels.saturating_add(summary.pixels);
            }
        }
    }
}

/// To a job, every failure of the way back is the same: nobody waits for it any more.
fn gone(error: NetworkError) -> TranscodeError {
    debug!(%error, "job's connection failed");
    TranscodeError::Cancelled
}

/// What the orchestrator hears of a failed job.
pub(crate) fn wire(error: &TranscodeError) -> WireError {
    let code = match error {
        TranscodeError::BadMedia(_)
        | TranscodeError::SizeChanged { .. }
        | TranscodeError::SourceRefused { .. } => WireCode::BadMedia,
        TranscodeError::Unsupported { .. } => WireCode::Unsupported,
        TranscodeError::Busy(_) | TranscodeError::EngineStuck { .. } | TranscodeError::GpuDown { .. } => {
            WireCode::Busy
        }
        TranscodeError::DeadlineExceeded => WireCode::DeadlineExceeded,
        TranscodeError::Engine(_)
        | TranscodeError::EngineDied { .. }
        | TranscodeError::Gpu { .. }
        | TranscodeError::WorkerDied { .. }
        | TranscodeError::TooSlow { .. }
        | TranscodeError::Stalled { .. } => WireCode::TranscoderFailed,
        _ => WireCode::Internal,
    };
    WireError::new(code, error.to_string()).with_retry_after(error.retry_after().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use framemill_media::MediaError;

    use super::*;
    use crate::Refusal;

    #[test]
    fn bad_media_is_told_apart_from_our_own_failures() {
        assert_eq!(wire(&TranscodeError::BadMedia(MediaError::NoVideo)).code, WireCode::BadMedia);
        assert_eq!(wire(&TranscodeError::EngineDied { engine: "software" }).code, WireCode::TranscoderFailed);
        assert_eq!(wire(&TranscodeError::DeadlineExceeded).code, WireCode::DeadlineExceeded);
    }

    #[test]
    fn busy_comes_with_advice_when_to_return() {
        let busy = TranscodeError::Busy(Refusal::Sessions { open: 3, limit: 3 });
        let error = wire(&busy);
        assert_eq!(error.code, WireCode::Busy);
        assert!(error.retry_after > Duration::ZERO);
    }
}
