//! A derived topic against the reference: every record there, none too many, byte for byte.
//!
//! After crashes a topic holds repetitions. They have to be the same bytes, and apart from them the `src` only grows.

use std::collections::BTreeMap;

use forewarn_bus::{Derived, Record};
use forewarn_messages::Headers;
use forewarn_types::LogTime;

use super::Report;

/// Compares one partition of a derived topic with what the reference derived for it.
///
/// `cut` is the first offset of the root partition that the reference has not seen: what later records caused is not
/// judged. Returns the report, and how many repetitions were found (what crashes cost, not a mistake).
#[must_use]
pub fn partition(expected: &[Derived], actual: &[Record], cut: u64) -> (Report, u64) {
    let mut report = Report::default();
    let Some(place) = actual.first().map(|record| record.place) else {
        for derived in expected {
            report.differ(|| format!("missing: {} (the partition is empty)", describe(derived)));
        }
        return (report, 0);
    };
    let mut seen: BTreeMap<(u64, u64), &Record> = BTreeMap::new();
    let mut repetitions = 0;
    for record in actual {
        let src = match headers(record).map(|headers| headers.src) {
            Ok(Some(src)) => src,
            Ok(None) => {
                report.differ(|| format!("{place} offset {}: no src header", record.offset));
                continue;
            }
            Err(error) => {
                report.differ(|| format!("{place} offset {}: {error}", record.offset));
                continue;
            }
        };
        if src.offset >= cut {
            continue;
        }
        if let Some(first) = seen.get(&src.position()) {
            repetitions += 1;
            if bytes(first) != bytes(record) {
                report.differ(|| {
                    format!(
                        "{place} offset {}: repeats src {src} of offset {} with other bytes: {}",
                        record.offset,
                        first.offset,
                        first_difference(first, record)
                    )
                });
            }
            continue;
        }
        if seen
            .last_key_value()
            .is_some_and(|(last, _)| src.position() < *last)
        {
            report.differ(|| {
                format!(
                    "{place} offset {}: src {src} comes for the first time behind a later one",
                    record.offset
                )
            });
        }
        seen.insert(src.position(), record);
    }
    let mut equal = 0;
    for derived in expected {
        match seen.remove(&derived.src.position()) {
            None => report.differ(|| format!("{place}: missing: {}", describe(derived))),
            Some(found) => {
                let wanted =
                    super::record_of(place, found.offset, derived.log_time, &derived.envelope);
                if bytes(&wanted) == bytes(found) {
                    equal += 1;
                } else {
                    report.differ(|| {
                        format!(
                            "{place} offset {}: {}: {}",
                            found.offset,
                            describe(derived),
                            first_difference(&wanted, found)
                        )
                    });
                }
            }
        }
    }
    for record in seen.values() {
        report.differ(|| {
            format!(
                "{place} offset {}: not in the reference: {}",
                record.offset,
                excerpt(&record.body)
            )
        });
    }
    report.agree(format!("records of {}", place.topic.name), equal);
    (report, repetitions)
}

fn headers(record: &Record) -> Result<Headers, forewarn_messages::DecodeError> {
    Headers::from_pairs(
        record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice())),
    )
}

/// Everything of a record but its offset, which shifts with every repetition.
type Bytes<'a> = (&'a [u8], &'a [(String, Vec<u8>)], &'a [u8], LogTime);

fn bytes(record: &Record) -> Bytes<'_> {
    (&record.key, &record.headers, &record.body, record.log_time)
}

fn describe(derived: &Derived) -> String {
    let envelope = &derived.envelope;
    format!(
        "{} of `{}` with src {}",
        envelope.headers.schema, envelope.key, derived.src
    )
}

fn first_difference(wanted: &Record, found: &Record) -> String {
    if wanted.key != found.key {
        return format!(
            "key {} instead of {}",
            excerpt(&found.key),
            excerpt(&wanted.key)
        );
    }
    if wanted.log_time != found.log_time {
        return format!("log time {} instead of {}", found.log_time, wanted.log_time);
    }
    for (w, f) in wanted.headers.iter().zip(&found.headers) {
        if w != f {
            return format!(
                "header {}={} instead of {}={}",
                f.0,
                excerpt(&f.1),
                w.0,
                excerpt(&w.1)
            );
        }
    }
    if wanted.headers.len() != found.headers.len() {
        return format!(
            "{} headers instead of {}",
            found.headers.len(),
            wanted.headers.len()
        );
    }
    let at = wanted
        .body
        .iter()
        .zip(&found.body)
        .take_while(|(w, f)| w == f)
        .count();
    let from = at.saturating_sub(40);
    format!(
        "body differs at byte {at}: …{} instead of …{}",
        excerpt(&found.body[from..]),
        excerpt(&wanted.body[from..])
    )
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(160)]).into_owned()
}

#[cfg(test)]
mod tests {
    use forewarn_bus::{Cause, RestoreError, Stage};
    use forewarn_messages::{PROCESSED_METRICS, ProcessedMetric, ResourceChange, SystemMetric};
    use forewarn_types::{EventTime, ResourceState};

    use super::*;
    use crate::generate::Fleet;
    use crate::reference::{Roots, replay};

    /// One output per batch.
    struct Echo;

    impl Stage for Echo {
        type Input = SystemMetric;
        type Output = ProcessedMetric;
        const NAME: &'static str = "echo";

        fn apply(&mut self, input: SystemMetric, cause: &Cause, out: &mut Vec<ProcessedMetric>) {
            if let SystemMetric::Samples(batch) = input {
                out.push(ProcessedMetric::Resource(ResourceChange {
                    resource: batch.resource,
                    kind: batch.kind,
                    state: ResourceState::Healthy,
                    log_time: cause.log_time,
                    step_end: EventTime(0),
                }));
            }
        }

        fn snapshot(&self) -> Vec<u8> {
            Vec::new()
        }

        fn restore(&mut self, _snapshot: &[u8]) -> Result<(), RestoreError> {
            Ok(())
        }
    }

    fn topic() -> (Vec<Derived>, Vec<Record>, u64) {
        let roots = Roots::of_recording(&Fleet::drawn(1, 20, 1).record(), 1, 3);
        let cut = roots.partitions[0].len() as u64;
        let replay = replay(Echo, 0, roots.partitions[0].clone()).expect("no halt");
        let records: Vec<Record> = replay.records::<Echo>(0).collect();
        assert_eq!(records[0].place.topic, &PROCESSED_METRICS);
        // 20 batches, and the ticks of 24 seconds.
        assert!(records.len() > 40, "{}", records.len());
        (replay.derived, records, cut)
    }

    /// Puts `records` behind each other as a log would.
    fn renumber(records: Vec<Record>) -> Vec<Record> {
        (0..)
            .zip(records)
            .map(|(offset, record)| Record { offset, ..record })
            .collect()
    }

    fn differences(edit: impl FnOnce(&mut Vec<Record>)) -> (String, u64) {
        let (expected, mut records, cut) = topic();
        edit(&mut records);
        let (report, repetitions) = partition(&expected, &renumber(records), cut);
        (
            if report.is_clean() {
                String::new()
            } else {
                report.to_string()
            },
            repetitions,
        )
    }

    #[test]
    fn repetitions_after_a_crash_are_counted_and_forgiven() {
        assert_eq!(differences(|_| {}), (String::new(), 0));
        let again = |records: &mut Vec<Record>| {
            let repeated = records[5..12].to_vec();
            records.splice(12..12, repeated);
        };
        assert_eq!(differences(again), (String::new(), 7));
    }

    #[test]
    fn every_kind_of_mistake_is_named() {
        let missing = differences(|records| drop(records.remove(7))).0;
        assert!(
            missing.contains("1 differences") && missing.contains("missing"),
            "{missing}"
        );
        let altered = differences(|records| records[7].body[10] ^= 1).0;
        assert!(altered.contains("body differs at byte 10"), "{altered}");
        let stamped = differences(|records| records[7].log_time = LogTime(1)).0;
        assert!(stamped.contains("log time 1 instead of"), "{stamped}");
        let swapped = differences(|records| records.swap(7, 8)).0;
        assert!(
            swapped.contains("for the first time behind a later one"),
            "{swapped}"
        );
        let unfaithful = differences(|records| {
            let mut repeated = records[7].clone();
            repeated.body[10] ^= 1;
            records.push(repeated);
        });
        assert!(unfaithful.0.contains("with other bytes"), "{unfaithful:?}");
        let invented = differences(|records| {
            let mut extra = records[7].clone();
            let src: forewarn_types::Src = headers(&extra).expect("headers").src.expect("src");
            for (name, value) in &mut extra.headers {
                if name == "src" {
                    *value = forewarn_types::Src {
                        sub: src.sub + 1,
                        ..src
                    }
                    .to_string()
                    .into_bytes();
                }
            }
            records.insert(8, extra);
        });
        assert!(invented.0.contains("not in the reference"), "{invented:?}");
    }

    #[test]
    fn what_later_roots_caused_is_not_judged() {
        let (expected, records, _) = topic();
        let cut = 30;
        let before: Vec<Derived> = expected
            .into_iter()
            .filter(|derived| derived.src.offset < cut)
            .collect();
        assert!(partition(&before, &records, cut).0.is_clean());
    }
}
