//! What whoever starts `forewarn` without a command gets to see: where everything is, and then what happens, as it happens.
//!
//! It reads the topics like any other reader, and changes nothing.

mod happening;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use forewarn_bus::{Consumer, Event, Log, Place, Record, Start};
use forewarn_messages::{
    ALERT_EVENTS, ANOMALY_PREDICTIONS, AlertTransition, FailurePrediction, Part, Prediction,
    Verdict,
};
use forewarn_types::PredictionState;
use uuid::Uuid;

pub(crate) use self::happening::{Happening, Share};
pub(crate) use self::show::{Show, Voice};

/// One anomaly is told once: the next only when its resource has been ordinary for so long.
const ORDINARY: Duration = Duration::from_secs(60);

/// Predictions that are followed to their end; more than these at once nobody reads.
const FOLLOWED_MAX: usize = 1_000;

/// Reads what happens off the log.
pub(crate) struct Watch {
    consumer: Box<dyn Consumer>,
    ends: BTreeMap<Place, u64>,
    anomalous: BTreeMap<String, Instant>,
    /// The last parts of each resource's score.
    parts: BTreeMap<String, Vec<Share>>,
    followed: BTreeSet<Uuid>,
    /// Resources of which something live has been judged.
    pub(crate) judged: BTreeSet<String>,
}

impl Watch {
    /// Begins at the end of the log: what lies behind was told before, or nobody was there.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn start(log: &dyn Log) -> anyhow::Result<Self> {
        let mut ends = BTreeMap::new();
        for topic in [&ANOMALY_PREDICTIONS, &ALERT_EVENTS] {
            for partition in 0..log.partitions(topic)? {
                let place = Place { topic, partition };
                ends.insert(place, log.bounds(place)?.end);
            }
        }
        let places: Vec<Place> = ends.keys().copied().collect();
        Ok(Self {
            consumer: log.reader(&places)?,
            ends,
            anomalous: BTreeMap::new(),
            parts: BTreeMap::new(),
            followed: BTreeSet::new(),
            judged: BTreeSet::new(),
        })
    }

    /// What happened next; nothing if that takes longer than `wait`, or was nothing worth a word.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn next(&mut self, wait: Duration) -> anyhow::Result<Option<Happening>> {
        match self.consumer.poll(wait)? {
            Event::Assigned(places) => {
                for place in places {
                    let from = self.ends.get(&place).copied().unwrap_or_default();
                    self.consumer.start(place, Start::Offset(from))?;
                }
                Ok(None)
            }
            Event::Revoked(places) | Event::Lost(places) => {
                self.consumer.release(&places)?;
                Ok(None)
            }
            Event::Record(record) => Ok(self.record(&record)),
            Event::End(_) | Event::Nothing => Ok(None),
        }
    }

    /// What cannot be read is told by those whose business it is.
    fn record(&mut self, record: &Record) -> Option<Happening> {
        let headers = record.headers().ok()?;
        if record.place.topic == &ALERT_EVENTS {
            let change = record.body::<AlertTransition>(&headers).ok()?;
            return Some(Happening::Alert {
                alert_id: change.alert_id,
                resource: change.resource.resource,
                severity: change.severity,
                state: change.to,
                title: change.title,
            });
        }
        match record.body::<Prediction>(&headers).ok()? {
            Prediction::Verdict(verdict) if !verdict.backfill => self.verdict(verdict),
            Prediction::Failure(failure) if !failure.backfill => self.failure(failure),
            _ => None,
        }
    }

    fn verdict(&mut self, verdict: Verdict) -> Option<Happening> {
        let resource = verdict.resource.resource.clone();
        self.judged.insert(resource.clone());
        let (score, _) = verdict.highest()?;
        if score <= 1.0 {
            return None;
        }
        let parts = shares(&verdict);
        self.parts.insert(resource.clone(), parts.clone());
        let last = self.anomalous.insert(resource.clone(), Instant::now());
        let is_new = last.is_none_or(|last| last.elapsed() >= ORDINARY);
        is_new.then_some(Happening::Anomaly {
            resource,
            score,
            parts,
        })
    }

    fn failure(&mut self, failure: FailurePrediction) -> Option<Happening> {
        let prediction_id = failure.prediction_id();
        let resource = failure.resource.resource;
        if failure.state == PredictionState::Open {
            let is_new = self.followed.len() < FOLLOWED_MAX && self.followed.insert(prediction_id);
            return is_new.then(|| Happening::Prediction {
                prediction_id,
                parts: self.parts.get(&resource).cloned().unwrap_or_default(),
                resource,
                failure: failure.failure,
                subject: failure.subject,
                p10_seconds: failure.p10_seconds,
                p50_seconds: failure.p50_seconds,
                p90_seconds: failure.p90_seconds,
                probability: failure.probability,
            });
        }
        self.followed
            .remove(&prediction_id)
            .then_some(Happening::Graded {
                prediction_id,
                resource,
                failure: failure.failure,
                subject: failure.subject,
                state: failure.state,
                lead_seconds: failure.lead_seconds,
                reason: failure.reason,
            })
    }
}

/// What a score consists of: its parts, or the metrics that are anomalous on their own.
fn shares(verdict: &Verdict) -> Vec<Share> {
    let whole: f32 = verdict.parts.iter().map(|part| part.part.max(0.0)).sum();
    if whole > 0.0 {
        let share = |part: &Part| Share {
            metric: part.metric.clone(),
            share: part.part / whole,
            value: part.value,
            expected: part.expected,
        };
        return verdict.parts.iter().map(share).collect();
    }
    let whole: f32 = verdict.series.iter().map(|series| series.score).sum();
    let alone = verdict.series.iter().map(|series| Share {
        metric: series.metric.clone(),
        share: series.score / whole,
        value: series.value,
        expected: series.expected,
    });
    alone.collect()
}
