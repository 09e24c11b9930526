//! Who may push a stream, and what for: asked once for each new stream.

use std::time::Duration;

use async_trait::async_trait;
use framemill_network::{Ladder, TranscodeConfiguration};
use serde::Serialize;

/// Longest wait for a webhook's answer.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a webhook's answer that are read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// A new stream that asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthRequest {
    /// The address it was pushed to, with its query.
    pub url: String,
}

/// What a stream is let in with; `None` leaves what the request or the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthGrant {
    /// Name the stream gets.
    pub manifest: Option<String>,
    /// Ladder it gets.
    pub ladder: Option<Ladder>,
}

/// Why a stream is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream refused: {0}")]
pub struct AuthDenied(pub String);

/// Decides about new streams.
#[async_trait]
pub trait PushAuth: Send + Sync + 'static {
    /// Lets a stream in or not. Called before anything of its first segment is read.
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied>;
}

/// Asks a web service: `POST {"url": …}`, answered by 2xx with `{"manifestID": …, "profiles": […]}` or nothing, or by any other
/// status to refuse. An unreachable service refuses.
#[derive(Debug, Clone)]
pub struct AuthWebhook {
    client: reqwest::Client,
    url: String,
}

impl AuthWebhook {
    /// A webhook at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be made on this system.
    pub fn new(url: impl Into<String>) -> Result<Self, AuthDenied> {
        let client = reqwest::Client::builder()
            .timeout(WEBHOOK_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| AuthDenied(format!("no http client: {error}")))?;
        Ok(Self { client, url: url.into() })
    }

    async fn answer(&self, request: &AuthRequest) -> Result<Vec<u8>, reqwest::Error> {
        let mut response = self.client.post(&self.url).json(request).send().await?.error_for_status()?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
                break;
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

#[async_trait]
impl PushAuth for AuthWebhook {
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied> {
        // The error's text would carry the service's address to whoever pushes.
        let answer = self.answer(request).await.map_err(|error| {
            tracing::debug!(%error, "auth webhook did not let a stream in");
            AuthDenied("not allowed by the auth webhook".into())
        })?;
        if answer.iter().all(u8::is_ascii_whitespace) {
            return Ok(AuthGrant::default());
        }
        let text = String::from_utf8_lossy(&answer);
        let configuration = TranscodeConfiguration::from_json(&text).map_err(|error| {
            AuthDenied(format!("auth webhook answered with an unusable configuration: {error}"))
        })?;
        Ok(AuthGrant { manifest: configuration.manifest_id, ladder: configuration.ladder })
    }
}
