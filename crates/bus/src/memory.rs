//! A log in memory with faults on demand, for the tests of the loops.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use forewarn_messages::{Envelope, Topic};
use forewarn_types::LogTime;

use crate::{
    AppendError, Appender, BusError, Consumer, Event, Log, Place, Position, Receipt, Record, Start,
    Subscription,
};

/// One partition per topic. Clones share the log.
#[derive(Clone, Default)]
pub(crate) struct MemoryLog(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<&'static str, Vec<Record>>,
    pub(crate) committed: BTreeMap<Place, u64>,
    /// How many appends from now on are answered with "full".
    pub(crate) full: usize,
    /// How many appends were answered with "full".
    pub(crate) fulls: usize,
    /// From now on nothing is acknowledged.
    pub(crate) broken: bool,
    /// Records are there but the reader gets none.
    pub(crate) stalled: bool,
    /// Questions are not answered.
    pub(crate) away: bool,
    /// What the group does to its only member, in this order, each when the one before is done.
    pub(crate) script: VecDeque<Act>,
    /// What readers told the group.
    pub(crate) told: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    Assign,
    /// After this many records.
    RevokeAfter(u64),
    LoseAfter(u64),
}

impl MemoryLog {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn records(&self, topic: &Topic) -> Vec<Record> {
        self.lock()
            .topics
            .get(topic.name)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn put(&self, topic: &'static Topic, envelope: Envelope) {
        self.lock().put(topic, None, envelope);
    }
}

impl State {
    fn put(&mut self, topic: &'static Topic, log_time: Option<LogTime>, envelope: Envelope) -> u64 {
        let records = self.topics.entry(topic.name).or_default();
        let offset = records.len() as u64;
        let headers = envelope
            .headers
            .to_pairs()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.into_bytes()))
            .collect();
        records.push(Record {
            place: Place {
                topic,
                partition: 0,
            },
            offset,
            log_time: log_time.unwrap_or(LogTime(1_000 * offset as i64)),
            key: envelope.key.into_bytes(),
            headers,
            body: envelope.body,
        });
        offset
    }
}

impl Appender for MemoryLog {
    fn append(
        &self,
        topic: &'static Topic,
        _partition: Option<u32>,
        log_time: Option<LogTime>,
        envelope: Envelope,
    ) -> Result<Receipt, AppendError> {
        let mut state = self.lock();
        if state.broken {
            return Err(AppendError::Unknown("the log is broken".into()));
        }
        if state.full > 0 {
            state.full -= 1;
            state.fulls += 1;
            return Err(AppendError::Full);
        }
        if envelope.body.len() > 1_000_000 {
            return Err(AppendError::Refused("too large".into()));
        }
        let offset = state.put(topic, log_time, envelope);
        let (answer, receipt) = Receipt::channel();
        let _ = answer.send(Ok(Position {
            partition: 0,
            offset,
        }));
        Ok(receipt)
    }

    fn flush(&self, _wait: Duration) -> Result<(), AppendError> {
        if self.lock().broken {
            Err(AppendError::Unknown("the log is broken".into()))
        } else {
            Ok(())
        }
    }
}

impl Log for MemoryLog {
    fn ensure_topics(&self, _partitions: u32) -> Result<(), BusError> {
        Ok(())
    }

    fn partitions(&self, _topic: &'static Topic) -> Result<u32, BusError> {
        Ok(1)
    }

    fn bounds(&self, place: Place) -> Result<Range<u64>, BusError> {
        let state = self.lock();
        if state.away {
            return Err(BusError::Client("away".into()));
        }
        Ok(0..state
            .topics
            .get(place.topic.name)
            .map_or(0, |records| records.len() as u64))
    }

    fn read(
        &self,
        place: Place,
        span: Range<u64>,
        each: &mut dyn FnMut(Record) -> bool,
    ) -> Result<(), BusError> {
        for record in self.records(place.topic) {
            if span.contains(&record.offset) && !each(record) {
                break;
            }
        }
        Ok(())
    }

    fn appender(&self) -> Result<Arc<dyn Appender>, BusError> {
        Ok(Arc::new(self.clone()))
    }

    fn appender_in_order(&self) -> Result<Arc<dyn Appender>, BusError> {
        self.appender()
    }

    fn reader(&self, places: &[Place]) -> Result<Box<dyn Consumer>, BusError> {
        self.lock().script = [Act::Assign].into();
        Ok(Box::new(MemoryConsumer::new(self.clone(), places[0].topic)))
    }

    fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Consumer>, BusError> {
        Ok(Box::new(MemoryConsumer::new(
            self.clone(),
            subscription.topics[0],
        )))
    }
}

struct MemoryConsumer {
    log: MemoryLog,
    place: Place,
    next: Option<u64>,
    read: u64,
    paused: BTreeSet<Place>,
}

impl MemoryConsumer {
    fn new(log: MemoryLog, topic: &'static Topic) -> Self {
        Self {
            log,
            place: Place {
                topic,
                partition: 0,
            },
            next: None,
            read: 0,
            paused: BTreeSet::new(),
        }
    }
}

impl Consumer for MemoryConsumer {
    fn poll(&mut self, _wait: Duration) -> Result<Event, BusError> {
        let mut state = self.log.lock();
        let act = state.script.front().copied();
        let (due, event) = match act {
            Some(Act::Assign) => (true, Event::Assigned(vec![self.place])),
            Some(Act::RevokeAfter(count)) => (self.read >= count, Event::Revoked(vec![self.place])),
            Some(Act::LoseAfter(count)) => (self.read >= count, Event::Lost(vec![self.place])),
            None => (false, Event::Nothing),
        };
        if due {
            state.script.pop_front();
            if act != Some(Act::Assign) {
                self.next = None;
            }
            return Ok(event);
        }
        let next = self
            .next
            .filter(|_| !state.stalled && !self.paused.contains(&self.place));
        let found = next.and_then(|next| {
            state
                .topics
                .get(self.place.topic.name)?
                .get(usize::try_from(next).ok()?)
        });
        match found.cloned() {
            Some(record) => {
                self.read += 1;
                self.next = Some(record.offset + 1);
                Ok(Event::Record(record))
            }
            None => {
                drop(state);
                std::thread::sleep(Duration::from_millis(1));
                Ok(Event::Nothing)
            }
        }
    }

    fn start(&mut self, _place: Place, from: Start) -> Result<(), BusError> {
        self.next = Some(match from {
            Start::Earliest => 0,
            Start::Offset(offset) => offset,
        });
        Ok(())
    }

    fn release(&mut self, places: &[Place]) -> Result<(), BusError> {
        self.log
            .lock()
            .told
            .extend(places.iter().map(|place| format!("released {place}")));
        Ok(())
    }

    fn pause(&mut self, place: Place) -> Result<(), BusError> {
        self.paused.insert(place);
        Ok(())
    }

    fn resume(&mut self, place: Place) -> Result<(), BusError> {
        self.paused.remove(&place);
        Ok(())
    }

    fn commit(&mut self, place: Place, next_offset: u64) -> Result<(), BusError> {
        let mut state = self.log.lock();
        state.committed.insert(place, next_offset);
        state.told.push(format!("committed {place} {next_offset}"));
        Ok(())
    }

    fn committed(&mut self, place: Place) -> Result<Option<u64>, BusError> {
        Ok(self.log.lock().committed.get(&place).copied())
    }
}
