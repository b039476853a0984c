//! Members of a group share the partitions, and none is read by two or by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use forewarn_bus::{Consumer, Event, Place, Start, Subscription};
use forewarn_messages::SYSTEM_METRICS;
use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminOptions;

use crate::child::Victim;
use crate::toy::batch;
use crate::world::{World, eventually};

/// A member that reads what it gets, from where it stopped.
struct Member {
    consumer: Box<dyn Consumer>,
    owned: BTreeSet<Place>,
    next: BTreeMap<Place, u64>,
    ended: BTreeSet<Place>,
    revoked: usize,
    lost: usize,
}

impl Member {
    fn join(world: &World, instance: &str) -> Self {
        let (group, instance) = ("moves".into(), instance.into());
        let subscription = Subscription {
            group,
            instance,
            topics: vec![&SYSTEM_METRICS],
        };
        let consumer = world.log.subscribe(subscription).unwrap();
        let (owned, next, ended) = Default::default();
        Self {
            consumer,
            owned,
            next,
            ended,
            revoked: 0,
            lost: 0,
        }
    }

    fn turn(&mut self) {
        match self.consumer.poll(Duration::from_millis(20)).unwrap() {
            Event::Assigned(places) => {
                for place in places {
                    assert!(self.owned.insert(place), "{place} was given twice");
                    let from = self
                        .next
                        .get(&place)
                        .map_or(Start::Earliest, |next| Start::Offset(*next));
                    self.consumer.start(place, from).unwrap();
                }
            }
            Event::Revoked(places) => {
                self.revoked += places.len();
                for place in &places {
                    assert!(self.owned.remove(place));
                    self.consumer
                        .commit(*place, self.next.get(place).copied().unwrap_or_default())
                        .unwrap();
                }
                // One after the other, as a reader may finish them.
                for place in places {
                    self.consumer.release(&[place]).unwrap();
                }
            }
            Event::Lost(places) => {
                self.lost += places.len();
                self.owned.retain(|place| !places.contains(place));
                self.consumer.release(&places).unwrap();
            }
            Event::Record(record) => {
                assert!(
                    self.owned.contains(&record.place),
                    "{} is not ours",
                    record.place
                );
                let next = self.next.entry(record.place).or_default();
                assert_eq!(record.offset, *next, "in order and without gaps");
                *next += 1;
            }
            Event::End(place) => drop(self.ended.insert(place)),
            Event::Nothing => {}
        }
    }

    fn read(&self) -> u64 {
        self.next.values().sum()
    }
}

fn put(world: &World, each: usize) {
    let appender = world.log.appender().unwrap();
    let bodies: Vec<_> = (0..each).map(|n| batch("host", "m", &[n as f64])).collect();
    (0..4).for_each(|partition| world.put(appender.as_ref(), partition, &bodies));
}

#[test]
fn partitions_move_to_a_member_that_joins_and_back_when_it_leaves() {
    World::each("ownership moves", 4, |world| {
        put(world, 100);
        let mut a = Member::join(world, "a");
        eventually("a reads all", || {
            a.turn();
            (a.owned.len() == 4 && a.read() == 400 && a.ended.len() == 4).then_some(())
        });
        let mut b = Member::join(world, "b");
        eventually("they share", || {
            a.turn();
            b.turn();
            (a.owned.len() == 2 && b.owned.len() == 2).then_some(())
        });
        assert!(a.owned.is_disjoint(&b.owned));
        put(world, 50);
        eventually("each reads its own", || {
            a.turn();
            b.turn();
            // `b` reads its two from the beginning.
            (a.read() == 400 + 100 && b.read() == 300).then_some(())
        });
        // Taking two away cost the other two nothing.
        assert_eq!((a.revoked, a.lost), (2, 0));
        drop(b);
        eventually("a has all back", || {
            a.turn();
            (a.owned.len() == 4 && a.read() == 600).then_some(())
        });
        assert_eq!((a.revoked, a.lost), (2, 0));
    });
}

#[test]
fn a_killed_member_s_partitions_wait_for_it_and_then_go_to_the_others() {
    let Some(world) = World::kafka("killed members", 4) else {
        return;
    };
    put(&world, 10);
    let mut a = Member::join(&world, "a");
    eventually("a reads all", || {
        a.turn();
        (a.read() == 40).then_some(())
    });
    let turning = |a: &mut Member, victim: std::thread::JoinHandle<Victim>| {
        eventually("the child has partitions", || {
            a.turn();
            victim.is_finished().then_some(())
        });
        victim.join().unwrap()
    };
    let start = || {
        let config = world.config().clone();
        std::thread::spawn(move || Victim::member(&config, "b"))
    };
    let victim = turning(&mut a, start());
    eventually("a has given two", || {
        a.turn();
        (a.owned.len() == 2).then_some(())
    });
    assert!(victim.kill());
    // Back at once under its name: it gets its partitions, and nobody else notices.
    let victim = turning(&mut a, start());
    assert_eq!((a.owned.len(), a.revoked, a.lost), (2, 2, 0));
    assert!(victim.kill());
    eventually("a has all back", || {
        a.turn();
        (a.owned.len() == 4).then_some(())
    });
    put(&world, 10);
    eventually("a reads on", || {
        a.turn();
        (a.read() == 80).then_some(())
    });
}

#[test]
fn a_committed_offset_is_told_to_the_next_and_a_deleted_one_gives_the_oldest() {
    let Some(world) = World::kafka("commits", 4) else {
        return;
    };
    put(&world, 30);
    let place = Place {
        topic: &SYSTEM_METRICS,
        partition: 2,
    };
    let mut a = Member::join(&world, "a");
    eventually("a reads all", || {
        a.turn();
        (a.read() == 120).then_some(())
    });
    assert_eq!(a.consumer.committed(place).unwrap(), None);
    a.consumer.commit(place, 12).unwrap();
    eventually("the commit is there", || {
        a.consumer
            .committed(place)
            .unwrap()
            .filter(|next| *next == 12)
    });

    let mut list = TopicPartitionList::new();
    let name = world.name(&SYSTEM_METRICS);
    list.add_partition_offset(&name, 2, rdkafka::Offset::Offset(20))
        .unwrap();
    futures::executor::block_on(world.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    eventually("the oldest are gone", || {
        (world.log.bounds(place).unwrap() == (20..30)).then_some(())
    });
    a.consumer.start(place, Start::Offset(12)).unwrap();
    let mut offsets = Vec::new();
    eventually("the rest is read", || {
        if let Event::Record(record) = a.consumer.poll(Duration::from_millis(20)).unwrap() {
            offsets.push(record.offset);
        }
        (offsets.len() == 10).then_some(())
    });
    assert_eq!(offsets, (20..30).collect::<Vec<_>>());
}

#[test]
fn a_pause_stops_one_partition_and_forgets_nothing() {
    World::each("pauses", 4, |world| {
        put(world, 10);
        let mut a = Member::join(world, "a");
        eventually("a reads all", || {
            a.turn();
            (a.read() == 40).then_some(())
        });
        let place = Place {
            topic: &SYSTEM_METRICS,
            partition: 1,
        };
        a.consumer.pause(place).unwrap();
        put(world, 10);
        eventually("the others go on", || {
            a.turn();
            (a.read() >= 70).then_some(())
        });
        assert_eq!((a.read(), a.next[&place]), (70, 10));
        a.consumer.resume(place).unwrap();
        eventually("the paused one follows", || {
            a.turn();
            (a.read() == 80).then_some(())
        });
    });
}

#[test]
fn a_reader_without_a_group_reads_what_it_is_told() {
    World::each("reading alone", 4, |world| {
        put(world, 20);
        let places: Vec<_> = (0..4)
            .map(|partition| Place {
                topic: &SYSTEM_METRICS,
                partition,
            })
            .collect();
        let mut readers: Vec<_> = (0..2).map(|_| world.log.reader(&places).unwrap()).collect();
        for reader in &mut readers {
            let mut read = BTreeMap::<Place, Vec<u64>>::new();
            let mut ended = BTreeSet::new();
            eventually("all is read", || {
                match reader.poll(Duration::from_millis(20)).unwrap() {
                    Event::Assigned(assigned) => {
                        assert_eq!(assigned, places);
                        for place in assigned {
                            reader
                                .start(place, Start::Offset(u64::from(place.partition) * 5))
                                .unwrap();
                        }
                    }
                    Event::Record(record) => {
                        read.entry(record.place).or_default().push(record.offset)
                    }
                    Event::End(place) => drop(ended.insert(place)),
                    _ => {}
                }
                (ended.len() == 4).then_some(())
            });
            for place in &places {
                assert_eq!(
                    read[place],
                    (u64::from(place.partition) * 5..20).collect::<Vec<_>>()
                );
            }
        }
    });
}
