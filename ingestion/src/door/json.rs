//! Reads a pushed document: strict about the document, lenient about its samples.
//!
//! Each sample is kept as raw JSON and read on its own, so that one with `"value": "NaN"` or an unknown field refuses
//! only itself. What is not JSON at all refuses the request, with the line, the column and the remedy.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use forewarn_messages::SampleBatch;
use forewarn_types::{
    EventTime, Kind, MetricType, ResourceKey, Sample, SeriesKey, StepLength, Tags, id,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::limits::step_length;
use super::validate::{self, Candidate, shorten};
use super::{ActiveSeries, Limits, Problem, PushConfig, Reason, Refusals};

/// The source of pushed samples.
pub(crate) const SOURCE: &str = "push";

/// What a request offered: good samples by batch, in the order of their times, and the others.
#[derive(Debug)]
pub struct Offer {
    /// Batches with at least one sample.
    pub batches: Vec<SampleBatch>,
    /// What is refused.
    pub refusals: Refusals,
}

impl Offer {
    /// How many samples may go into the log.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.batches.iter().map(|batch| batch.samples.len()).sum()
    }
}

/// Why a whole request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or not of the form that is expected here.
    #[error("{detail}")]
    Document {
        /// What is wrong, and where.
        detail: String,
        /// What to do about it.
        remedy: String,
    },
    /// More samples than one request may have.
    #[error("the request has {found} samples, the most are {max}")]
    TooManySamples {
        /// In the request.
        found: usize,
        /// As configured.
        max: usize,
    },
}

/// A batch as it stands in the document: the head is checked field by field, the samples one by one.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a batch in braces, with `resource` and `samples`"
)]
struct RawBatch<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    interval: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    samples: Vec<&'a RawValue>,
}

/// A sample as it stands in the document.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a sample in braces, with `metric` and `value`"
)]
struct RawSample<'a> {
    #[serde(borrow)]
    metric: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    value: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    metric_type: Option<&'a RawValue>,
    #[serde(borrow)]
    unit: Option<&'a RawValue>,
}

/// A value of `null` is there: the sender measured nothing, and hears that a gap is said by silence.
fn even_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What a batch says once for all its samples.
struct Head {
    resource: ResourceKey,
    kind: Kind,
    interval: StepLength,
    time: EventTime,
}

/// Reads a document of one batch or an array of batches. `now` is this machine's clock, `uptime_seconds` one that only
/// goes forward.
///
/// # Errors
/// [`Malformed`] refuses the document as a whole; everything else is in [`Offer::refusals`].
pub fn read(
    body: &[u8],
    limits: &Limits,
    push: &PushConfig,
    series: &Mutex<ActiveSeries>,
    now: EventTime,
    uptime_seconds: u64,
) -> Result<Offer, Malformed> {
    let document = parse(body)?;
    let found: usize = document.iter().map(|batch| batch.samples.len()).sum();
    if found > limits.samples_max {
        return Err(Malformed::TooManySamples {
            found,
            max: limits.samples_max,
        });
    }
    if found == 0 {
        return Err(Malformed::Document {
            detail: "the request has no samples".into(),
            remedy: "send at least one in `samples`".into(),
        });
    }
    let mut offer = Offer {
        batches: Vec::new(),
        refusals: Refusals::default(),
    };
    let mut seen = HashSet::with_capacity(found);
    for (index, raw) in document.iter().enumerate() {
        let head = match head(raw, limits, push, now) {
            Ok(head) => head,
            Err(problem) => {
                offer.refusals.add(index, None, raw.samples.len(), problem);
                continue;
            }
        };
        let mut samples = Vec::with_capacity(raw.samples.len());
        for (place, text) in raw.samples.iter().enumerate() {
            let checked = candidate(text, head.time)
                .and_then(|candidate| validate::check(candidate, limits, now))
                .and_then(|sample| {
                    admit(&head.resource, sample, &mut seen, series, uptime_seconds)
                });
            match checked {
                Ok(sample) => samples.push(sample),
                Err(problem) => offer.refusals.add(index, Some(place), 1, problem),
            }
        }
        if !samples.is_empty() {
            // Within a request nothing is late because of where it stands: the steps close by event time.
            samples.sort_by_key(|sample| sample.time);
            offer.batches.push(SampleBatch::new(
                head.resource,
                head.kind,
                SOURCE,
                head.interval,
                samples,
            ));
        }
    }
    Ok(offer)
}

fn parse(body: &[u8]) -> Result<Vec<RawBatch<'_>>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|error| Malformed::Document {
        detail: format!("the body is not UTF-8, from byte {}", error.valid_up_to()),
        remedy: "send JSON as UTF-8; a compressed body needs `content-encoding: gzip`".into(),
    })?;
    let read = match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => serde_json::from_str::<Vec<RawBatch<'_>>>(text),
        _ => serde_json::from_str::<RawBatch<'_>>(text).map(|batch| vec![batch]),
    };
    read.map_err(|error| malformed(text, &error))
}

fn malformed(text: &str, error: &serde_json::Error) -> Malformed {
    let near = text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let around: String = near
        .chars()
        .skip(error.column().saturating_sub(12))
        .take(24)
        .collect();
    let bare = ["NaN", "nan", "Infinity", "inf"]
        .into_iter()
        .find(|word| around.contains(word));
    let remedy = match bare {
        Some(word) => format!("JSON has no {word}: leave the sample out, since a missing value is a gap"),
        None if error.is_eof() => "the document ends too early; send all of it".to_owned(),
        None if error.is_data() => {
            "send {\"resource\": …, \"samples\": [{\"metric\": …, \"value\": …}]}, or an array of these".to_owned()
        }
        None => "send a JSON document".to_owned(),
    };
    Malformed::Document {
        detail: shorten_message(&error.to_string()),
        remedy,
    }
}

/// serde's words may repeat what was sent, however long that is.
fn shorten_message(message: &str) -> String {
    const LENGTH: usize = 300;
    match message.char_indices().nth(LENGTH) {
        // The place stands at the end.
        Some((end, _)) => {
            let place = message.rfind(" at line ").map_or("", |at| &message[at..]);
            format!("{}…{place}", &message[..end])
        }
        None => message.to_owned(),
    }
}

fn head(
    raw: &RawBatch<'_>,
    limits: &Limits,
    push: &PushConfig,
    now: EventTime,
) -> Result<Head, Problem> {
    let resource = match raw.resource {
        Some(text) => string("resource", text)?,
        None => {
            let remedy = "name what was measured, such as \"web-01\"";
            return Err(Problem::new(
                "resource",
                Reason::Malformed,
                "`resource` is missing",
                remedy,
            ));
        }
    };
    validate::resource(&resource, limits)?;
    if let Some(source) = raw.source {
        let source = string("source", source)?;
        if source != SOURCE {
            let detail = format!(
                "`source` is {:?}, what comes in here is \"{SOURCE}\"",
                shorten(&source)
            );
            return Err(Problem::new(
                "source",
                Reason::Malformed,
                detail,
                "leave it out, and use a tag for the sender",
            ));
        }
    }
    Ok(Head {
        resource: ResourceKey::new(resource),
        kind: raw.kind.map_or(Ok(Kind::default()), kind)?,
        interval: interval(raw.interval, push)?,
        time: raw.time.map_or(Ok(now), moment)?,
    })
}

fn kind(text: &RawValue) -> Result<Kind, Problem> {
    serde_json::from_str(text.get()).map_err(|_| {
        let remedy = "use server, container, database, cache, load_balancer, storage, network, queue, service, \
                      application, serverless, ml_model or custom";
        Problem::new("kind", Reason::Malformed, format!("{} is not a kind of resource", shorten(text.get())), remedy)
    })
}

fn interval(text: Option<&RawValue>, push: &PushConfig) -> Result<StepLength, Problem> {
    let problem = |detail: String| {
        Problem::new(
            "interval",
            Reason::Malformed,
            detail,
            "say how often you send, from \"1s\" to \"1h\"",
        )
    };
    let span = match text {
        None => push.interval,
        Some(text) => {
            forewarn_config::duration::parse(&string("interval", text)?).map_err(problem)?
        }
    };
    step_length(span).ok_or_else(|| {
        problem(format!(
            "{} is not between 1 s and 1 h",
            forewarn_config::duration::format(span)
        ))
    })
}

fn candidate(text: &RawValue, batch_time: EventTime) -> Result<Candidate, Problem> {
    let remedy = "send {\"metric\": …, \"value\": …} with tags, time, type and unit as needed";
    // serde would take the fields from an array too, by their order.
    if !text.get().starts_with('{') {
        let detail = format!("{} is not an object", shorten(text.get()));
        return Err(Problem::new("sample", Reason::Malformed, detail, remedy));
    }
    let raw: RawSample<'_> = serde_json::from_str(text.get()).map_err(|error| {
        // The position within the sample would only confuse: the sample is named by its index.
        let words = error.to_string();
        let words = words
            .rfind(" at line ")
            .map_or(words.as_str(), |at| &words[..at]);
        Problem::new("sample", Reason::Malformed, shorten_message(words), remedy)
    })?;
    let missing = |field: &str| {
        Problem::new(
            field,
            Reason::Malformed,
            format!("`{field}` is missing"),
            "every sample has a metric and a value",
        )
    };
    Ok(Candidate {
        metric: string("metric", raw.metric.ok_or_else(|| missing("metric"))?)?.into_owned(),
        tags: raw.tags.map_or(Ok(Tags::new()), tags)?,
        time: raw.time.map_or(Ok(batch_time), moment)?,
        value: number(raw.value.ok_or_else(|| missing("value"))?)?,
        unit: raw
            .unit
            .map(|text| string("unit", text))
            .transpose()?
            .map(Cow::into_owned),
        metric_type: raw.metric_type.map(metric_type).transpose()?,
    })
}

fn string<'a>(field: &str, text: &'a RawValue) -> Result<Cow<'a, str>, Problem> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(text.get())
        .map(|text| text.0)
        .map_err(|_| {
            let detail = format!("{} is not a string", shorten(text.get()));
            Problem::new(field, Reason::Malformed, detail, "put it in quotes")
        })
}

fn tags(text: &RawValue) -> Result<Tags, Problem> {
    let raw: BTreeMap<String, &RawValue> = serde_json::from_str(text.get()).map_err(|_| {
        let detail = format!("{} is not an object", shorten(text.get()));
        Problem::new(
            "tags",
            Reason::Malformed,
            detail,
            "send {\"name\": \"value\"}",
        )
    })?;
    let mut tags = Tags::new();
    for (key, value) in raw {
        let value = string(&format!("tags.{}", shorten(&key)), value)?.into_owned();
        tags.insert(key, value);
    }
    Ok(tags)
}

/// Milliseconds since 1970, or an RFC 3339 time with its offset.
fn moment(text: &RawValue) -> Result<EventTime, Problem> {
    let given = text.get();
    if let Ok(millis) = given.parse::<i64>() {
        return Ok(EventTime(millis));
    }
    let read = serde_json::from_str::<&str>(given)
        .ok()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    read.map(|time| EventTime(time.as_millisecond())).ok_or_else(|| {
        let remedy = "send whole milliseconds since 1970, or an RFC 3339 time such as \"2026-01-31T12:00:00Z\"";
        Problem::new("time", Reason::Malformed, format!("{} is not a time", shorten(given)), remedy)
    })
}

fn number(text: &RawValue) -> Result<f64, Problem> {
    let given = text.get();
    // JSON's numbers are Rust's too; what is too large for an f64 becomes infinite and is refused as such.
    if given.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return given
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(|| validate::not_finite(given));
    }
    let word = given
        .trim_matches('"')
        .trim_start_matches(['+', '-'])
        .to_ascii_lowercase();
    if given == "null" || matches!(word.as_str(), "nan" | "inf" | "infinity") {
        return Err(validate::not_finite(given));
    }
    let remedy = "send a plain number, without quotes";
    Err(Problem::new(
        "value",
        Reason::Malformed,
        format!("{} is not a number", shorten(given)),
        remedy,
    ))
}

fn metric_type(text: &RawValue) -> Result<MetricType, Problem> {
    serde_json::from_str(text.get()).map_err(|_| {
        let detail = format!("{} is not a type", shorten(text.get()));
        Problem::new(
            "type",
            Reason::Malformed,
            detail,
            "use \"gauge\" or \"counter\"",
        )
    })
}

/// The last checks, which need to know what came before: no sample twice in a request, no series too many.
fn admit(
    resource: &ResourceKey,
    sample: Sample,
    seen: &mut HashSet<Uuid>,
    active: &Mutex<ActiveSeries>,
    uptime_seconds: u64,
) -> Result<Sample, Problem> {
    let Sample {
        metric,
        tags,
        metric_type,
        time,
        value,
    } = sample;
    let series = SeriesKey {
        resource: resource.clone(),
        metric,
        tags,
    };
    let sample_id = id::sample(&series, time);
    if seen.contains(&sample_id) {
        let detail = format!("the same series and time ({time}) stands earlier in this request");
        return Err(Problem::new(
            "time",
            Reason::Duplicate,
            detail,
            "send each sample once, or tell the series apart by a tag",
        ));
    }
    // A series' own name is that of a sample without a time of its own.
    let series_id = id::sample(&series, EventTime(0));
    let mut active = active.lock().unwrap_or_else(PoisonError::into_inner);
    if !active.admit(series_id, uptime_seconds) {
        let detail = format!("{} series are active, no new one is taken", active.len());
        let remedy = "use fewer tags with ever-new values, or raise ingestion.limits.series_max";
        return Err(Problem::new("tags", Reason::SeriesLimit, detail, remedy));
    }
    drop(active);
    seen.insert(sample_id);
    let SeriesKey { metric, tags, .. } = series;
    Ok(Sample {
        metric,
        tags,
        metric_type,
        time,
        value,
    })
}

#[cfg(test)]
mod tests;
