//! Whether the hub answers, for `doctor`.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::http::{Http, shown};
use super::retry::Failure;
use super::run;
use crate::cancel::Cancel;
use crate::error::{Code, Error};
use crate::hub::HubConfig;

use crate::hub::settings::Settings;

/// Nobody waits longer for a doctor.
const LIMIT: Duration = Duration::from_millis(2500);

/// The hub as it is seen from here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HubStatus {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether it may not be asked.
    pub offline: bool,
    /// Whether a token would be sent to it.
    pub token: bool,
    /// Whether it answers; missing where it may not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Asks the hub for its front page's head, once, for at most 2.5 s.
pub fn status(config: &HubConfig, cancel: &Cancel) -> HubStatus {
    let settings = match Settings::resolve(config) {
        Ok(settings) => settings,
        Err(error) => {
            return HubStatus {
                endpoint: None,
                offline: false,
                token: false,
                answers: Some(false),
                milliseconds: None,
                reason: Some(error.message),
            };
        }
    };
    let mut status = HubStatus {
        endpoint: Some(shown(&settings.endpoint)),
        offline: settings.offline,
        token: settings.authorization.is_some(),
        answers: None,
        milliseconds: None,
        reason: None,
    };
    if status.offline {
        return status;
    }
    let begin = Instant::now();
    let asked = run(cancel, async {
        let http = Http::new(&settings)?;
        let answer = tokio::time::timeout(LIMIT, http.head(&settings.endpoint)).await;
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Failure::Passing { reason, .. } | Failure::Wrong(reason))) => {
                Err(Error::new(Code::DownloadFailed, reason))
            }
            // Whoever refuses has answered.
            Ok(Err(Failure::Final(error))) if error.details.contains_key("status") => Ok(()),
            Ok(Err(Failure::Final(error))) => Err(error),
            Err(_) => Err(Error::new(Code::DownloadFailed, format!("no answer within {} s", LIMIT.as_secs_f32()))),
        }
    });
    status.answers = Some(asked.is_ok());
    match asked {
        Ok(()) => status.milliseconds = Some(begin.elapsed().as_millis() as u64),
        Err(error) => status.reason = Some(error.message),
    }
    status
}
