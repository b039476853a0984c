//! The lines that people read. One place, so that they sound alike and the machine stays about states.

use std::time::Duration;

use forewarn_messages::{FailurePrediction, SeriesVerdict, Verdict};
use forewarn_rules::{Placeholder, Rule, ThresholdRule};
use forewarn_types::quantity::{percent, quantity};
use forewarn_types::{EventTime, FailureKind, PredictionState, ResourceKey};

use super::failure::Thing;
use super::people::By;

/// A line with the resource in front, unless the user's own words name it already.
pub(super) fn title(resource: &ResourceKey, headline: &str) -> String {
    let name = &resource.resource;
    if headline.contains(name.as_str()) {
        headline.to_owned()
    } else {
        format!("{name}: {headline}")
    }
}

pub(super) fn holds(
    resource: &ResourceKey,
    rule: &Rule,
    config: &ThresholdRule,
    subject: &str,
    value: Option<f64>,
) -> String {
    let show = |value: f64| level(config, value);
    let (now, threshold) = (value.map_or("unknown".into(), show), show(config.value));
    if let Some(template) = rule.summary() {
        return template.render(|place| match place {
            Placeholder::Resource => resource.resource.clone(),
            Placeholder::Metric => config.metric.clone(),
            Placeholder::Value => now.clone(),
            Placeholder::Threshold => threshold.clone(),
            _ => subject.to_owned(),
        });
    }
    format!(
        "{} is {now}, {} {threshold}",
        what(config, subject),
        config.operator.words()
    )
}

pub(super) fn ceased(config: &ThresholdRule, subject: &str, value: Option<f64>) -> String {
    let what = what(config, subject);
    match value {
        Some(value) => format!("{what} is {} again", level(config, value)),
        None => format!("{what} is no longer reported"),
    }
}

/// A value that a rule compares, or its change per second.
fn level(config: &ThresholdRule, value: f64) -> String {
    let per_second = if config.rate { "/s" } else { "" };
    format!("{}{per_second}", quantity(&config.metric, value))
}

fn what(config: &ThresholdRule, subject: &str) -> String {
    let change = if config.rate { "change of " } else { "" };
    if subject == config.metric {
        format!("{change}{subject}")
    } else {
        format!("{change}{} of {subject}", config.metric)
    }
}

pub(super) fn unusual(
    resource: &ResourceKey,
    rule: &Rule,
    verdict: &Verdict,
    score: f32,
) -> String {
    let leading = Leading::of(verdict);
    let metric = leading.as_ref().map_or("resource", |it| it.metric);
    let show = |value: f32| quantity(metric, f64::from(value));
    let shown = |value: fn(&Leading<'_>) -> f32| {
        let value = leading.as_ref().map(value);
        value.map_or("unknown".into(), show)
    };
    if let Some(template) = rule.summary() {
        return template.render(|place| match place {
            Placeholder::Resource => resource.resource.clone(),
            Placeholder::Value => shown(|it| it.value),
            Placeholder::Expected => shown(|it| it.expected),
            Placeholder::Score => format!("{score:.1}"),
            _ => metric.to_owned(),
        });
    }
    match leading {
        Some(it) => format!(
            "unusual{} {metric}: {}, expected {} (score {score:.1})",
            if it.is_alone { "" } else { ", mostly" },
            show(it.value),
            show(it.expected)
        ),
        None => format!("unusual (score {score:.1})"),
    }
}

/// The metric that has most to do with a verdict.
struct Leading<'a> {
    metric: &'a str,
    value: f32,
    expected: f32,
    /// It is anomalous on its own, more than the resource as a whole.
    is_alone: bool,
}

impl<'a> Leading<'a> {
    fn of(verdict: &'a Verdict) -> Option<Self> {
        let (score, metric) = verdict.highest()?;
        let alone = |series: &&SeriesVerdict| {
            Some(series.metric.as_str()) == metric && Some(score) > verdict.score
        };
        if let Some(series) = verdict.series.iter().find(alone) {
            return Some(Self {
                metric: &series.metric,
                value: series.value,
                expected: series.expected,
                is_alone: true,
            });
        }
        verdict.parts.first().map(|part| Self {
            metric: &part.metric,
            value: part.value,
            expected: part.expected,
            is_alone: false,
        })
    }
}

pub(super) fn usual_again(lasted: Duration, peak: f32) -> String {
    format!(
        "as usual again after {} (peak score {peak:.1})",
        span(lasted.as_secs_f64())
    )
}

pub(super) fn will_fail(
    resource: &ResourceKey,
    rule: &Rule,
    thing: &Thing,
    prediction: &FailurePrediction,
) -> String {
    let left = time_left(prediction);
    if let Some(template) = rule.summary() {
        return fill_failure(template, resource, thing, &left);
    }
    let (p10, p90) = (prediction.p10_seconds, prediction.p90_seconds);
    let range = match (p10, p90) {
        (Some(p10), Some(p90)) => format!(" ({})", span_range(p10, p90)),
        (Some(p10), None) => format!(" (not before {})", span(p10)),
        _ => String::new(),
    };
    let will = match thing.failure {
        FailureKind::DiskFull => format!("{} will be full", thing.subject),
        FailureKind::MemoryExhaustion => "memory will be used up".to_owned(),
        FailureKind::ConnectionExhaustion => {
            format!("connections of {} will be used up", thing.subject)
        }
        FailureKind::FileDescriptorExhaustion => "file descriptors will be used up".to_owned(),
    };
    format!("{will} {left}{range}")
}

pub(super) fn has_failed(
    resource: &ResourceKey,
    rule: &Rule,
    thing: &Thing,
    used_share: Option<f64>,
    lead: Option<Duration>,
) -> String {
    if let Some(template) = rule.summary() {
        return fill_failure(template, resource, thing, "now");
    }
    let is = match thing.failure {
        FailureKind::DiskFull => format!("{} is full", thing.subject),
        FailureKind::MemoryExhaustion => "memory is used up".to_owned(),
        FailureKind::ConnectionExhaustion => {
            format!("connections of {} are used up", thing.subject)
        }
        FailureKind::FileDescriptorExhaustion => "file descriptors are used up".to_owned(),
    };
    let used = used_share
        .map(|share| format!(" ({} used)", percent(share)))
        .unwrap_or_default();
    let lead = lead
        .map(|lead| format!(", as predicted {} before", span(lead.as_secs_f64())))
        .unwrap_or_default();
    format!("{is}{used}{lead}")
}

pub(super) fn not_failing(thing: &Thing, prediction: &FailurePrediction) -> String {
    let why = match prediction.state {
        PredictionState::Averted => "the failure was averted",
        PredictionState::Expired => "the predicted failure did not come",
        _ => "the failure is no longer predicted",
    };
    let why_so = prediction
        .reason
        .as_deref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    format!("{}: {why}{why_so}", name(thing))
}

pub(super) fn recovered(thing: &Thing, used_share: Option<f64>) -> String {
    let used = used_share
        .map(|share| format!(" ({} used)", percent(share)))
        .unwrap_or_default();
    format!("{} is below its limit again{used}", name(thing))
}

pub(super) fn silent(resource: &ResourceKey, rule: &Rule, last_step: EventTime) -> String {
    match rule.summary() {
        Some(template) => template.render(|_| resource.resource.clone()),
        None => format!("sends nothing since {} UTC", clock(last_step.millis())),
    }
}

pub(super) fn sends_again() -> String {
    "sends again".to_owned()
}

/// What a person did, as a line and with what they said.
pub(super) fn acknowledged(by: &By) -> (String, String) {
    done("acknowledged", by)
}

/// The same of an alert that a person resolved.
pub(super) fn resolved(by: &By) -> (String, String) {
    done("resolved", by)
}

fn done(what: &str, by: &By) -> (String, String) {
    let line = format!("{what} by {}", by.actor);
    let message = by.message.as_deref();
    let reason = message.map_or_else(|| line.clone(), |message| format!("{line}: {message}"));
    (line, reason)
}

pub(super) fn came_back(times: u32) -> String {
    if times == 1 {
        "came back and stayed".to_owned()
    } else {
        format!("came back {times} times and stayed")
    }
}

pub(super) fn made_room() -> String {
    "too many resources have alerts, and nothing was heard of this one for longest".to_owned()
}

pub(super) fn forgotten(after: Duration) -> String {
    format!(
        "nothing was heard of it for {}, so it counts as gone",
        span(after.as_secs_f64())
    )
}

/// The number that a person would write for this `f32`, not the neighbouring one of the wider type.
pub(super) fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// `hh:mm:ss` in UTC of milliseconds since the epoch.
pub(crate) fn clock(millis: i64) -> String {
    let seconds = millis.div_euclid(1000).rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn fill_failure(
    template: &forewarn_rules::Template,
    resource: &ResourceKey,
    thing: &Thing,
    left: &str,
) -> String {
    template.render(|place| match place {
        Placeholder::Resource => resource.resource.clone(),
        Placeholder::Failure => thing.failure.to_string(),
        Placeholder::TimeLeft => left.to_owned(),
        _ => thing.subject.clone(),
    })
}

fn name(thing: &Thing) -> &str {
    match thing.failure {
        FailureKind::FileDescriptorExhaustion => "file descriptors",
        _ => &thing.subject,
    }
}

fn time_left(prediction: &FailurePrediction) -> String {
    prediction.p50_seconds.map_or("some day".into(), |seconds| {
        format!("in about {}", span(seconds))
    })
}

/// Units a person thinks in, with the span from which each is used.
const UNITS: [(f64, f64, &str); 4] = [
    (2.0 * 86_400.0, 86_400.0, "days"),
    (2.0 * 3600.0, 3600.0, "h"),
    (100.0, 60.0, "min"),
    (0.0, 1.0, "s"),
];

fn unit_of(seconds: f64) -> (f64, &'static str) {
    let unit = UNITS
        .iter()
        .find(|(from, _, _)| seconds >= *from)
        .unwrap_or(&UNITS[3]);
    (unit.1, unit.2)
}

/// `45 s`, `3 min`, `5 h`, `4 days`.
fn span(seconds: f64) -> String {
    let (length, unit) = unit_of(seconds);
    format!("{:.0} {unit}", (seconds / length).max(0.0))
}

/// `2–5 min`, or with both units where they differ.
fn span_range(from: f64, to: f64) -> String {
    let ((length, unit), (_, other)) = (unit_of(from), unit_of(to));
    if unit == other {
        format!("{:.0}–{:.0} {unit}", (from / length).max(0.0), to / length)
    } else {
        format!("{} – {}", span(from), span(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_read_like_a_person_wrote_them() {
        assert_eq!(
            [45.0, 180.0, 5000.0, 7200.0, 400_000.0].map(span),
            ["45 s", "3 min", "83 min", "2 h", "5 days"]
        );
        assert_eq!(span_range(120.0, 300.0), "2–5 min");
        assert_eq!(span_range(50.0, 300.0), "50 s – 5 min");
        assert_eq!(clock(46_724_000), "12:58:44");
    }
}
