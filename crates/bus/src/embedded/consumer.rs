//! Reading: what is started comes in turn, a piece of each partition at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::groups::{Change, Member};
use super::store::Store;
use crate::{BusError, Consumer, Event, Place, Record, Start};

/// What is fetched of a partition at once: so many records …
const PIECE_RECORDS: usize = 512;
/// … and no further than this many bytes of bodies.
const PIECE_BYTES: usize = 1 << 20;

/// A member of a group looks for changes at least this often: they come without a record.
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct EmbeddedConsumer {
    store: Arc<Store>,
    member: Option<Member>,
    /// What a reader outside any group has not been told it has.
    unsaid: Vec<Place>,
    lanes: BTreeMap<Place, Lane>,
    /// Whose turn it was.
    last: Option<Place>,
}

#[derive(Default)]
struct Lane {
    /// The offset after what was fetched; `None` before it is started.
    next: Option<u64>,
    fetched: VecDeque<Record>,
    paused: bool,
    told_end: bool,
}

impl Lane {
    /// Fetches the next piece, if it is started and there is one.
    fn fetch(&mut self, store: &Store, place: Place) -> Result<(), BusError> {
        let Some(next) = self.next else {
            return Ok(());
        };
        let (fetched, mut bytes) = (&mut self.fetched, 0);
        store.read(place, next..u64::MAX, &mut |record| {
            bytes += record.body.len();
            fetched.push_back(record);
            fetched.len() < PIECE_RECORDS && bytes < PIECE_BYTES
        })?;
        if let Some(last) = self.fetched.back() {
            self.next = Some(last.offset + 1);
            self.told_end = false;
        }
        Ok(())
    }
}

impl EmbeddedConsumer {
    pub(super) fn alone(store: Arc<Store>, places: &[Place]) -> Self {
        Self {
            store,
            member: None,
            unsaid: places.to_vec(),
            lanes: BTreeMap::new(),
            last: None,
        }
    }

    pub(super) fn member(store: Arc<Store>, member: Member) -> Self {
        Self {
            store,
            member: Some(member),
            unsaid: Vec::new(),
            lanes: BTreeMap::new(),
            last: None,
        }
    }

    fn change(&mut self) -> Option<Event> {
        if !self.unsaid.is_empty() {
            let places = std::mem::take(&mut self.unsaid);
            self.add(&places);
            return Some(Event::Assigned(places));
        }
        match self.member.as_ref()?.change()? {
            Change::Given(places) => {
                self.add(&places);
                Some(Event::Assigned(places))
            }
            Change::Asked(places) => {
                // Nothing more is read from what has to be finished.
                for place in &places {
                    self.lanes.remove(place);
                }
                Some(Event::Revoked(places))
            }
        }
    }

    fn add(&mut self, places: &[Place]) {
        for place in places {
            self.lanes.insert(*place, Lane::default());
        }
    }

    /// The next record of whoever's turn it is, or the news that one stands at its end.
    fn next(&mut self) -> Result<Option<Event>, BusError> {
        // A lane keeps its turn until its piece is used up; then comes the one behind it.
        if let Some(lane) = self.last.and_then(|last| self.lanes.get_mut(&last))
            && !lane.paused
            && let Some(record) = lane.fetched.pop_front()
        {
            return Ok(Some(Event::Record(record)));
        }
        let mut places: Vec<Place> = self.lanes.keys().copied().collect();
        let turn = places.partition_point(|place| Some(*place) <= self.last);
        places.rotate_left(turn);
        for place in places {
            let Some(lane) = self.lanes.get_mut(&place).filter(|lane| !lane.paused) else {
                continue;
            };
            if lane.fetched.is_empty() {
                lane.fetch(&self.store, place)?;
            }
            if let Some(record) = lane.fetched.pop_front() {
                self.last = Some(place);
                return Ok(Some(Event::Record(record)));
            }
            if lane.next.is_some() && !lane.told_end {
                lane.told_end = true;
                return Ok(Some(Event::End(place)));
            }
        }
        Ok(None)
    }
}

impl Consumer for EmbeddedConsumer {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        self.store.check()?;
        let deadline = Instant::now() + wait;
        loop {
            // Before looking: what is appended meanwhile must not be slept through.
            let seen = self.store.appended.count();
            if let Some(event) = self.change() {
                return Ok(event);
            }
            if let Some(event) = self.next()? {
                return Ok(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Nothing);
            }
            let nap = if self.member.is_some() {
                left.min(LOOK)
            } else {
                left
            };
            self.store.appended.wait(seen, nap);
        }
    }

    fn start(&mut self, place: Place, from: Start) -> Result<(), BusError> {
        let first = self.store.bounds(place)?.start;
        let next = match from {
            Start::Earliest => first,
            Start::Offset(offset) if offset < first => {
                metrics::counter!("forewarn_log_out_of_range_total", "topic" => place.topic.name)
                    .increment(1);
                tracing::warn!(%place, offset, first, "what was to be read next is not kept any more");
                first
            }
            Start::Offset(offset) => offset,
        };
        // Of what was taken away meanwhile nothing is read.
        if let Some(lane) = self.lanes.get_mut(&place) {
            *lane = Lane {
                next: Some(next),
                paused: lane.paused,
                ..Lane::default()
            };
        }
        Ok(())
    }

    fn release(&mut self, places: &[Place]) -> Result<(), BusError> {
        for place in places {
            self.lanes.remove(place);
        }
        if let Some(member) = &self.member {
            member.release(places);
        }
        Ok(())
    }

    fn pause(&mut self, place: Place) -> Result<(), BusError> {
        if let Some(lane) = self.lanes.get_mut(&place) {
            lane.paused = true;
        }
        Ok(())
    }

    fn resume(&mut self, place: Place) -> Result<(), BusError> {
        if let Some(lane) = self.lanes.get_mut(&place) {
            lane.paused = false;
        }
        Ok(())
    }

    fn commit(&mut self, place: Place, next_offset: u64) -> Result<(), BusError> {
        match &self.member {
            Some(member) => self.store.commit(&member.group, place, next_offset),
            None => Ok(()),
        }
    }

    fn committed(&mut self, place: Place) -> Result<Option<u64>, BusError> {
        match &self.member {
            Some(member) => self.store.committed(&member.group, place),
            None => Ok(None),
        }
    }
}
