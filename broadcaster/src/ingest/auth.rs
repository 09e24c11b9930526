//! Who may push a stream, and what for.

use async_trait::async_trait;
use framemill_network::Ladder;
use serde::Serialize;

use crate::config::{StreamConfig, Verification, is_stream_name, shorten};
use crate::error::StreamError;
use crate::service::Shared;

/// What a client reads whose header asks for a name that the hook may have overlooked.
const UNCONFIRMED: &str =
    "the header asks for another name than the address has, and the auth hook did not answer with it";

/// Somebody who asks to be let in: to a new stream, or to an open one in another way than those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuthRequest {
    /// The address it is pushed to, with its query: `/live/cam/0.ts?key=…`, or `rtmp:///live/cam?key=…`.
    pub url: String,
    /// Name of the stream that is asked for: the `manifestID` of the request's header where there is one, otherwise the name in
    /// the address.
    #[serde(rename = "manifestID")]
    pub manifest: String,
}

impl AuthRequest {
    /// One for a rule of your own to be tried with; ingests make theirs.
    pub fn new(url: impl Into<String>, manifest: impl Into<String>) -> Self {
        Self { url: url.into(), manifest: manifest.into() }
    }
}

/// What somebody is let in with; `None` leaves what the request or the configuration says. An open stream keeps what it was
/// opened with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthGrant {
    /// Name the stream gets; `None` stands for the one in the address. One that only a header asks for has to be given here: who
    /// looks at the address alone has not allowed it.
    pub manifest: Option<String>,
    /// Ladder it gets.
    pub ladder: Option<Ladder>,
    /// How deep its results are checked before they are published.
    pub verification: Option<Verification>,
    /// Further stores that it is published to, as [`StreamConfig::copies`].
    pub copies: Option<Vec<String>>,
}

/// Why a stream is not let in. Whoever pushes reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream refused: {0}")]
pub struct AuthDenied(pub String);

/// Decides about streams.
#[async_trait]
pub trait PushAuth: Send + Sync + 'static {
    /// Lets a stream in or not. Called before anything of the pushed segment is read; once for each RTMP publisher, and for
    /// HTTP pushes once for each address (but for the number of the segment) and name asked for, as long as the stream is open.
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied>;
}

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// Name of the stream.
    pub(super) name: String,
    grant: AuthGrant,
}

impl Admission {
    /// Where nobody has to be asked.
    pub(super) fn free(name: String) -> Self {
        Self { name, grant: AuthGrant::default() }
    }

    /// Asks `auth`, and holds its answer against what can be done here. The stream is called `named` in the address.
    pub(super) async fn ask(
        auth: &dyn PushAuth,
        request: &AuthRequest,
        named: &str,
        shared: &Shared,
    ) -> Result<Self, AuthDenied> {
        let grant = auth.authorize(request).await?;
        let name = match &grant.manifest {
            Some(given) => given.clone(),
            None if request.manifest != named => return Err(AuthDenied(UNCONFIRMED.to_owned())),
            None if !is_stream_name(named) => {
                return Err(AuthDenied(StreamError::Name(shorten(named)).to_string()));
            }
            None => named.to_owned(),
        };
        let admission = Self { name, grant };
        admission.check(shared).map_err(|error| {
            tracing::error!(stream = request.manifest, %error, "the auth hook let a stream in with what cannot be done; correct its answer");
            AuthDenied("the auth hook gave no usable answer".to_owned())
        })?;
        Ok(admission)
    }

    fn check(&self, shared: &Shared) -> Result<(), StreamError> {
        if !is_stream_name(&self.name) {
            return Err(StreamError::Name(shorten(&self.name)));
        }
        shared.check_copies(self.grant.copies.as_deref().unwrap_or_default())
    }

    /// The settings of the stream that is opened: what was granted, what its client `asked` for, what is configured.
    pub(super) fn settings(&self, configured: StreamConfig, asked: Option<Ladder>) -> StreamConfig {
        let AuthGrant { ladder, verification, copies, .. } = self.grant.clone();
        StreamConfig {
            name: self.name.clone(),
            ladder: ladder.or(asked).unwrap_or(configured.ladder),
            verification: verification.unwrap_or(configured.verification),
            copies: copies.or(configured.copies),
            ..configured
        }
    }
}
