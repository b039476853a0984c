//! From where the points of a span are read, and how far apart they are.

use std::time::Duration;

use forewarn_store::metrics::{LEVELS, Level, Retention, Span};

use super::{DAY, HOUR};

/// Points of one series that an answer aims at: more than a chart has pixels for is no use.
const POINTS: i64 = 500;
/// Points of one series at most, with a `step` that was asked for.
const POINTS_MOST: i64 = 2_000;
/// Longer spans than ten years are typing mistakes.
const SPAN_MOST: i64 = 3_660 * DAY;

/// What there is to read from, from the finest to the coarsest.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    /// For how long points are kept as they came, in milliseconds.
    raw_millis: i64,
    sources: Vec<Source>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    level: Option<&'static Level>,
    /// Length of its windows, in milliseconds.
    window: i64,
    /// How long it is kept, in milliseconds.
    kept: i64,
    /// The longest span that is read from it, in milliseconds.
    span: i64,
}

/// From where the points of a span come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) level: Option<&'static Level>,
    pub(super) step: Option<i64>,
    pub(super) span: Span,
}

/// A parameter, what is wrong with it, and the remedy.
pub(super) type Wrong = (&'static str, String, String);

impl Levels {
    /// For how long points are kept as they came, in milliseconds.
    pub(super) fn raw_millis(&self) -> i64 {
        self.raw_millis
    }

    pub(crate) fn of(retention: &Retention) -> Self {
        let millis = |kept: Duration| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let raw_millis = millis(retention.raw);
        let mut sources = vec![Source {
            level: None,
            window: 0,
            kept: raw_millis,
            span: 6 * HOUR,
        }];
        if let Some(kept) = retention.levels {
            // Some 20000 windows of a series are read at most.
            let spans = [2 * DAY, 14 * DAY, 120 * DAY, i64::MAX];
            for (index, level) in LEVELS.iter().enumerate() {
                sources.push(Source {
                    level: Some(level),
                    window: level.window,
                    kept: millis(kept[index]),
                    span: spans[index],
                });
            }
        }
        Self {
            raw_millis,
            sources,
        }
    }

    /// The finest source that still has the whole span and can be read fast enough, and a step that fits.
    pub(super) fn plan(
        &self,
        since: i64,
        until: i64,
        now: i64,
        step: Option<Duration>,
    ) -> Result<Plan, Wrong> {
        let span = until - since;
        if span > SPAN_MOST {
            return Err((
                "since",
                "the span is longer than ten years".to_owned(),
                "give a later `since`".to_owned(),
            ));
        }
        let asked = step.map(|step| i64::try_from(step.as_millis()).unwrap_or(i64::MAX));
        if let Some(asked) = asked
            && span / asked > POINTS_MOST
        {
            let least = Duration::from_secs(
                u64::try_from(span / POINTS_MOST / 1_000 + 1).unwrap_or(u64::MAX),
            );
            return Err((
                "step",
                format!("the span has more than {POINTS_MOST} such steps"),
                format!(
                    "give at least {}, or a shorter span",
                    forewarn_config::duration::format(least)
                ),
            ));
        }
        let fits = |source: &&Source| since >= now - source.kept && span <= source.span;
        // Of what no source has in whole, the one that is kept for longest has the most.
        let source = self
            .sources
            .iter()
            .find(fits)
            .or_else(|| self.sources.iter().max_by_key(|source| source.kept));
        let Some(source) = source else {
            return Err((
                "since",
                "there is nothing to read".to_owned(),
                String::new(),
            ));
        };
        let step = match asked {
            Some(asked) => Some(whole(asked, source.window)),
            // As it came, where that is no more than a chart can show at one point a second.
            None if source.level.is_none() && span <= POINTS * 1_000 => None,
            None => Some(whole(nice(span / POINTS), source.window)),
        };
        let span = match step {
            Some(step) => Span {
                start: since.div_euclid(step) * step,
                stop: until,
            },
            None => Span {
                start: since,
                stop: until,
            },
        };
        Ok(Plan {
            level: source.level,
            step,
            span,
        })
    }
}

/// The next length that people count in, in milliseconds.
fn nice(least: i64) -> i64 {
    const SECONDS: [i64; 18] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400,
        604_800,
    ];
    SECONDS
        .iter()
        .map(|seconds| seconds * 1_000)
        .find(|step| *step >= least)
        .unwrap_or(604_800_000)
}

/// At least as long, and whole windows of the source.
fn whole(step: i64, window: i64) -> i64 {
    match window {
        0 => step,
        window => (step.max(1) + window - 1) / window * window,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use forewarn_store::influxdb::Config as InfluxConfig;

    /// Far enough from the epoch for every retention.
    const NOW: i64 = 20_000 * DAY;

    fn check(retention: &Retention, ago: i64, span: i64, step: Option<u64>, expected: Expect) {
        let levels = Levels::of(retention);
        let since = NOW - ago + 1;
        let text = match levels.plan(since, since + span, NOW, step.map(Duration::from_secs)) {
            Ok(plan) => format!(
                "{} every {:?} ms from {}",
                plan.level.map_or("raw", |level| level.name),
                plan.step,
                plan.span.start - since
            ),
            Err((name, detail, remedy)) => format!("{name}: {detail} -> {remedy}"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_finest_source_that_has_the_span_is_read() {
        let kept = InfluxConfig::default().retention();
        check(
            &kept,
            300_000,
            300_000,
            None,
            expect!["raw every None ms from 0"],
        );
        check(
            &kept,
            HOUR,
            HOUR,
            None,
            expect!["raw every Some(10000) ms from -1"],
        );
        check(
            &kept,
            DAY,
            DAY,
            None,
            expect!["10s every Some(300000) ms from -1"],
        );
        check(
            &kept,
            7 * DAY,
            7 * DAY,
            None,
            expect!["1m every Some(1800000) ms from -1"],
        );
        check(
            &kept,
            90 * DAY,
            90 * DAY,
            None,
            expect!["10m every Some(21600000) ms from -1"],
        );
        check(
            &kept,
            365 * DAY,
            365 * DAY,
            None,
            expect!["1h every Some(86400000) ms from -1"],
        );
        // Long gone as it came: the hour of a month ago is there in steps of ten seconds.
        check(
            &kept,
            30 * DAY,
            HOUR,
            None,
            expect!["10s every Some(10000) ms from -1"],
        );
        // Longer ago than anything is kept: what is kept longest.
        check(
            &kept,
            3_000 * DAY,
            HOUR,
            None,
            expect!["1h every Some(3600000) ms from -1"],
        );
    }

    #[test]
    fn a_step_that_was_asked_for_is_kept_or_made_whole() {
        let kept = InfluxConfig::default().retention();
        check(
            &kept,
            HOUR,
            HOUR,
            Some(60),
            expect!["raw every Some(60000) ms from -1"],
        );
        check(
            &kept,
            30 * DAY,
            600_000,
            Some(7),
            expect!["10s every Some(10000) ms from -1"],
        );
        check(
            &kept,
            7 * DAY,
            7 * DAY,
            Some(900),
            expect!["1m every Some(900000) ms from -1"],
        );
        check(
            &kept,
            DAY,
            DAY,
            Some(1),
            expect![
                "step: the span has more than 2000 such steps -> give at least 44s, or a shorter span"
            ],
        );
        check(
            &kept,
            5_000 * DAY,
            5_000 * DAY,
            None,
            expect!["since: the span is longer than ten years -> give a later `since`"],
        );
    }

    #[test]
    fn without_aggregates_everything_is_read_as_it_came() {
        let kept = Retention {
            levels: None,
            ..InfluxConfig::default().retention()
        };
        check(
            &kept,
            90 * DAY,
            90 * DAY,
            None,
            expect!["raw every Some(21600000) ms from -1"],
        );
    }
}
