//! The checks of one sample, each with the field, the reason and the remedy.

use forewarn_types::{EventTime, MetricType, Sample, Tags, metric};

use super::units::{self, Refused};
use super::{Limits, Reason};

/// What is wrong with a sample or with the head of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field that is wrong.
    pub field: String,
    /// The class of the problem.
    pub reason: Reason,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub(super) fn new(
        field: impl Into<String>,
        reason: Reason,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            reason,
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }
}

/// A sample as it was read, before any check.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) metric: String,
    pub(super) tags: Tags,
    pub(super) time: EventTime,
    pub(super) value: f64,
    pub(super) unit: Option<String>,
    pub(super) metric_type: Option<MetricType>,
}

/// Names in InfluxDB and in the batch that a tag would collide with.
const RESERVED_TAGS: &[&str] = &["tenant", "resource", "kind", "source", "time"];

/// Ratios may exceed their range by the rounding of whoever divided.
const ROUNDING: f64 = 1e-6;

/// Totals that only grow: their type is known and need not be said.
const COUNTERS: &[&str] = &[
    metric::CPU_TIME,
    metric::CONTEXT_SWITCHES,
    metric::PAGING_FAULTS,
    metric::DISK_IO,
    metric::DISK_OPERATIONS,
    metric::DISK_IO_TIME,
    metric::NETWORK_IO,
    metric::NETWORK_PACKETS,
    metric::NETWORK_DROPPED,
    metric::NETWORK_ERRORS,
    metric::PROCESS_CREATED,
    metric::PRESSURE_STALL_TIME,
];

/// Checks a sample and brings it to base units and canonical names.
pub(super) fn check(
    candidate: Candidate,
    limits: &Limits,
    now: EventTime,
) -> Result<Sample, Problem> {
    let metric = metric_name(&candidate.metric, limits)?;
    tags(&candidate.tags, limits)?;
    time(candidate.time, limits, now)?;
    let metric_type = metric_type(metric, candidate.metric_type)?;
    let value = value(
        metric,
        candidate.value,
        candidate.unit.as_deref(),
        metric_type,
    )?;
    Ok(Sample {
        metric: metric.to_owned(),
        tags: candidate.tags,
        metric_type,
        time: candidate.time,
        value,
    })
}

/// The name of a resource: one word or several, whatever people call their machines.
pub(super) fn resource(name: &str, limits: &Limits) -> Result<(), Problem> {
    let problem =
        |detail: String, remedy: &str| Err(Problem::new("resource", Reason::Name, detail, remedy));
    if name.trim().is_empty() {
        return problem(
            "`resource` is empty".into(),
            "name what was measured, such as \"web-01\"",
        );
    }
    if name.len() > limits.name_bytes_max {
        return problem(
            format!(
                "`resource` has {} bytes, the most are {}",
                name.len(),
                limits.name_bytes_max
            ),
            "use a shorter name",
        );
    }
    if name.trim() != name || name.contains(char::is_control) {
        return problem(
            format!(
                "`resource` {:?} has control characters, or spaces at its ends",
                shorten(name)
            ),
            "leave them out",
        );
    }
    Ok(())
}

fn metric_name<'a>(given: &'a str, limits: &Limits) -> Result<&'a str, Problem> {
    if given.len() > limits.name_bytes_max {
        let detail = format!(
            "the name has {} bytes, the most are {}",
            given.len(),
            limits.name_bytes_max
        );
        return Err(Problem::new(
            "metric",
            Reason::Name,
            detail,
            "use a shorter name, and tags for what varies",
        ));
    }
    if !is_name(given) {
        let detail = format!("{:?} is not a metric's name", shorten(given));
        let remedy = "begin with a letter and go on with letters, digits and . _ - / :, such as \"system.cpu.utilization\"";
        return Err(Problem::new("metric", Reason::Name, detail, remedy));
    }
    Ok(metric::canonical(given))
}

fn tags(tags: &Tags, limits: &Limits) -> Result<(), Problem> {
    let problem = |field: String, detail: String, remedy: &str| {
        Err(Problem::new(field, Reason::Tags, detail, remedy))
    };
    if tags.len() > limits.tags_max {
        let detail = format!(
            "a sample has {} tags, the most are {}",
            tags.len(),
            limits.tags_max
        );
        return problem(
            "tags".into(),
            detail,
            "keep the tags by which you would ask for the series",
        );
    }
    for (key, value) in tags {
        let field = || format!("tags.{}", shorten(key));
        if key.len() > limits.name_bytes_max || !is_name(key) {
            let detail = format!(
                "{:?} is not a tag's name, or longer than {} bytes",
                shorten(key),
                limits.name_bytes_max
            );
            return problem(
                field(),
                detail,
                "begin with a letter and go on with letters, digits and . _ - / :",
            );
        }
        if RESERVED_TAGS.contains(&key.as_str()) {
            let detail = format!("the tag `{key}` is reserved");
            return problem(
                field(),
                detail,
                "the batch says it once for all samples; use another name for anything else",
            );
        }
        if value.is_empty() {
            return problem(
                field(),
                "the tag's value is empty".into(),
                "leave the tag out",
            );
        }
        if value.len() > limits.tag_value_bytes_max {
            let detail = format!(
                "the value has {} bytes, the most are {}",
                value.len(),
                limits.tag_value_bytes_max
            );
            return problem(
                field(),
                detail,
                "tags tell series apart; put texts elsewhere",
            );
        }
        if value.contains(char::is_control) {
            return problem(
                field(),
                "the value has control characters".into(),
                "leave them out",
            );
        }
    }
    Ok(())
}

fn time(time: EventTime, limits: &Limits, now: EventTime) -> Result<(), Problem> {
    let problem =
        |detail: String, remedy: &str| Err(Problem::new("time", Reason::Time, detail, remedy));
    let ahead = time.since(now);
    let behind = now.since(time);
    if ahead > limits.future {
        let allowed = forewarn_config::duration::format(limits.future);
        return problem(
            format!(
                "{time} is {} ahead of now, allowed are {allowed}",
                roughly(ahead)
            ),
            "set the sender's clock, and send milliseconds since 1970 or an RFC 3339 time",
        );
    }
    if behind > limits.past {
        // Seconds where milliseconds belong lie in January 1970.
        let remedy = if (100_000_000..100_000_000_000).contains(&time.millis()) {
            "this looks like seconds: multiply by 1000, or send an RFC 3339 time"
        } else {
            "set the sender's clock, and send samples while they are fresh"
        };
        let allowed = forewarn_config::duration::format(limits.past);
        return problem(
            format!(
                "{time} is {} before now, allowed are {allowed}",
                roughly(behind)
            ),
            remedy,
        );
    }
    Ok(())
}

fn metric_type(metric: &str, given: Option<MetricType>) -> Result<MetricType, Problem> {
    let is_counter = COUNTERS.contains(&metric);
    match given {
        None if is_counter => Ok(MetricType::Counter),
        None => Ok(MetricType::Gauge),
        Some(MetricType::Gauge) if is_counter => Err(Problem::new(
            "type",
            Reason::Malformed,
            format!("`{metric}` is a counter, not a gauge"),
            "send the total since the start, or a rate under a name of your own",
        )),
        Some(MetricType::Counter)
            if forewarn_types::metric::unit(metric).is_some() && !is_counter =>
        {
            Err(Problem::new(
                "type",
                Reason::Malformed,
                format!("`{metric}` is a gauge, not a counter"),
                "leave the type out",
            ))
        }
        Some(given) => Ok(given),
    }
}

fn value(
    metric: &str,
    value: f64,
    unit: Option<&str>,
    metric_type: MetricType,
) -> Result<f64, Problem> {
    if !value.is_finite() {
        return Err(not_finite(&value.to_string()));
    }
    let base = units::base_unit(metric);
    let value = match unit {
        None => value,
        Some(unit) => units::convert(unit, base)
            .map_err(|refused| wrong_unit(metric, unit, &refused))?
            .apply(value),
    };
    if !value.is_finite() {
        return Err(not_finite("the value in base units"));
    }
    let range =
        |detail: String, remedy: &str| Err(Problem::new("value", Reason::Range, detail, remedy));
    if base == Some("1") && !(-ROUNDING..=1.0 + ROUNDING).contains(&value) {
        let remedy = if unit.is_none() && value > 1.0 && value <= 100.0 {
            "say `\"unit\": \"%\"` if this is a percentage"
        } else {
            "send the part of the whole, from 0 to 1, or a percentage with `\"unit\": \"%\"`"
        };
        return range(
            format!("{value} is not a ratio, `{metric}` goes from 0 to 1"),
            remedy,
        );
    }
    if value < 0.0 && base != Some("1") && (base.is_some() || metric_type == MetricType::Counter) {
        return range(
            format!("{value} is negative, `{metric}` cannot be"),
            "check how it is measured",
        );
    }
    Ok(value)
}

pub(super) fn not_finite(given: &str) -> Problem {
    let remedy = "leave the sample out: a missing value is a gap, and gaps are seen";
    Problem::new(
        "value",
        Reason::NotFinite,
        format!("{} is not a finite number", shorten(given)),
        remedy,
    )
}

fn wrong_unit(metric: &str, unit: &str, refused: &Refused) -> Problem {
    let unit = shorten(unit);
    match refused {
        Refused::Unknown => Problem::new(
            "unit",
            Reason::Unit,
            format!("the unit {unit:?} is not known"),
            "use %, s, ms, By, KiB, MiB, GiB …, put things that are counted in braces such as {order}, or leave it out",
        ),
        Refused::Other(base) => Problem::new(
            "unit",
            Reason::Unit,
            format!("{unit:?} does not measure `{metric}`"),
            format!("send it in one of: {}", units::accepted(base)),
        ),
    }
}

/// Names of metrics and tags: a letter first, since InfluxDB keeps names with an underscore in front for itself.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':');
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic()) && bytes.all(inner)
}

/// The beginning of what a sender wrote: answers never grow with it.
pub(super) fn shorten(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A distance in time as people say it.
fn roughly(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
