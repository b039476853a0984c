//! The sentences that are more than a number with a word: the headline, and how a countdown is said.

use forewarn_store::Timestamp;

use super::words::{clock, count, span};
use crate::health::{Status, Totals};

/// What the page says first, and its tone. `due` is the countdown of the next failure.
pub(super) fn headline(totals: &Totals, due: Option<&str>) -> (&'static str, String) {
    let resources = |number| count(number, "resource", "resources");
    match totals.status() {
        Status::Empty => ("wait", "Nothing has been judged yet.".to_owned()),
        Status::Learning => (
            "wait",
            format!(
                "Nothing needs attention. {} still learning what is normal.",
                is_are(totals.in_state("learning"))
            ),
        ),
        Status::Ok => (
            "ok",
            format!(
                "Nothing needs attention: {} watched.",
                resources(totals.resources())
            ),
        ),
        // What was known last is still the most that is known.
        Status::Stale | Status::Attention => {
            let mut parts = Vec::new();
            let alerts = totals.alerts();
            if alerts > 0 {
                let need = if alerts == 1 { "needs" } else { "need" };
                parts.push(format!(
                    "{} {need} attention",
                    count(alerts, "alert", "alerts")
                ));
            }
            let failures = totals.open_predictions;
            if failures > 0 {
                let are = if failures == 1 { "is" } else { "are" };
                parts.push(format!(
                    "{} {are} expected{}",
                    count(failures, "failure", "failures"),
                    next(failures, due)
                ));
            }
            for state in ["critical", "silent"] {
                let number = totals.in_state(state);
                if number > 0 {
                    let are = if number == 1 { "is" } else { "are" };
                    parts.push(format!("{} {are} {state}", resources(number)));
                }
            }
            match parts.as_slice() {
                [] if totals.in_state("at_risk") > 0 => (
                    "bad",
                    format!("{} at risk.", is_are(totals.in_state("at_risk"))),
                ),
                [] => (
                    "wait",
                    "Nothing needed attention when it was last known.".to_owned(),
                ),
                parts => ("bad", format!("{}.", parts.join(", "))),
            }
        }
    }
}

/// When the next failure is expected, behind what says how many there are: ` in 42 min`, or ` (the next in 42 min)`.
fn next(failures: i64, due: Option<&str>) -> String {
    match due {
        None => String::new(),
        Some(OVERDUE) => format!(" ({OVERDUE})"),
        Some(due) if failures == 1 => format!(" {due}"),
        Some(due) => format!(" (the next {due})"),
    }
}

fn is_are(number: i64) -> String {
    let are = if number == 1 { "is" } else { "are" };
    format!("{} {are}", count(number, "resource", "resources"))
}

/// What the headline does not say. `learning` are the seconds that those who learn still want.
pub(super) fn further(totals: &Totals, learning: &[f64]) -> Vec<String> {
    let mut further = Vec::new();
    if totals.resources() == 0 {
        further.push(
            "The first resources appear here some seconds after ingestion, stream-processor and predictor have begun to run. \
             Anything can be measured by pushing to ingestion (port 8001, docs/push-api.md)."
                .to_owned(),
        );
        return further;
    }
    let number = totals.in_state("learning");
    if number > 0 {
        let wanted = learning.iter().copied().fold(0.0, f64::max);
        let wanted = if wanted > 0.0 {
            format!(" for about another {} of data", span(wanted))
        } else {
            String::new()
        };
        further.push(format!(
            "{} learning{wanted}. Until then nothing is said of what is unusual there; rules with fixed values hold already.",
            is_are(number)
        ));
    }
    let number = totals.in_state("degraded");
    if number > 0 {
        let unlike = if number == 1 { "itself" } else { "themselves" };
        further.push(format!("{} unlike {unlike}.", is_are(number)));
    }
    further
}

/// Said of a failure whose latest moment has passed.
const OVERDUE: &str = "overdue";

/// When, and how sure that is. A countdown never runs below the earliest moment without saying so.
pub(super) fn countdown(
    p10: Option<Timestamp>,
    p50: Option<Timestamp>,
    p90: Option<Timestamp>,
    now: Timestamp,
) -> (String, String) {
    let Some(p50) = p50 else {
        return ("at a time not known yet".to_owned(), String::new());
    };
    let until = |at: Timestamp| format!("{} ({})", span(seconds(now, at)), clock(at, now));
    if let Some(p90) = p90
        && p90 <= now
    {
        return (
            OVERDUE.to_owned(),
            format!(
                "it was expected by {}; whether it came is being looked at",
                clock(p90, now)
            ),
        );
    }
    let latest = match p90 {
        Some(p90) => format!("at the latest in {}", until(p90)),
        None => "the latest moment cannot be told".to_owned(),
    };
    if p50 <= now || p10.is_some_and(|p10| p10 <= now) {
        let likely = if p50 > now {
            format!("most likely in {}; ", until(p50))
        } else {
            String::new()
        };
        return ("any moment now".to_owned(), format!("{likely}{latest}"));
    }
    let earliest = match p10 {
        Some(p10) => format!("hardly before {}; ", until(p10)),
        None => String::new(),
    };
    (
        format!("in {}", span(seconds(now, p50))),
        format!("{} most likely; {earliest}{latest}", clock(p50, now)),
    )
}

/// From one instant to a later one.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.micros() - from.micros()) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// 2027-01-15 08:00 UTC.
    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros((NOW + seconds) * 1_000_000))
    }

    fn check(p10: i64, p50: i64, p90: Option<i64>, expected: Expect) {
        let now = Timestamp::from_micros(NOW * 1_000_000);
        let (due, range) = countdown(at(p10), at(p50), p90.and_then(at), now);
        expected.assert_eq(&format!("{due}: {range}"));
    }

    #[test]
    fn a_countdown_says_how_sure_it_is() {
        check(
            1_800,
            2_520,
            Some(4_200),
            expect![
                "in 42 min: 08:42 UTC most likely; hardly before 30 min (08:30 UTC); at the latest in 1 h 10 min (09:10 UTC)"
            ],
        );
        check(
            3_600,
            90_000,
            None,
            expect![
                "in 1 d 1 h: 2027-01-16 09:00 UTC most likely; hardly before 1 h (09:00 UTC); the latest moment cannot be told"
            ],
        );
    }

    #[test]
    fn the_headline_says_when_the_next_failure_comes() {
        assert_eq!(next(1, Some("in 42 min")), " in 42 min");
        assert_eq!(
            next(3, Some("any moment now")),
            " (the next any moment now)"
        );
        assert_eq!(next(1, Some(OVERDUE)), " (overdue)");
        assert_eq!(next(1, None), "");
    }

    #[test]
    fn a_countdown_does_not_run_below_its_earliest_moment() {
        check(
            -60,
            300,
            Some(600),
            expect![
                "any moment now: most likely in 5 min (08:05 UTC); at the latest in 10 min (08:10 UTC)"
            ],
        );
        check(
            -600,
            -60,
            Some(600),
            expect!["any moment now: at the latest in 10 min (08:10 UTC)"],
        );
        check(
            -600,
            -300,
            Some(-1),
            expect!["overdue: it was expected by 07:59 UTC; whether it came is being looked at"],
        );
    }
}
