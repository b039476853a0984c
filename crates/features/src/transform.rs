//! What can be computed from the past of one metric, and from the calendar: the vocabulary of feature sets.
//!
//! All transforms are defined on the step grid. A step without a value is a missing value; nothing is filled in,
//! and a window that is less than half filled is undefined rather than guessed.

use std::fmt;
use std::str::FromStr;

use forewarn_types::StepLength;

/// The most steps that a window of single steps spans. Longer windows live on one-minute aggregates.
pub const WINDOW_STEPS_MAX: u32 = 60;

/// The longest window in minutes.
pub const WINDOW_MINUTES_MAX: u32 = 60;

const MINUTE_MS: u32 = 60_000;

/// How far a window reaches back, the newest step included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// So many steps of the grid.
    Steps(u32),
    /// So many milliseconds of event time.
    Span(u32),
}

/// A window on a grid of a given step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// The last so many steps, each a value of its own.
    Steps(u32),
    /// The minute of the newest step so far, and the whole minutes before it: so many in all.
    Minutes(u32),
}

impl Window {
    /// Up to [`WINDOW_STEPS_MAX`] steps a window is exact; a longer one is made of whole minutes and the current one.
    #[must_use]
    pub fn on(self, step: StepLength) -> Extent {
        match self {
            Self::Steps(steps) => Extent::Steps(steps),
            Self::Span(span) => {
                let step = u32::try_from(step.millis()).expect("a step is at most an hour");
                let steps = (span / step).max(1);
                if steps <= WINDOW_STEPS_MAX {
                    Extent::Steps(steps)
                } else {
                    Extent::Minutes(span / MINUTE_MS)
                }
            }
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Steps(steps) => steps.fmt(f),
            Self::Span(span) if span == 60 * MINUTE_MS => f.write_str("1h"),
            Self::Span(span) if span.is_multiple_of(MINUTE_MS) => {
                write!(f, "{}m", span / MINUTE_MS)
            }
            Self::Span(span) => write!(f, "{}s", span / 1_000),
        }
    }
}

/// A number computed from one metric's values up to and including the newest step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// The value of the step.
    Value,
    /// Seconds between the measurement and the end of the step: a slower series is carried for a while.
    Age,
    /// The value minus that of the step before.
    Diff,
    /// The difference relative to the size of the previous value; undefined when that is below the metric's floor.
    RateOfChange,
    /// The value so many steps before.
    Lag(u32),
    /// Arithmetic mean of the window's values.
    Mean(Window),
    /// Sample standard deviation (n − 1) of the window's values.
    Std(Window),
    /// Least of the window's values.
    Min(Window),
    /// Greatest of the window's values.
    Max(Window),
    /// Median of the window's values; over minutes the median of the minutes' medians.
    Median(Window),
    /// Least-squares slope over the window, per second; over minutes through the minutes' means.
    Slope(Window),
    /// The value's distance from the window's mean in its standard deviations, which count as at least the floor.
    ZScore(Window),
    /// Exponentially weighted mean with α = 2 / (span + 1), weights normalised; missing steps age the past, and with
    /// all weights below a billionth it is undefined.
    Ewma(u32),
}

impl Transform {
    /// The forms a name can take, for messages.
    pub const FORMS: &'static str = "value, age, diff, rate_of_change, lag_N, mean_W, std_W, min_W, max_W, median_W, \
        slope_W, zscore_W, ewma_N (N and W a number of steps up to 60, W also a span up to 1h such as 30s or 15m)";
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value => f.write_str("value"),
            Self::Age => f.write_str("age"),
            Self::Diff => f.write_str("diff"),
            Self::RateOfChange => f.write_str("rate_of_change"),
            Self::Lag(steps) => write!(f, "lag_{steps}"),
            Self::Mean(window) => write!(f, "mean_{window}"),
            Self::Std(window) => write!(f, "std_{window}"),
            Self::Min(window) => write!(f, "min_{window}"),
            Self::Max(window) => write!(f, "max_{window}"),
            Self::Median(window) => write!(f, "median_{window}"),
            Self::Slope(window) => write!(f, "slope_{window}"),
            Self::ZScore(window) => write!(f, "zscore_{window}"),
            Self::Ewma(span) => write!(f, "ewma_{span}"),
        }
    }
}

impl FromStr for Transform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            let shown: String = text.chars().take(80).collect();
            format!(
                "unknown transform `{shown}`, expected one of {}",
                Self::FORMS
            )
        };
        match text {
            "value" => return Ok(Self::Value),
            "age" => return Ok(Self::Age),
            "diff" => return Ok(Self::Diff),
            "rate_of_change" => return Ok(Self::RateOfChange),
            _ => {}
        }
        let (name, argument) = text.rsplit_once('_').ok_or_else(unknown)?;
        // Two values make a spread, and a line needs two points.
        let (steps, window) = (
            || parse_steps(argument, 1),
            |least| parse_window(argument, least),
        );
        match name {
            "lag" => steps().map(Self::Lag),
            "ewma" => steps().map(Self::Ewma),
            "mean" => window(1).map(Self::Mean),
            "min" => window(1).map(Self::Min),
            "max" => window(1).map(Self::Max),
            "median" => window(1).map(Self::Median),
            "std" => window(2).map(Self::Std),
            "slope" => window(2).map(Self::Slope),
            "zscore" => window(2).map(Self::ZScore),
            _ => return Err(unknown()),
        }
        .map_err(|problem| format!("`{text}`: {problem}"))
    }
}

fn parse_steps(text: &str, least: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(steps) if (least..=WINDOW_STEPS_MAX).contains(&steps) => Ok(steps),
        _ => Err(format!(
            "expected a number of steps from {least} to {WINDOW_STEPS_MAX}"
        )),
    }
}

fn parse_window(text: &str, least: u32) -> Result<Window, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return parse_steps(text, least).map(Window::Steps);
    }
    let span = parse_span(text)?;
    // Only a whole number of minutes can be put together from one-minute aggregates.
    if span > MINUTE_MS && !span.is_multiple_of(MINUTE_MS) {
        return Err("a window beyond one minute is a whole number of minutes".into());
    }
    Ok(Window::Span(span))
}

/// Reads `1s`, `15m` or `1h` as milliseconds, from one second to one hour.
pub(crate) fn parse_span(text: &str) -> Result<u32, String> {
    let problem = || "expected a span from 1s to 1h such as `30s`, `5m` or `1h`".to_owned();
    let unit = text.chars().last().ok_or_else(problem)?;
    let scale: u32 = match unit {
        's' => 1_000,
        'm' => MINUTE_MS,
        'h' => 60 * MINUTE_MS,
        _ => return Err(problem()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| problem())?;
    match number.checked_mul(scale) {
        Some(millis @ 1_000..=3_600_000) => Ok(millis),
        _ => Err(problem()),
    }
}

/// A number computed from the calendar at the beginning of a step, in the feature set's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Temporal {
    /// Sine of the time of day, one turn per day.
    HourSin,
    /// Cosine of the time of day.
    HourCos,
    /// Sine of the time of week, one turn from Monday 00:00.
    WeekdaySin,
    /// Cosine of the time of week.
    WeekdayCos,
    /// 1 on Saturday and Sunday, else 0.
    Weekend,
    /// 1 within business hours of a day that is neither weekend nor holiday, else 0.
    BusinessHours,
    /// 1 on a holiday, else 0.
    Holiday,
}

impl Temporal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::HourSin,
        Self::HourCos,
        Self::WeekdaySin,
        Self::WeekdayCos,
        Self::Weekend,
        Self::BusinessHours,
        Self::Holiday,
    ];

    /// The name in feature sets; the feature is `time.` and this.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HourSin => "hour_sin",
            Self::HourCos => "hour_cos",
            Self::WeekdaySin => "weekday_sin",
            Self::WeekdayCos => "weekday_cos",
            Self::Weekend => "weekend",
            Self::BusinessHours => "business_hours",
            Self::Holiday => "holiday",
        }
    }
}

impl FromStr for Temporal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|temporal| temporal.as_str() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|temporal| temporal.as_str()).collect();
                let shown: String = text.chars().take(80).collect();
                format!(
                    "unknown temporal feature `{shown}`, expected one of {}",
                    known.join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "value",
            "age",
            "diff",
            "rate_of_change",
            "lag_3",
            "mean_10",
            "std_1m",
            "min_15m",
            "max_1h",
            "median_5",
            "slope_5m",
            "zscore_30s",
            "ewma_12",
        ] {
            let transform: Transform = name.parse().expect(name);
            assert_eq!(transform.to_string(), name);
        }
    }

    #[test]
    fn wrong_names_are_answered_with_the_remedy() {
        let problem = |name: &str| name.parse::<Transform>().expect_err(name);
        assert!(
            problem("meen_10")
                .starts_with("unknown transform `meen_10`, expected one of value, age")
        );
        assert_eq!(
            problem("lag_0"),
            "`lag_0`: expected a number of steps from 1 to 60"
        );
        assert_eq!(
            problem("std_1"),
            "`std_1`: expected a number of steps from 2 to 60"
        );
        assert_eq!(
            problem("mean_90s"),
            "`mean_90s`: a window beyond one minute is a whole number of minutes"
        );
        assert_eq!(
            problem("mean_2h"),
            "`mean_2h`: expected a span from 1s to 1h such as `30s`, `5m` or `1h`"
        );
        assert!(problem("mean_99999999999999999999m").contains("expected a span"));
        assert!(problem("mean_é").contains("expected a span"));
    }

    #[test]
    fn a_window_is_exact_up_to_sixty_steps() {
        let on =
            |window: Window, step| window.on(StepLength::from_millis(step).expect("within range"));
        assert_eq!(on(Window::Span(60_000), 1_000), Extent::Steps(60));
        assert_eq!(on(Window::Span(300_000), 1_000), Extent::Minutes(5));
        assert_eq!(on(Window::Span(300_000), 10_000), Extent::Steps(30));
        assert_eq!(on(Window::Span(3_600_000), 60_000), Extent::Steps(60));
        assert_eq!(on(Window::Span(60_000), 3_600_000), Extent::Steps(1));
    }
}
