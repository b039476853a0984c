//! The calendar of temporal features: local time with its changes of offset, weekends, business hours, holidays.
//!
//! The time zone rules are compiled in, so that a replay years later, on another machine, knows the same ones.

use std::collections::BTreeSet;
use std::f64::consts::TAU;

use forewarn_types::EventTime;
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::transform::Temporal;

/// Where and when people work, as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarConfig {
    /// IANA name of the time zone: `Europe/Berlin`.
    pub time_zone: String,
    /// First hour of the working day, local time, 0 to 23.
    pub business_from: u8,
    /// The hour at which the working day is over, 1 to 24.
    pub business_to: u8,
    /// Dates without work: `2026-12-25`.
    pub holidays: Vec<String>,
}

impl Default for CalendarConfig {
    fn default() -> Self {
        Self {
            time_zone: "UTC".into(),
            business_from: 9,
            business_to: 17,
            holidays: Vec::new(),
        }
    }
}

/// A validated calendar.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    zone: TimeZone,
    business_from: i8,
    business_to: i8,
    holidays: BTreeSet<Date>,
}

impl Calendar {
    /// Checks a calendar; each problem is passed on with the key it concerns.
    pub(crate) fn new(config: &CalendarConfig, mut problem: impl FnMut(String, String)) -> Self {
        let zone = TimeZone::get(&config.time_zone).unwrap_or_else(|_| {
            let text = format!(
                "unknown time zone `{}`, expected an IANA name such as `Europe/Berlin`",
                config.time_zone
            );
            problem("time_zone".into(), text);
            TimeZone::UTC
        });
        if config.business_to > 24 || config.business_from >= config.business_to {
            problem(
                "business_from".into(),
                "business hours run from an hour to a later one, at most 24".into(),
            );
        }
        let mut holidays = BTreeSet::new();
        for (index, text) in config.holidays.iter().enumerate() {
            match text.parse() {
                Ok(date) => {
                    holidays.insert(date);
                }
                Err(_) => problem(
                    format!("holidays[{index}]"),
                    format!("`{text}` is no date such as `2026-12-25`"),
                ),
            }
        }
        let hour = |hour: u8| i8::try_from(hour.min(24)).unwrap_or(24);
        Self {
            zone,
            business_from: hour(config.business_from),
            business_to: hour(config.business_to),
            holidays,
        }
    }

    /// The calendar's numbers at a moment, or nothing for moments that no calendar knows.
    pub(crate) fn at(&self, moment: EventTime) -> Option<Moment> {
        let timestamp = Timestamp::from_millisecond(moment.millis()).ok()?;
        let local = self.zone.to_datetime(timestamp);
        let seconds = f64::from(local.hour()) * 3_600.0
            + f64::from(local.minute()) * 60.0
            + f64::from(local.second());
        let day = seconds / 86_400.0;
        let weekday = local.weekday();
        let weekend = matches!(weekday, Weekday::Saturday | Weekday::Sunday);
        let holiday = self.holidays.contains(&local.date());
        let hours = self.business_from..self.business_to;
        Some(Moment {
            day,
            week: (f64::from(weekday.to_monday_zero_offset()) + day) / 7.0,
            weekend,
            holiday,
            business: !weekend && !holiday && hours.contains(&local.hour()),
        })
    }
}

/// What the calendar says about one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    day: f64,
    week: f64,
    weekend: bool,
    holiday: bool,
    business: bool,
}

impl Moment {
    pub(crate) fn feature(&self, temporal: Temporal) -> f64 {
        match temporal {
            Temporal::HourSin => (self.day * TAU).sin(),
            Temporal::HourCos => (self.day * TAU).cos(),
            Temporal::WeekdaySin => (self.week * TAU).sin(),
            Temporal::WeekdayCos => (self.week * TAU).cos(),
            Temporal::Weekend => f64::from(u8::from(self.weekend)),
            Temporal::BusinessHours => f64::from(u8::from(self.business)),
            Temporal::Holiday => f64::from(u8::from(self.holiday)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Calendar {
        let config = CalendarConfig {
            time_zone: "Europe/Berlin".into(),
            holidays: vec!["2026-12-25".into()],
            ..CalendarConfig::default()
        };
        Calendar::new(&config, |key, problem| panic!("{key}: {problem}"))
    }

    fn business_at(calendar: &Calendar, utc: &str) -> f64 {
        let timestamp: Timestamp = utc.parse().expect("a moment");
        let moment = calendar
            .at(EventTime(timestamp.as_millisecond()))
            .expect("a moment of our time");
        moment.feature(Temporal::BusinessHours)
    }

    #[test]
    fn business_hours_follow_the_change_to_summer_time() {
        // 2026-03-29 is the change: the Friday before, work begins at 08:00 UTC, the Monday after at 07:00 UTC.
        let calendar = berlin();
        assert_eq!(business_at(&calendar, "2026-03-27T07:59:59Z"), 0.0);
        assert_eq!(business_at(&calendar, "2026-03-27T08:00:00Z"), 1.0);
        assert_eq!(business_at(&calendar, "2026-03-30T06:59:59Z"), 0.0);
        assert_eq!(business_at(&calendar, "2026-03-30T07:00:00Z"), 1.0);
    }

    #[test]
    fn nobody_works_on_holidays_and_weekends() {
        let calendar = berlin();
        assert_eq!(business_at(&calendar, "2026-12-24T10:00:00Z"), 1.0);
        assert_eq!(business_at(&calendar, "2026-12-25T10:00:00Z"), 0.0);
        assert_eq!(business_at(&calendar, "2026-12-26T10:00:00Z"), 0.0);
    }

    #[test]
    fn moments_beyond_all_calendars_are_undefined() {
        assert!(berlin().at(EventTime(i64::MAX)).is_none());
        assert!(berlin().at(EventTime(i64::MIN)).is_none());
    }

    #[test]
    fn mistakes_are_named() {
        let config = CalendarConfig {
            time_zone: "Mars/Olympus".into(),
            business_from: 18,
            business_to: 9,
            holidays: vec!["Christmas".into()],
        };
        let mut keys = Vec::new();
        Calendar::new(&config, |key, _| keys.push(key));
        assert_eq!(keys, ["time_zone", "business_from", "holidays[0]"]);
    }
}
