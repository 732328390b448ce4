//! When to try again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// Attempts and pauses of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// First pause; it doubles with each attempt.
    pub base: Duration,
    /// Longest pause of our own.
    pub cap: Duration,
    /// Longest pause that a registry may ask for.
    pub retry_after_cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(10),
            retry_after_cap: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The pause before attempt `attempt` + 1: what the registry asked for, up to the cap, else exponential
    /// with full jitter (a random share of the exponential pause).
    pub(super) fn pause(&self, attempt: u32, asked: Option<Duration>, random: u64) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.retry_after_cap);
        }
        let longest =
            self.base.saturating_mul(1_u32.checked_shl(attempt.min(16)).unwrap_or(u32::MAX)).min(self.cap);
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random % micros.saturating_add(1))
    }
}

/// What `Retry-After` asks for: seconds or a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// A number that differs from call to call and process to process; not for secrets.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_the_cap_and_obey_the_registry_up_to_a_minute() {
        let retry = Retry::default();
        for attempt in 0..40 {
            for random in [0, 1, 12_345_678_901, u64::MAX] {
                let longest = Duration::from_millis(200) * 2_u32.pow(attempt.min(10));
                assert!(retry.pause(attempt, None, random) <= longest.min(retry.cap));
            }
        }
        assert_eq!(retry.pause(0, Some(Duration::from_secs(7)), 3), Duration::from_secs(7));
        assert_eq!(retry.pause(0, Some(Duration::from_secs(7_000)), 3), Duration::from_secs(60));
        assert!((0..64).map(|_| random()).collect::<std::collections::BTreeSet<_>>().len() > 32);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, expected) in [
            ("12", Some(12)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
