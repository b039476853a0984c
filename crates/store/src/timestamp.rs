//! Instants as the ledger keeps them: microseconds, written as ISO 8601 text in UTC.
//!
//! A row's instant has to be the same text wherever it was computed, so neither a time zone nor a clock is involved.

use std::fmt;
use std::str::FromStr;

use forewarn_types::{EventTime, LogTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since the Unix epoch, within the years 1 to 9999: what every SQL client can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -719_162 * MICROS_PER_DAY;
/// The last microsecond of the year 9999.
const LAST: i64 = 2_932_897 * MICROS_PER_DAY - 1;

impl Timestamp {
    /// The instant `micros` after the epoch, at most the first or last that can be written.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(if micros < FIRST {
            FIRST
        } else if micros > LAST {
            LAST
        } else {
            micros
        })
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This instant plus `seconds`, or `None` when that is no instant within the years 1 to 9999.
    #[must_use]
    pub fn plus_seconds(self, seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        // Within ±2^62 the conversion is exact and the sum cannot overflow.
        if !micros.is_finite() || micros.abs() > 4.6e18 {
            return None;
        }
        let sum = self.0.checked_add(micros as i64)?;
        (FIRST..=LAST).contains(&sum).then_some(Self(sum))
    }

    /// Start of the minute that holds this instant.
    #[must_use]
    pub const fn minute(self) -> Self {
        Self(self.0.div_euclid(60_000_000) * 60_000_000)
    }
}

impl From<EventTime> for Timestamp {
    fn from(time: EventTime) -> Self {
        Self::from_micros(time.millis().saturating_mul(1_000))
    }
}

impl From<LogTime> for Timestamp {
    fn from(time: LogTime) -> Self {
        Self::from_micros(time.millis().saturating_mul(1_000))
    }
}

impl fmt::Display for Timestamp {
    /// `2026-11-21T02:04:24.123456+00:00`, without trailing zeros of the fraction: as PostgreSQL's `to_json` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(MICROS_PER_DAY));
        let rest = self.0.rem_euclid(MICROS_PER_DAY);
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if micros != 0 {
            write!(f, ".{}", format!("{micros:06}").trim_end_matches('0'))?;
        }
        f.write_str("+00:00")
    }
}

/// A text that is not an instant in UTC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instant of the form 2026-11-21T02:04:24+00:00")]
pub struct ParseTimestampError(String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (date, time) = text.split_once('T')?;
            let time = time
                .strip_suffix("+00:00")
                .or_else(|| time.strip_suffix('Z'))?;
            let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
            let [year, month, day] = numbers(date, '-')?;
            let [hour, minute, second] = numbers(time, ':')?;
            if fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
            let valid = (1..=9999).contains(&year)
                && (1..=12).contains(&month)
                && (1..=31).contains(&day)
                && hour < 24
                && minute < 60
                && second < 60;
            let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
            valid.then(|| Self(seconds * 1_000_000 + micros))
        };
        parse().ok_or_else(|| ParseTimestampError(text.chars().take(80).collect()))
    }
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text
        .split(separator)
        .map(|part| part.parse::<i64>().ok().filter(|number| *number >= 0));
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Year, month and day of a number of days since the epoch, in the proleptic Gregorian calendar.
///
/// Counted in eras of 400 years (146,097 days) that begin on 1 March, so that a leap day ends a year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants_are_written_as_sql_writes_them() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_400_000_000, "2000-02-29T00:00:00+00:00"),
            (1_795_226_664_123_400, "2026-11-21T02:04:24.1234+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
            (i64::MIN, "0001-01-01T00:00:00+00:00"),
            (i64::MAX, "9999-12-31T23:59:59.999999+00:00"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), text);
        }
    }

    #[test]
    fn an_instant_too_far_away_is_none_at_all() {
        let now = Timestamp::from_micros(1_795_226_664_000_000);
        assert_eq!(
            now.plus_seconds(0.000_001),
            Some(Timestamp::from_micros(1_795_226_664_000_001))
        );
        for far in [f64::INFINITY, f64::NAN, 1e300, 3e11] {
            assert_eq!(now.plus_seconds(far), None, "{far}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in FIRST..=LAST) {
            let instant = Timestamp(micros);
            prop_assert_eq!(instant.to_string().parse(), Ok(instant));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
