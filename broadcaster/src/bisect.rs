//! Asks who signed a false root down to the frame where it parts from the rendition, so that evidence names one frame.

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::{Network, NetworkError, OpeningRequest, PeerId, RenditionClaim};
use framemill_verification::{Answer, Bisection, BisectionError, Opening, Question, RenditionFeatures};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Longest bisection: who takes longer has its fault shown by the whole rendition.
const LIMIT: Duration = Duration::from_secs(10);

/// Most questions: one for each level of two trees over 2^24 leaves, and what lies between. A segment takes about fifteen.
const MAX_QUESTIONS: usize = 64;

/// The rendition whose root is in doubt, and who signed it.
pub(crate) struct Accused {
    pub(crate) peer: PeerId,
    pub(crate) session: B256,
    pub(crate) sequence: u64,
    pub(crate) claim: RenditionClaim,
}

impl Accused {
    /// What the signer opens of its root, as far as it does; none when the root is true or nothing was opened. Blocks on
    /// decoding the rendition and on the signer's answers.
    pub(crate) fn opening(&self, network: &Network, runtime: &Handle, rendition: &Bytes) -> Option<Opening> {
        let truth = match RenditionFeatures::new(rendition.clone(), MediaLimits::segment()) {
            Ok(truth) => truth,
            Err(error) => {
                tracing::debug!(%error, "a rejected rendition has no features to compare with");
                return None;
            }
        };
        let mut bisection = Bisection::new(&truth, self.claim.feature_root).ok()?;
        let until = Instant::now() + LIMIT;
        for _ in 0..MAX_QUESTIONS {
            let Some(question) = bisection.question() else { break };
            if let Err(error) = self.step(&mut bisection, question, |request| {
                let left = until.saturating_duration_since(Instant::now()).min(ANSWER_LIMIT);
                runtime.block_on(network.request_opening(self.peer, &request, left))
            }) {
                tracing::info!(peer = %self.peer, %error, "a false root is not opened any further");
                break;
            }
        }
        bisection.opening().cloned()
    }

    fn step(
        &self,
        bisection: &mut Bisection<'_, RenditionFeatures>,
        question: Question,
        ask: impl FnOnce(OpeningRequest) -> Result<framemill_network::OpeningAnswer, NetworkError>,
    ) -> Result<(), StepError> {
        let (session, sequence, rendition) = (self.session, self.sequence, self.claim.index);
        let told = ask(OpeningRequest { session, sequence, rendition, question: question.into() })?;
        Ok(bisection.take(&Answer::from(told))?)
    }
}

/// Why a bisection does not go on.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Silent(#[from] NetworkError),
    #[error(transparent)]
    Refuted(#[from] BisectionError),
}
