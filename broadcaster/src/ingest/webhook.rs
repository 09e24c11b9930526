//! A web service that decides who may push.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use framemill_network::TranscodeConfiguration;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::auth::{AuthDenied, AuthGrant, AuthRequest, PushAuth};
use crate::config::UnknownVerification;
use crate::error::BroadcasterError;
use crate::service::lock;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Asks a web service: `POST {"url": …, "manifestID": …}`.
///
/// It lets in by any status of 2xx, with nothing or with an object whose fields may all be left out: `manifestID` names the stream,
/// `profiles` and `presets` are its ladder, `verification` is `adaptive` or `full`, and `copyTo` lists the further stores it is
/// published to. 401 and 403 refuse. Everything else refuses as well, and is told in the log: no answer in time, another status, a
/// redirect, an answer that cannot be read or that is longer than 16 KiB.
#[derive(Debug, Clone)]
pub struct AuthWebhook {
    client: reqwest::Client,
    url: Url,
    patience: Duration,
    /// What is wrong with the service, as told last.
    told: Arc<Mutex<Option<String>>>,
}

/// Why the service did not let a stream in. None of it is for whoever pushes: it tells of the service.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("it refuses this stream")]
    Refused,
    #[error("it answers with status {0}, where 200 lets in and 403 refuses")]
    Status(StatusCode),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("its answer has more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
}

impl From<reqwest::Error> for HookError {
    fn from(error: reqwest::Error) -> Self {
        // The address may hold a secret.
        let error = error.without_url();
        let first: Option<&(dyn Error + 'static)> = Some(&error);
        let causes = std::iter::successors(first, |&error| error.source()).map(ToString::to_string);
        Self::Unreachable(causes.collect::<Vec<_>>().join(": "))
    }
}

/// What an answer may say beside name and ladder.
#[derive(Deserialize)]
struct Further {
    verification: Option<String>,
    #[serde(rename = "copyTo")]
    copies: Option<Vec<String>>,
}

impl AuthWebhook {
    /// A webhook at `url`, which is waited for up to five seconds.
    ///
    /// # Errors
    /// `url` is no address of a web service, or no HTTP client can be made on this system.
    pub fn new(url: &str) -> Result<Self, BroadcasterError> {
        let url = url.parse::<Url>().map_err(|error| BroadcasterError::Webhook(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BroadcasterError::Webhook(format!("{} is no web address", url.scheme())));
        }
        // A redirect is no answer: whoever can forge one would answer in the service's place.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| BroadcasterError::Webhook(format!("no http client: {error}")))?;
        Ok(Self { client, url, patience: PATIENCE, told: Arc::default() })
    }

    /// Waits so long for a whole answer.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    async fn ask(&self, request: &AuthRequest) -> Result<AuthGrant, HookError> {
        let asked = self.client.post(self.url.clone()).timeout(self.patience).json(request);
        let mut response = asked.send().await?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(HookError::Refused),
            status => return Err(HookError::Status(status)),
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if answer.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(HookError::TooLong);
            }
            answer.extend_from_slice(&chunk);
        }
        read(&answer)
    }

    /// Tells the log what is wrong with the service, once until it lets a stream in or something else is wrong: strangers decide
    /// how often it is asked.
    fn fails(&self, problem: String) {
        let mut told = lock(&self.told);
        if told.as_ref() != Some(&problem) {
            tracing::error!(%problem, "the auth webhook gives no usable answer, and no new stream is let in; check its service and broadcaster.auth_url");
            *told = Some(problem);
        }
    }

    fn works(&self) {
        if lock(&self.told).take().is_some() {
            tracing::info!("the auth webhook gives usable answers again");
        }
    }
}

fn read(answer: &[u8]) -> Result<AuthGrant, HookError> {
    let unreadable = |error: &dyn Error| HookError::Unreadable(error.to_string());
    let text = std::str::from_utf8(answer).map_err(|error| unreadable(&error))?.trim();
    if text.is_empty() {
        return Ok(AuthGrant::default());
    }
    if !text.starts_with('{') {
        return Err(HookError::Unreadable("it is neither empty nor a JSON object".to_owned()));
    }
    let configuration = TranscodeConfiguration::from_json(text).map_err(|error| unreadable(&error))?;
    let further: Further = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    let verification = further.verification.map(|word| word.parse()).transpose();
    Ok(AuthGrant {
        manifest: configuration.manifest_id,
        ladder: configuration.ladder,
        verification: verification.map_err(|error: UnknownVerification| unreadable(&error))?,
        copies: further.copies,
    })
}

#[async_trait]
impl PushAuth for AuthWebhook {
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied> {
        match self.ask(request).await {
            Ok(grant) => {
                self.works();
                Ok(grant)
            }
            Err(HookError::Refused) => {
                tracing::debug!(stream = request.manifest, "the auth webhook refuses a stream");
                Err(AuthDenied("not allowed by the auth webhook".to_owned()))
            }
            Err(error) => {
                self.fails(error.to_string());
                Err(AuthDenied("the auth webhook gave no usable answer".to_owned()))
            }
        }
    }
}
