//! What is tried again, and when.

use std::time::Duration;

use crate::error::Error;

/// Attempts after the first one that may come to nothing, one after another.
const RETRIES: u32 = 5;

/// As many where the hub was never reached: its name does not resolve, nobody answers there.
const RETRIES_UNREACHED: u32 = 2;

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A hub that wants to be left alone for longer is not waited for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// May work when it is tried again.
    Passing {
        /// For people.
        reason: String,
        /// How long the server wants to be left alone.
        wait: Option<Duration>,
        /// Nothing answered at that address.
        unreached: bool,
    },
    /// The content is not what the hub says that it is.
    Wrong(String),
    /// Trying again would not help.
    Final(Error),
}

impl Failure {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Failure::Passing { reason: reason.into(), wait: None, unreached: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

/// Counts attempts in vain.
#[derive(Debug, Default, Clone)]
pub(super) struct Patience {
    failed: u32,
    none: bool,
    reached: u64,
}

impl Patience {
    /// One attempt and no other, until something comes.
    pub(super) fn none() -> Self {
        Patience { none: true, ..Patience::default() }
    }

    /// None for those who have something else to fall back on.
    pub(super) fn unless(spare: bool) -> Self {
        Patience { none: spare, ..Patience::default() }
    }

    /// So many bytes are there before the first attempt.
    pub(super) fn from(self, bytes: u64) -> Self {
        Patience { reached: bytes, ..self }
    }

    /// So many bytes are there now: where these are more than ever before, the count begins anew. A server that
    /// sends the same beginning again and again is not waited for without end.
    pub(super) fn reached(&mut self, bytes: u64) {
        if bytes > self.reached {
            *self = Patience { reached: bytes, ..Patience::default() };
        }
    }

    /// Attempts so far.
    pub(super) fn attempts(&self) -> u32 {
        self.failed
    }

    /// How long to wait before the next attempt; `None` if there is to be none.
    pub(super) fn next(&mut self, wait: Option<Duration>, unreached: bool) -> Option<Duration> {
        self.failed += 1;
        let allowed = if unreached { RETRIES_UNREACHED } else { RETRIES };
        if self.none || self.failed > allowed {
            return None;
        }
        let grown = FIRST_WAIT.saturating_mul(1 << (self.failed - 1).min(10)).min(LONGEST_WAIT);
        // Between half and all of it, so that many clients do not come back at the same moment.
        let grown = grown.mul_f64(0.5 + 0.5 * random());
        match wait {
            Some(wait) if wait > LONGEST_RETRY_AFTER => None,
            Some(wait) => Some(wait.max(grown.min(wait + FIRST_WAIT))),
            None => Some(grown),
        }
    }
}

/// From 0 to 1. Good enough to spread clients.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

/// `Retry-After` in seconds, or as a date, which is measured from `Date` of the same answer so that a
/// wrong clock here does not count.
pub(super) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text("retry-after")?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let seconds = http_date(value)? - http_date(text("date")?)?;
    Some(Duration::from_secs(seconds.max(0) as u64))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, IMF-fixdate).
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let time: Vec<i64> = words.next()?.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = time[..] else { return None };
    if words.next() != Some("GMT") || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    // Days from civil, H. Hinnant, https://howardhinnant.github.io/date_algorithms.html
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut patience = Patience::default();
        let waits: Vec<Duration> = std::iter::from_fn(|| patience.next(None, false)).take(100).collect();
        assert_eq!(waits.len(), RETRIES as usize);
        for (index, wait) in waits.iter().enumerate() {
            let whole = FIRST_WAIT * (1 << index);
            assert!(*wait >= whole / 2 && *wait <= whole, "{index}: {wait:?}");
        }
        patience.reached(10);
        assert!(patience.next(None, true).is_some());
        assert!(patience.next(None, true).is_some());
        patience.reached(10);
        assert!(patience.next(None, true).is_none());
    }

    #[test]
    fn who_has_something_else_does_not_wait_until_something_came() {
        let mut patience = Patience::unless(true).from(7);
        patience.reached(7);
        assert!(patience.next(None, false).is_none());
        patience.reached(8);
        assert!(patience.next(None, false).is_some());
        assert!(Patience::unless(false).next(None, false).is_some());
    }

    #[test]
    fn the_server_is_heard() {
        let mut patience = Patience::default();
        let wait = patience.next(Some(Duration::from_secs(7)), false).unwrap();
        assert!(wait >= Duration::from_secs(7) && wait <= Duration::from_secs(8));
        assert!(patience.next(Some(Duration::ZERO), false).unwrap() <= FIRST_WAIT);
        assert!(patience.next(Some(Duration::from_secs(3600)), false).is_none());
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let parse = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_str(value).unwrap());
            headers.insert("date", HeaderValue::from_static("Sun, 31 Dec 2023 23:59:30 GMT"));
            retry_after(&headers)
        };
        assert_eq!(parse("3"), Some(Duration::from_secs(3)));
        assert_eq!(parse("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(parse("-1"), Some(Duration::ZERO));
        assert_eq!(parse("Mon, 01 Jan 2024 00:00:10 GMT"), Some(Duration::from_secs(40)));
        assert_eq!(parse("Sun, 31 Dec 2023 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }
}
