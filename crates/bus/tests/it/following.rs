//! Readers that are no stages: batches are offered until they are taken, and only then committed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use forewarn_bus::{
    Batch, FollowOptions, Observe, Place, Reading, RunError, Setback, Sink, Start, StopFlag,
    Subscription, Taken, follow, mint,
};
use forewarn_messages::{PROCESSED_METRICS, SYSTEM_METRICS};

use crate::toy::batch;
use crate::world::{World, eventually};

/// Takes everything after refusing each batch once; stops when it has `enough`.
struct Slow {
    begun: Vec<(Place, Option<u64>)>,
    taken: BTreeMap<Place, Vec<u64>>,
    refused: BTreeMap<Place, Vec<u64>>,
    enough: usize,
    stop: StopFlag,
}

impl Slow {
    fn new(enough: usize) -> Self {
        let (begun, taken, refused, stop) = Default::default();
        Self {
            begun,
            taken,
            refused,
            enough,
            stop,
        }
    }
}

impl Sink for Slow {
    fn begin(&mut self, place: Place, committed: Option<u64>) -> Result<Start, Setback> {
        self.begun.push((place, committed));
        Ok(committed.map_or(Start::Earliest, Start::Offset))
    }

    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback> {
        let offsets: Vec<_> = batch.records.iter().map(|record| record.offset).collect();
        if self.refused.insert(batch.place, offsets.clone()).as_ref() != Some(&offsets) {
            return Err(Setback::Later {
                after: Duration::from_millis(150),
                why: "the store is away".into(),
            });
        }
        self.taken.entry(batch.place).or_default().extend(offsets);
        if self.taken.values().map(Vec::len).sum::<usize>() >= self.enough {
            self.stop.stop();
        }
        Ok(Taken::Done)
    }
}

/// What a service hears.
#[derive(Default)]
struct Ears(Mutex<Vec<Option<String>>>);

impl Observe for Ears {
    fn beat(&self) {}

    fn trouble(&self, why: Option<&str>) {
        self.0.lock().unwrap().push(why.map(str::to_owned));
    }
}

fn options() -> FollowOptions {
    FollowOptions {
        max_records: 7,
        end_wait: Duration::from_millis(10),
        ..FollowOptions::new("test")
    }
}

fn shared(topics: Vec<&'static forewarn_messages::Topic>) -> Reading {
    Reading::Shared(Subscription {
        group: "followers".into(),
        instance: "a".into(),
        topics,
    })
}

#[test]
fn a_refused_batch_is_offered_again_and_a_restart_goes_on_where_it_was_taken() {
    World::each("following", 2, |world| {
        let appender = world.log.appender().unwrap();
        let put = |count| {
            let bodies: Vec<_> = (0..count)
                .map(|n| batch("host", "m", &[f64::from(n)]))
                .collect();
            (0..2).for_each(|partition| world.put(appender.as_ref(), partition, &bodies));
        };
        put(50);
        let ears = Ears::default();
        let mut first = Slow::new(100);
        let stop = first.stop.clone();
        follow(
            world.log.as_ref(),
            &shared(vec![&SYSTEM_METRICS]),
            &mut first,
            &options(),
            &stop,
            &ears,
        )
        .unwrap();
        assert!(
            first
                .taken
                .values()
                .all(|offsets| *offsets == (0..50).collect::<Vec<_>>())
        );
        assert!(first.begun.iter().all(|(_, committed)| committed.is_none()));
        assert_eq!(
            ears.0.lock().unwrap().first(),
            Some(&Some("the store is away".into()))
        );

        put(30);
        let mut second = Slow::new(60);
        let stop = second.stop.clone();
        follow(
            world.log.as_ref(),
            &shared(vec![&SYSTEM_METRICS]),
            &mut second,
            &options(),
            &stop,
            &(),
        )
        .unwrap();
        assert!(
            second
                .begun
                .iter()
                .all(|(_, committed)| *committed == Some(50))
        );
        assert!(
            second
                .taken
                .values()
                .all(|offsets| *offsets == (50..80).collect::<Vec<_>>())
        );
    });
}

/// Finds in the middle that somebody else has moved on, as a projector does by its compare-and-set.
struct Overtaken {
    taken: Vec<u64>,
    moved: bool,
    ends: usize,
    stop: StopFlag,
}

impl Sink for Overtaken {
    fn begin(&mut self, _: Place, _: Option<u64>) -> Result<Start, Setback> {
        Ok(Start::Offset(3))
    }

    fn take(&mut self, batch: &Batch) -> Result<Taken, Setback> {
        if !self.moved && batch.records.iter().any(|record| record.offset >= 10) {
            self.moved = true;
            return Ok(Taken::GoTo(Start::Offset(5)));
        }
        self.taken
            .extend(batch.records.iter().map(|record| record.offset));
        self.ends += usize::from(batch.at_end);
        Ok(Taken::Done)
    }

    fn idle(&mut self) -> Result<(), Setback> {
        if self.ends > 0 {
            self.stop.stop();
        }
        Ok(())
    }
}

#[test]
fn alone_a_reader_begins_and_goes_on_where_its_sink_says_and_is_told_of_the_end() {
    World::each("following alone", 1, |world| {
        let appender = world.log.appender().unwrap();
        let bodies: Vec<_> = (0..40)
            .map(|n| batch("host", "m", &[f64::from(n)]))
            .collect();
        world.put(appender.as_ref(), 0, &bodies);
        let stop = StopFlag::new();
        let mut sink = Overtaken {
            taken: Vec::new(),
            moved: false,
            ends: 0,
            stop: stop.clone(),
        };
        follow(
            world.log.as_ref(),
            &Reading::Alone(vec![&SYSTEM_METRICS]),
            &mut sink,
            &options(),
            &stop,
            &(),
        )
        .unwrap();
        let expected: Vec<u64> = (3..10).chain(5..40).collect();
        assert_eq!(sink.taken, expected);
    });
}

#[test]
fn several_topics_are_followed_and_each_end_is_told() {
    World::each("following several topics", 2, |world| {
        let appender = world.log.appender().unwrap();
        mint(world.log.as_ref(), appender.as_ref()).unwrap();
        struct Ends(BTreeMap<Place, usize>, StopFlag);
        impl Sink for Ends {
            fn begin(&mut self, _: Place, _: Option<u64>) -> Result<Start, Setback> {
                Ok(Start::Earliest)
            }
            fn take(&mut self, batch: &Batch) -> Result<Taken, Setback> {
                *self.0.entry(batch.place).or_default() += batch.records.len();
                if batch.at_end && self.0.len() == 4 {
                    self.1.stop();
                }
                Ok(Taken::Done)
            }
        }
        let stop = StopFlag::new();
        let mut sink = Ends(BTreeMap::new(), stop.clone());
        let topics = vec![&SYSTEM_METRICS, &PROCESSED_METRICS];
        follow(
            world.log.as_ref(),
            &shared(topics),
            &mut sink,
            &options(),
            &stop,
            &(),
        )
        .unwrap();
        let counts: Vec<_> = sink
            .0
            .into_iter()
            .map(|(place, count)| (place.topic.name, count))
            .collect();
        let (empty, ticked) = (("processed_metrics", 0), ("system_metrics", 1));
        assert_eq!(counts, [empty, empty, ticked, ticked]);
    });
}

#[test]
fn a_sink_that_gives_up_ends_the_loop_with_its_reason() {
    World::each("giving up", 1, |world| {
        struct GivesUp;
        impl Sink for GivesUp {
            fn begin(&mut self, _: Place, _: Option<u64>) -> Result<Start, Setback> {
                Err(anyhow::anyhow!("password expired").into())
            }
            fn take(&mut self, _: &Batch) -> Result<Taken, Setback> {
                unreachable!("it never begins")
            }
        }
        let reading = shared(vec![&SYSTEM_METRICS]);
        let error = follow(
            world.log.as_ref(),
            &reading,
            &mut GivesUp,
            &options(),
            &StopFlag::new(),
            &(),
        )
        .unwrap_err();
        assert!(
            matches!(&error, RunError::Sink { error, .. } if error.to_string() == "password expired"),
            "{error}"
        );
    });
}

#[test]
fn a_loop_is_stopped_from_outside() {
    World::each("stopping", 1, |world| {
        let stop = StopFlag::new();
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let mut sink = Slow::new(usize::MAX);
                follow(
                    world.log.as_ref(),
                    &shared(vec![&SYSTEM_METRICS]),
                    &mut sink,
                    &options(),
                    &stop,
                    &(),
                )
            });
            stop.clone().stop();
            eventually("it ends", || running.is_finished().then_some(()));
            running.join().unwrap().unwrap();
        });
    });
}
