//! One request to the hub: redirects by hand, so that the token stays with the hub's own origin, and so
//! that what the hub says of a file is read before a CDN answers in its place.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, LOCATION, RANGE};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};

use super::retry::{Failure, retry_after};
use super::tls;
use crate::error::{Code, Error, Result};
use crate::hub::settings::Settings;

const MAX_REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(10);

/// Requests to one hub, over connections that are kept for the next.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    settings: Settings,
}

/// An answer with a status that says yes.
pub(super) struct Answer {
    pub(super) response: Response,
    /// What the hub itself said of the file, before it sent us elsewhere.
    pub(super) linked: Linked,
    stall: Duration,
}

/// The hub's own headers about a file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Linked {
    /// `X-Linked-Etag`, else `ETag`, without quotes.
    pub(super) etag: Option<String>,
    /// `X-Linked-Size`, else the length of the answer.
    pub(super) size: Option<u64>,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config()?)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT.min(settings.stall))
            .user_agent(concat!("embedding-engine/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(Code::DownloadFailed, format!("No HTTP client: {}.", in_words(&error))))?;
        Ok(Http { client, settings: settings.clone() })
    }

    /// An address of the hub; each part is escaped.
    pub(super) fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            for part in parts {
                path.extend(part.split('/'));
            }
        }
        url
    }

    pub(super) fn has_token(&self) -> bool {
        self.settings.authorization.is_some()
    }

    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.settings.endpoint.origin()
    }

    /// Whether one address may send us to the other: not out of TLS.
    pub(super) fn may_follow(&self, from: &Url, to: &Url) -> bool {
        matches!((from.scheme(), to.scheme()), (_, "https") | ("http", "http"))
    }

    /// `GET`, from byte `from` on.
    pub(super) async fn get(&self, url: &Url, from: u64) -> Result<Answer, Failure> {
        self.follow(Method::GET, url, from).await
    }

    /// `HEAD`: only what the hub itself says; where it would send us to is not asked.
    pub(super) async fn head(&self, url: &Url) -> Result<Linked, Failure> {
        Ok(self.follow(Method::HEAD, url, 0).await?.linked)
    }

    async fn follow(&self, method: Method, start: &Url, from: u64) -> Result<Answer, Failure> {
        let mut url = start.clone();
        let mut linked = Linked::default();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&method, &url, from).await?;
            let status = response.status();
            if self.is_own(&url) {
                linked.learn(response.headers(), status.is_success());
            }
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return match status.is_success() {
                    true => Ok(Answer { response, linked, stall: self.settings.stall }),
                    false => Err(self.refusal(response, &url).await),
                };
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let Some(next) = next.filter(|next| self.may_follow(&url, next)) else {
                let what = format!("{} sends us on ({status}), but to no address that can be followed", shown(&url));
                return Err(failed(start, what).into());
            };
            if method == Method::HEAD && !self.is_own(&next) {
                return Ok(Answer { response, linked, stall: self.settings.stall });
            }
            url = next;
        }
        Err(failed(start, format!("{} sends us on more than {MAX_REDIRECTS} times", shown(start))).into())
    }

    async fn send(&self, method: &Method, url: &Url, from: u64) -> Result<Response, Failure> {
        // Hashes and ranges are those of the file as it is.
        let mut request = self.client.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if self.is_own(url)
            && let Some(token) = &self.settings.authorization
        {
            request = request.header(AUTHORIZATION, token.clone());
        }
        match tokio::time::timeout(self.settings.stall, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_builder() => {
                Err(failed(url, format!("{} cannot be asked: {}", shown(url), in_words(&error))).into())
            }
            Ok(Err(error)) => {
                let reason = format!("{} cannot be reached: {}", shown(url), in_words(&error));
                Err(Failure::Passing { reason, wait: None, unreached: error.is_connect() })
            }
            Err(_) => Err(Failure::passing(format!(
                "{} did not answer for {} s",
                shown(url),
                self.settings.stall.as_secs_f32()
            ))),
        }
    }

    /// What an answer with an error status means, whatever was asked for.
    async fn refusal(&self, response: Response, url: &Url) -> Failure {
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let refusal = Refusal {
            status,
            code: header("x-error-code"),
            message: header("x-error-message"),
            own: self.is_own(url),
            html: is_html(response.headers()),
            url: shown(url),
        };
        let passing = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            || status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        if passing {
            let wait = retry_after(response.headers());
            let asks = wait.filter(|wait| wait.as_secs() > 0);
            let asks = asks.map(|wait| format!(", and asks us to wait {} s", wait.as_secs())).unwrap_or_default();
            return Failure::Passing { reason: format!("{refusal}{asks}"), wait, unreached: false };
        }
        Failure::Final(refusal.into_error())
    }
}

impl Answer {
    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(Failure::passing(format!("the connection broke: {}", in_words(&error)))),
            Err(_) => Err(Failure::passing(format!("no byte came for {} s", self.stall.as_secs_f32()))),
        }
    }

    /// The whole body, which must not be longer than `limit`.
    pub(super) async fn body(mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(chunk.as_ref());
            if body.len() > limit {
                return Err(failed(self.response.url(), format!("the answer is longer than {limit} bytes")).into());
            }
        }
        Ok(body)
    }
}

impl Linked {
    fn learn(&mut self, headers: &HeaderMap, last: bool) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let etag = |value: &str| value.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        if self.etag.is_none() {
            self.etag = text("x-linked-etag").or_else(|| text("etag")).map(etag);
        }
        if self.size.is_none() {
            let length = if last { text("content-length") } else { None };
            self.size = text("x-linked-size").or(length).and_then(|size| size.parse().ok());
        }
    }
}

/// A request that was answered with an error status.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// `X-Error-Code`.
    pub(super) code: Option<String>,
    /// `X-Error-Message`.
    pub(super) message: Option<String>,
    own: bool,
    html: bool,
    url: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answered {}", self.url, self.status)?;
        match (&self.message, &self.code) {
            (Some(message), _) => write!(f, " ({message})"),
            (None, Some(code)) => write!(f, " ({code})"),
            (None, None) if self.html => write!(f, " with an HTML page"),
            (None, None) => Ok(()),
        }
    }
}

impl Refusal {
    /// As an error that the caller makes better where it knows what was asked for: see `api`.
    fn into_error(self) -> Error {
        let message = self.to_string();
        let mut error = Error::new(Code::DownloadFailed, format!("{message}."))
            .with("url", self.url.as_str())
            .with("status", self.status.as_u16());
        if self.own && self.status == StatusCode::UNAUTHORIZED {
            error.code = Code::AccessDenied;
        }
        if self.status == StatusCode::FORBIDDEN {
            error.code = if self.own { Code::AccessDenied } else { Code::DownloadFailed };
        }
        if let Some(code) = self.code {
            error = error.with("hubCode", code);
        }
        if let Some(message) = self.message {
            error = error.with("hubMessage", message);
        }
        error
    }
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// `DOWNLOAD_FAILED`.
pub(super) fn failed(url: &Url, what: impl std::fmt::Display) -> Error {
    Error::new(Code::DownloadFailed, format!("{what}.")).with("url", shown(url))
}

/// An address as it may stand in a message: a signed one carries its secret in the query.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The innermost cause says what happened; what is around it names our own calls and addresses.
fn in_words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    // The outermost one has the whole address in it.
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { text }
}
