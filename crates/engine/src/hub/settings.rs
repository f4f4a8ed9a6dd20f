//! What may be asked of the network, and how: options first, then the environment that the hub's own
//! tools read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::HubConfig;
use super::paths::{self, Env};
use crate::error::{Error, Result};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Without a byte for so long, a transfer counts as stalled.
const DEFAULT_STALL: Duration = Duration::from_secs(30);

/// How long the hub may take to say what a branch stands for, where the cache has an answer already.
const DEFAULT_QUICK: Duration = Duration::from_millis(1500);

/// Settings of the network, resolved.
#[derive(Clone)]
pub(super) struct Settings {
    /// Address of the hub, without a slash at its end.
    pub(super) endpoint: Url,
    /// `Bearer …`; for the endpoint's own origin only.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) offline: bool,
    pub(super) stall: Duration,
    /// `HF_HUB_ETAG_TIMEOUT`: how long to wait for what the cache can answer as well.
    pub(super) quick: Duration,
    /// Whether the cache may have links; not with `HF_HUB_DISABLE_SYMLINKS`.
    pub(super) links: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the token.
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint.as_str())
            .field("authorized", &self.authorization.is_some())
            .field("offline", &self.offline)
            .field("stall", &self.stall)
            .field("quick", &self.quick)
            .field("links", &self.links)
            .finish()
    }
}

impl Settings {
    /// # Errors
    /// `INVALID_OPTION` for an address that is no http(s) URL, and for a token that cannot be sent.
    pub(super) fn resolve(config: &HubConfig) -> Result<Self> {
        Self::resolve_in(config, &paths::var)
    }

    pub(super) fn resolve_in(config: &HubConfig, env: Env<'_>) -> Result<Self> {
        let seconds = |name: &str| env(name)?.trim().parse().ok().filter(|seconds| (0.001..1e6).contains(seconds));
        Ok(Settings {
            endpoint: endpoint(config, env)?,
            authorization: token(config, env).map(|(token, option)| authorization(&token, option)).transpose()?,
            offline: offline(config, env),
            stall: seconds("HF_HUB_DOWNLOAD_TIMEOUT").map_or(DEFAULT_STALL, Duration::from_secs_f64),
            quick: seconds("HF_HUB_ETAG_TIMEOUT").map_or(DEFAULT_QUICK, Duration::from_secs_f64),
            links: !env("HF_HUB_DISABLE_SYMLINKS").is_some_and(|value| is_true(&value)),
        })
    }
}

/// Whether the network may not be used: `HubConfig::offline`, else `HF_HUB_OFFLINE` or
/// `TRANSFORMERS_OFFLINE` (`1`, `on`, `yes`, `true`), as `huggingface_hub` reads them.
pub(super) fn offline(config: &HubConfig, env: Env<'_>) -> bool {
    config.offline.unwrap_or_else(|| {
        env("HF_HUB_OFFLINE").or_else(|| env("TRANSFORMERS_OFFLINE")).is_some_and(|value| is_true(&value))
    })
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| value.trim().eq_ignore_ascii_case(yes))
}

fn endpoint(config: &HubConfig, env: Env<'_>) -> Result<Url> {
    let (given, option) = match &config.endpoint {
        Some(endpoint) => (endpoint.clone(), "endpoint"),
        None => (env("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()), "HF_ENDPOINT"),
    };
    let refused = |why: &str| {
        // An address may carry a password.
        Error::invalid_option(
            option,
            format!("{option} is no address of a hub: {why}. Give it as https://host, such as {DEFAULT_ENDPOINT}."),
        )
    };
    let url = Url::parse(given.trim()).map_err(|error| refused(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refused("it begins neither with http:// nor with https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it has a query or a fragment"));
    }
    let mut url = url;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The token and the name of where it came from.
fn token(config: &HubConfig, env: Env<'_>) -> Option<(String, &'static str)> {
    let clean = |text: String| {
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    if let Some(token) = config.token.as_ref().and_then(|token| clean(token.reveal().to_owned())) {
        return Some((token, "token"));
    }
    if env("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
        return None;
    }
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(token) = env(name).and_then(clean) {
            return Some((token, name));
        }
    }
    let file = env("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(paths::hf_home_in(env)?.join("token")))?;
    let token = std::fs::read_to_string(file).ok().and_then(clean)?;
    Some((token, "the token file"))
}

fn authorization(token: &str, option: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        Error::invalid_option(option, format!("The hub token ({option}) has characters that no token has."))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Code;

    fn resolve(config: &HubConfig, variables: &[(&str, &str)]) -> Result<Settings> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::resolve_in(config, &env)
    }

    fn bearer(settings: &Settings) -> Option<&str> {
        settings.authorization.as_ref().map(|value| value.to_str().unwrap())
    }

    #[test]
    fn options_go_before_the_environment() {
        let none = resolve(&HubConfig::default(), &[]).unwrap();
        assert_eq!(
            (none.endpoint.as_str(), none.offline, none.stall),
            ("https://huggingface.co/", false, DEFAULT_STALL)
        );
        assert!(none.authorization.is_none());
        let variables = [
            ("HF_ENDPOINT", "http://127.0.0.1:9/mirror/"),
            ("HF_TOKEN", " hf_env\n"),
            ("HF_HUB_OFFLINE", "YES"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "1.5"),
            ("HF_HUB_ETAG_TIMEOUT", "10"),
        ];
        let env = resolve(&HubConfig::default(), &variables).unwrap();
        assert_eq!(env.endpoint.as_str(), "http://127.0.0.1:9/mirror");
        assert_eq!((bearer(&env), env.offline), (Some("Bearer hf_env"), true));
        assert_eq!((env.stall, env.quick), (Duration::from_millis(1500), Duration::from_secs(10)));
        assert_eq!(resolve(&HubConfig::default(), &[("HF_HUB_ETAG_TIMEOUT", "soon")]).unwrap().quick, DEFAULT_QUICK);
        assert!(env.links && !resolve(&HubConfig::default(), &[("HF_HUB_DISABLE_SYMLINKS", "1")]).unwrap().links);
        let config = HubConfig {
            endpoint: Some("https://own".into()),
            token: Some("hf_own".into()),
            offline: Some(false),
            ..HubConfig::default()
        };
        let own = resolve(&config, &variables).unwrap();
        assert_eq!((own.endpoint.as_str(), bearer(&own), own.offline), ("https://own/", Some("Bearer hf_own"), false));
        assert!(!format!("{own:?} {config:?}").contains("hf_own"));
    }

    #[test]
    fn the_token_file_is_read() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let path = home.path().to_str().unwrap();
        let token =
            |variables: &[(&str, &str)]| bearer(&resolve(&HubConfig::default(), variables).unwrap()).map(str::to_owned);
        assert_eq!(token(&[("HF_HOME", path)]).as_deref(), Some("Bearer hf_file"));
        assert_eq!(token(&[("HF_HOME", path), ("HF_TOKEN", "hf_env")]).as_deref(), Some("Bearer hf_env"));
        assert_eq!(token(&[("HF_TOKEN_PATH", &format!("{path}/token"))]).as_deref(), Some("Bearer hf_file"));
        assert_eq!(token(&[("HF_HOME", path), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_secrets() {
        for endpoint in ["huggingface.co", "ftp://x", "https://", "", "https://x?secret=1", "https://u:secret@ x"] {
            let config = HubConfig { endpoint: Some(endpoint.into()), ..HubConfig::default() };
            let error = resolve(&config, &[]).expect_err(endpoint);
            assert_eq!(error.code, Code::InvalidOption, "{endpoint}");
            assert!(!error.message.contains("secret"), "{error}");
        }
        let config = HubConfig { token: Some("hf_\u{7f}secret".into()), ..HubConfig::default() };
        let error = resolve(&config, &[]).unwrap_err();
        assert_eq!(error.code, Code::InvalidOption);
        assert!(!error.message.contains("secret"), "{error}");
    }
}
