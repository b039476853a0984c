//! What networks and senders do to good data: repetitions, overtaking, lateness, gaps.

use forewarn_messages::SampleBatch;
use forewarn_types::EventTime;

use super::Sent;
use super::noise::Draw;

/// How often each kind of disorder happens, per batch. Nothing of it by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disorder {
    /// The same bytes come again, up to a minute later.
    pub duplicates: f64,
    /// Some samples come again with the same time and another value.
    pub conflicts: f64,
    /// The batch is overtaken by its successors, but comes before its step closes by the deadline.
    pub overtaken: f64,
    /// The batch comes after its step has closed.
    pub late: f64,
    /// The batch, and the few that follow it, never come: the collector stood still.
    pub gaps: f64,
    /// Single samples of the batch never come.
    pub holes: f64,
}

impl Disorder {
    /// A bad day: about every tenth batch is touched.
    #[must_use]
    pub const fn rough() -> Self {
        Self {
            duplicates: 0.03,
            conflicts: 0.01,
            overtaken: 0.03,
            late: 0.01,
            gaps: 0.002,
            holes: 0.02,
        }
    }

    /// Puts the batches of one host in the order in which they are sent.
    pub(super) fn apply(&self, batches: impl Iterator<Item = SampleBatch>, seed: u64) -> Vec<Sent> {
        let mut draw: Option<Draw> = None;
        let mut sent = Vec::new();
        let mut missing = 0_u64;
        for mut batch in batches {
            let draw = draw.get_or_insert_with(|| {
                Draw::new(seed, &format!("disorder {}", batch.resource.log_key()))
            });
            let step = batch.interval.millis();
            let measured = batch.time.millis();
            // Every kind is drawn for every batch, so that switching one on does not shift the others.
            let at = measured + 30 + draw.index(0, 120) as i64;
            let overtaken = draw
                .chance(self.overtaken)
                .then(|| draw.index(1, step.unsigned_abs()) as i64);
            // Pushed samples are waited for, so only the latest of these are too late for them.
            let late = draw
                .chance(self.late)
                .then(|| 2 * step + draw.index(0, 80 * step.unsigned_abs()) as i64);
            let again = draw
                .chance(self.duplicates)
                .then(|| draw.index(0, 60_000) as i64);
            let conflict = draw
                .chance(self.conflicts)
                .then(|| draw.index(0, 3_000) as i64);
            if draw.chance(self.gaps) {
                missing = draw.index(2, 9);
            }
            if missing > 0 {
                missing -= 1;
                continue;
            }
            if draw.chance(self.holes) && batch.samples.len() > 1 {
                let hole = draw.index(0, batch.samples.len() as u64) as usize;
                batch.samples.remove(hole);
            }
            let at = at + late.or(overtaken).unwrap_or(0);
            if let Some(wait) = again {
                sent.push(Sent {
                    at: EventTime(at + wait),
                    batch: batch.clone(),
                });
            }
            if let Some(wait) = conflict {
                sent.push(Sent {
                    at: EventTime(at + wait),
                    batch: contradict(&batch),
                });
            }
            sent.push(Sent {
                at: EventTime(at),
                batch,
            });
        }
        sent
    }
}

/// The first samples again, with other values.
fn contradict(batch: &SampleBatch) -> SampleBatch {
    let mut other = batch.clone();
    other.samples.truncate(3);
    for sample in &mut other.samples {
        sample.value *= 0.9;
    }
    other
}
