//! Acknowledged ⊆ log: every sample that a sender was told is kept must be in `system_metrics`, with its value.

use std::collections::HashMap;
use std::collections::btree_map::BTreeMap;
use std::ops::Range;

use forewarn_messages::{Body, Headers, SampleBatch, SystemMetric};
use uuid::Uuid;

use super::Report;
use crate::reference::Roots;

/// The samples in a log: id, and the bits of every value that came under it.
#[derive(Clone, Debug, Default)]
pub struct LoggedSamples(HashMap<Uuid, Vec<u64>>);

impl LoggedSamples {
    /// Those of `roots`.
    #[must_use]
    pub fn of(roots: &Roots) -> Self {
        let mut samples: HashMap<Uuid, Vec<u64>> = HashMap::new();
        for record in roots.partitions.iter().flatten() {
            let pairs = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            let Ok(headers) = Headers::from_pairs(pairs) else {
                continue;
            };
            let Ok(SystemMetric::Samples(batch)) = SystemMetric::decode(&headers, &record.body)
            else {
                continue;
            };
            for (id, sample) in batch.sample_ids().zip(&batch.samples) {
                let values = samples.entry(id).or_default();
                if !values.contains(&sample.value.to_bits()) {
                    values.push(sample.value.to_bits());
                }
            }
        }
        Self(samples)
    }

    /// How many different samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every id, in order.
    #[must_use]
    pub fn ids(&self) -> std::collections::BTreeSet<Uuid> {
        self.0.keys().copied().collect()
    }

    /// Compares with what was acknowledged: `sent` are all batches of each sender in the order of sending, `ledger`
    /// the ranges of them that were acknowledged ([`crate::ledger::read`]).
    #[must_use]
    pub fn hold(
        &self,
        sent: &[(String, Vec<&SampleBatch>)],
        ledger: &BTreeMap<String, Vec<Range<u64>>>,
    ) -> Report {
        let mut report = Report::default();
        let (mut kept, mut generated) = (0, std::collections::HashSet::new());
        for (sender, batches) in sent {
            let ranges = ledger.get(sender).map(Vec::as_slice).unwrap_or_default();
            for (number, batch) in (0_u64..).zip(batches) {
                let acknowledged = ranges.iter().any(|range| range.contains(&number));
                for (id, sample) in batch.sample_ids().zip(&batch.samples) {
                    generated.insert(id);
                    let found = self
                        .0
                        .get(&id)
                        .is_some_and(|values| values.contains(&sample.value.to_bits()));
                    match (acknowledged, found) {
                        (true, true) => kept += 1,
                        (true, false) => report.differ(|| {
                            format!("acknowledged and not in the log: batch {number} of {sender}: {} at {}", sample.metric, batch.time)
                        }),
                        (false, _) => {}
                    }
                }
            }
        }
        for id in self.0.keys().filter(|id| !generated.contains(*id)) {
            report.differ(|| format!("in the log and never sent: sample {id}"));
        }
        report.agree("acknowledged samples in the log", kept);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Fleet;

    #[test]
    fn what_is_missing_and_what_was_never_sent_is_named() {
        let recording = Fleet::drawn(1, 50, 1).record();
        let roots = Roots::of_recording(&recording, 2, 0);
        let batches: Vec<&SampleBatch> = recording.sent.iter().map(|sent| &sent.batch).collect();
        let sent = vec![("a".to_owned(), batches)];
        let whole = 0..recording.sent.len() as u64;
        let all = BTreeMap::from([("a".to_owned(), vec![whole])]);
        let logged = LoggedSamples::of(&roots);
        assert!(logged.hold(&sent, &all).is_clean());

        let mut short = roots.clone();
        let lost = short
            .partitions
            .iter_mut()
            .find(|records| records.iter().any(|record| !record.key.is_empty()))
            .expect("one has the host");
        let at = lost
            .iter()
            .rposition(|record| !record.key.is_empty())
            .expect("a batch");
        lost.remove(at);
        let report = LoggedSamples::of(&short).hold(&sent, &all).to_string();
        assert!(
            report.contains("acknowledged and not in the log"),
            "{report}"
        );
        // What was not acknowledged may be there or not.
        let none = BTreeMap::new();
        assert!(LoggedSamples::of(&short).hold(&sent, &none).is_clean());
        let report = logged.hold(&[], &none).to_string();
        assert!(report.contains("never sent"), "{report}");
    }
}
