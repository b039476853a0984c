//! Moments and spans of time as people type and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forewarn_store::Timestamp;

/// A moment as it was typed: `1h` ago, `now-1h`, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Ago(Duration),
    At(Timestamp),
}

impl Moment {
    pub(crate) fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => {
                let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
                Timestamp::from_micros(now.micros().saturating_sub(micros))
            }
        }
    }
}

/// Reads `1h`, `-1h`, `now-1h`, `now` or RFC 3339.
///
/// # Errors
/// What would be right.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    let bare = text.trim();
    let span = bare.strip_prefix("now").unwrap_or(bare);
    if span.is_empty() && bare == "now" {
        return Ok(Moment::Ago(Duration::ZERO));
    }
    if let Ok(span) = forewarn_config::duration::parse(span.strip_prefix('-').unwrap_or(span)) {
        return Ok(Moment::Ago(span));
    }
    bare.parse::<jiff::Timestamp>()
        .map(|at| Moment::At(Timestamp::from_micros(at.as_microsecond())))
        .map_err(|_| {
            "write a span before now (30m, 1h30m, 7d) or an instant (2026-01-31T12:00:00Z)"
                .to_owned()
        })
}

/// Reads a span that is longer than nothing.
///
/// # Errors
/// What would be right.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    match forewarn_config::duration::parse(text)? {
        span if span.is_zero() => Err("it has to be longer than nothing".to_owned()),
        span => Ok(span),
    }
}

/// This machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Seconds from one moment to another.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.micros().saturating_sub(from.micros()) as f64 / 1e6
}

/// `45 s`, `42 min`, `3 h 10 min`, `2 d 4 h`: two units at most, as people say it.
pub(crate) fn words(seconds: f64) -> String {
    let seconds = seconds.abs();
    let whole = |unit: f64| (seconds / unit).floor();
    let two = |large: f64, small: f64, names: (&str, &str)| {
        let rest = ((seconds - whole(large) * large) / small).floor();
        if rest > 0.0 {
            format!("{} {} {rest} {}", whole(large), names.0, names.1)
        } else {
            format!("{} {}", whole(large), names.0)
        }
    };
    if !seconds.is_finite() {
        "for ever".to_owned()
    } else if seconds < 60.0 {
        format!("{} s", seconds.round())
    } else if seconds < 600.0 {
        two(60.0, 1.0, ("min", "s"))
    } else if seconds < 3_600.0 {
        format!("{} min", whole(60.0))
    } else if seconds < 86_400.0 {
        two(3_600.0, 60.0, ("h", "min"))
    } else {
        two(86_400.0, 3_600.0, ("d", "h"))
    }
}

/// `3 min ago`, `in 42 min`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let until = seconds(now, at);
    if until > 0.0 {
        format!("in {}", words(until))
    } else {
        format!("{} ago", words(until))
    }
}

/// `2026-11-21 02:04:24Z`.
pub(crate) fn short(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}Z", text.get(..19).unwrap_or(&text).replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("an instant");
        for (text, expected) in [
            ("1h", "2026-11-21T11:00:00Z"),
            ("-1h30m", "2026-11-21T10:30:00Z"),
            ("now-7d", "2026-11-14T12:00:00Z"),
            ("now", "2026-11-21T12:00:00Z"),
            ("2026-11-20T14:00:00+02:00", "2026-11-20T12:00:00Z"),
        ] {
            let read = moment(text).map(|moment| moment.from(now));
            assert_eq!(read, Ok(expected.parse().expect("an instant")), "{text}");
        }
        for text in ["", "yesterday", "5", "now-", "nowhere", "2026-11-20"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_said_in_two_units_at_most() {
        for (seconds, expected) in [
            (0.4, "0 s"),
            (59.0, "59 s"),
            (90.0, "1 min 30 s"),
            (2_520.0, "42 min"),
            (3_600.0, "1 h"),
            (11_400.0, "3 h 10 min"),
            (187_200.0, "2 d 4 h"),
            (-120.0, "2 min"),
            (f64::INFINITY, "for ever"),
        ] {
            assert_eq!(words(seconds), expected);
        }
    }
}
