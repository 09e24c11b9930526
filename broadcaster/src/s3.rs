//! A bucket of S3, or of a server that speaks its API, as an object store.
//!
//! Requests are signed (Signature Version 4). They travel over the same HTTP client as everything else here, so that no second
//! one with HTTP/2 comes in with the bucket. What a server says of a refusal is cut down to its code and its sentence: Amazon's
//! answer to a wrong signature repeats the request's headers, a session's token among them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use bytes::{Bytes, BytesMut};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one request with its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer: the largest segment that is published.
const MAX_ANSWER: usize = 128 << 20;
/// Most bytes of a refusal that are looked at.
const MAX_REFUSAL: usize = 16 << 10;
/// Most bytes of a refusal that are shown.
const MAX_SHOWN: usize = 300;

/// Where a bucket is, and who writes to it.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Folder in the bucket that everything is put into, as `live/hls`; empty for none.
    pub prefix: String,
    /// Region that requests are signed for.
    pub region: String,
    /// Address of the server, as `https://s3.example.org`; `None` for Amazon's.
    pub endpoint: Option<String>,
    /// Address under which players find the bucket's objects, a CDN's perhaps; `None` for the bucket's own.
    pub public: Option<String>,
    /// Who writes.
    pub credentials: S3Credentials,
}

impl S3Config {
    /// A bucket of Amazon's in `us-east-1`, without a prefix.
    pub fn new(bucket: impl Into<String>, credentials: S3Credentials) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            public: None,
            credentials,
        }
    }

    /// The bucket and the prefix as an address for people.
    pub fn address(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }

    pub(crate) fn public_address(&self) -> String {
        if let Some(public) = &self.public {
            return public.trim_end_matches('/').to_owned();
        }
        let server = match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.amazonaws.com", self.region),
        };
        format!("{server}/{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }
}

/// The key to a bucket. Its secret parts are shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// No key to a bucket was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3CredentialsError {
    /// The file cannot be read.
    #[error(
        "credentials cannot be read from {file}: {source}; write aws_access_key_id and aws_secret_access_key into it"
    )]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// A part of the key is not where it was looked for.
    #[error("{place} has no {name}; set it there")]
    Missing {
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        name: String,
    },
}

impl S3Credentials {
    /// A key that lasts.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token: None,
        }
    }

    /// Reads a file as Amazon's own tools keep it: `aws_access_key_id = …`, `aws_secret_access_key = …` and perhaps
    /// `aws_session_token = …`, of the profile `default` where there are several.
    ///
    /// # Errors
    /// When the file cannot be read, or lacks a part.
    pub fn from_file(file: &Path) -> Result<Self, S3CredentialsError> {
        let place = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|source| S3CredentialsError::File { file: place.clone(), source })?;
        Self::find(&place, str::to_owned, |name| setting(&text, name))
    }

    /// Reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps `AWS_SESSION_TOKEN` of the environment.
    ///
    /// # Errors
    /// When one is not set.
    pub fn from_environment() -> Result<Self, S3CredentialsError> {
        Self::find("the environment", str::to_uppercase, |name| std::env::var(name).ok())
    }

    /// Asks `get` for each part, by its name as it is spelled there.
    fn find(
        place: &str,
        spelled: impl Fn(&str) -> String,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, S3CredentialsError> {
        let need = |name| {
            let name = spelled(name);
            get(&name).ok_or_else(|| S3CredentialsError::Missing { place: place.to_owned(), name })
        };
        Ok(Self {
            access_key_id: need("aws_access_key_id")?,
            secret_access_key: need("aws_secret_access_key")?,
            session_token: get(&spelled("aws_session_token")),
        })
    }
}

/// The value of a line `name = value` before any section, or in that of the default profile.
fn setting(text: &str, name: &str) -> Option<String> {
    let mut applies = true;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            applies = line == "[default]";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| applies)
            && key.trim() == name
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

/// The bucket as a store of objects below its prefix.
pub(crate) fn open(config: &S3Config) -> object_store::Result<Arc<dyn ObjectStore>> {
    if let Some(public) = &config.public {
        check_public(public)?;
    }
    let bucket = bucket(config)?;
    let prefix = object_store::path::Path::parse(config.prefix.trim_matches('/'))?;
    if prefix.is_root() {
        return Ok(Arc::new(bucket));
    }
    Ok(Arc::new(PrefixStore::new(bucket, prefix)))
}

/// Players ask by HTTP for what they are told of.
fn check_public(public: &str) -> object_store::Result<()> {
    let told = match reqwest::Url::parse(public) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => return Ok(()),
        Ok(url) => {
            format!("{public:?}, where players find the bucket, has the scheme {}: write https", url.scheme())
        }
        Err(error) => format!("{public:?}, where players find the bucket, is no address: {error}"),
    };
    Err(object_store::Error::Generic { store: "S3", source: told.into() })
}

fn bucket(config: &S3Config) -> object_store::Result<AmazonS3> {
    let S3Credentials { access_key_id, secret_access_key, session_token } = &config.credentials;
    // Whoever publishes tries again by itself, in the order of the segments. Not every server can delete several at once.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(&config.region)
        .with_access_key_id(access_key_id)
        .with_secret_access_key(secret_access_key)
        .with_disable_bulk_delete(true)
        .with_retry(retry)
        .with_http_connector(Wire(client()?));
    if let Some(token) = session_token {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(true);
    }
    builder.build()
}

fn client() -> object_store::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
}

/// The HTTP client that requests travel over.
#[derive(Debug, Clone)]
struct Wire(reqwest::Client);

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = reqwest::Url::parse(&parts.uri.to_string()).map_err(unusable)?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        // It lies in memory as one piece already.
        *request.body_mut() = Some(to_bytes(Body::new(body), usize::MAX).await.map_err(unusable)?.into());

        let mut answer = self.0.execute(request).await.map_err(broken)?;
        let refused = !answer.status().is_success();
        let body = read(&mut answer, if refused { MAX_REFUSAL } else { MAX_ANSWER }, refused).await?;
        let body = if refused { Bytes::from(sentence(&body)) } else { body };
        let mut response = HttpResponse::new(body.into());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// The answer's bytes; of a longer one an error, or where it may be cut its beginning.
async fn read(answer: &mut reqwest::Response, limit: usize, cut: bool) -> Result<Bytes, HttpError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        let room = limit - body.len();
        if chunk.len() > room && !cut {
            let text = format!("the answer is longer than {limit} bytes");
            return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(text)));
        }
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == limit {
            break;
        }
    }
    Ok(body.freeze())
}

/// What broke, down to its cause: "connection refused" is at the very bottom.
fn broken(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    HttpError::new(kind, std::io::Error::other(cause.to_string()))
}

/// `Code: Message` of a refusal.
fn sentence(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        Some(value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect::<String>())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => "no reason given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> S3Credentials {
        let mut credentials = S3Credentials::new("AKID", "do-not-show");
        credentials.session_token = Some("do-not-show-either".to_owned());
        credentials
    }

    #[test]
    fn secrets_are_not_shown() {
        let config =
            S3Config { endpoint: Some("http://127.0.0.1:1".into()), ..S3Config::new("b", credentials()) };
        let store = crate::ObjectStorage::s3(&config).unwrap();
        let shown = format!("{config:?} {store:?} {} {}", config.address(), config.public_address());
        assert!(shown.contains("AKID") && !shown.contains("do-not-show"), "{shown}");
    }

    #[test]
    fn the_default_profile_of_a_credentials_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        let other = "[other]\naws_access_key_id = no\naws_secret_access_key = no\n";
        let text = "[default]\naws_access_key_id=AKID\naws_secret_access_key = do-not=show\n";
        std::fs::write(&file, format!("{other}{text}")).unwrap();
        assert_eq!(S3Credentials::from_file(&file).unwrap(), S3Credentials::new("AKID", "do-not=show"));
        std::fs::write(&file, other).unwrap();
        let error = S3Credentials::from_file(&file).unwrap_err().to_string();
        assert!(error.contains("aws_access_key_id") && error.contains("credentials"), "{error}");
    }

    #[test]
    fn of_a_refusal_only_code_and_sentence_are_kept() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not\nmatch.</Message>\
                    <CanonicalRequest>x-amz-security-token:do-not-show</CanonicalRequest></Error>";
        assert_eq!(sentence(body.as_bytes()), "SignatureDoesNotMatch: The signature does not match.");
        assert_eq!(sentence(b"\xff<html>"), "no reason given");
    }

    #[test]
    fn players_are_told_of_nothing_but_the_web() {
        let at = |public: &str| S3Config { public: Some(public.into()), ..S3Config::new("b", credentials()) };
        for wrong in ["cdn.example.org", "ftp://cdn.example.org", "/live", ""] {
            let error = open(&at(wrong)).expect_err(wrong).to_string();
            assert!(error.contains("where players find the bucket"), "{error}");
        }
        open(&at("https://cdn.example.org/live")).expect("an address");
    }

    #[test]
    fn players_find_objects_below_the_prefix() {
        let config = S3Config { prefix: "live".into(), ..S3Config::new("b", credentials()) };
        assert_eq!(config.public_address(), "https://s3.us-east-1.amazonaws.com/b/live");
        assert_eq!(config.address(), "s3://b/live");
        let public = S3Config { public: Some("https://cdn.example.org/".into()), ..config };
        assert_eq!(public.public_address(), "https://cdn.example.org");
    }

    #[test]
    fn a_prefix_that_is_no_folder_is_refused() {
        let config = S3Config { prefix: "../up".into(), ..S3Config::new("b", credentials()) };
        assert!(crate::ObjectStorage::s3(&config).is_err());
    }
}
