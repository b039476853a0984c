//! One partition through one stage: no thread, no checkpoint, no crash.

use forewarn_bus::{Applied, Derived, Halt, Partition, Place, Record, Stage};
use forewarn_messages::{Body, DeadLetter};

use super::roots::record_of;

/// What came out of a partition.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// The records that the stage derived, in order.
    pub derived: Vec<Derived>,
    /// The records that it could not read.
    pub dead: Vec<DeadLetter>,
}

impl Replay {
    /// The derived records as the next stage would read them from a log in which nothing was written twice.
    pub fn records<'a, S: Stage>(&'a self, partition: u32) -> impl Iterator<Item = Record> + 'a {
        let place = Place {
            topic: S::Output::TOPIC,
            partition,
        };
        (0..)
            .zip(&self.derived)
            .map(move |(offset, d)| record_of(place, offset, d.log_time, &d.envelope))
    }
}

/// Takes `records` through `stage` in their order.
///
/// # Errors
/// [`Halt`] where a service would stop and ask for a person.
pub fn replay<S: Stage>(
    stage: S,
    partition: u32,
    records: impl IntoIterator<Item = Record>,
) -> Result<Replay, Halt> {
    let mut partition = Partition::new(stage, partition, None);
    let mut replay = Replay::default();
    for record in records {
        match partition.apply(&record)? {
            Applied::Outputs(derived) => replay.derived.extend(derived),
            Applied::Dead(letter) => replay.dead.push(letter),
            Applied::Repeated => {}
            Applied::NotYet => {
                panic!("a reference run is given everything that decides about a record")
            }
        }
    }
    Ok(replay)
}
