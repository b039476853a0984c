//! Groups of readers: who reads which partition. All members live in this process, so nobody is ever thought dead: a
//! member leaves by being dropped.
//!
//! Partitions stay where they are as far as an even share allows. One that moves is first asked back from its owner, and
//! given on when the owner has let it go: nobody reads what another still works on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Place;

/// All groups of a log.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<String, Group>,
    joined: u64,
}

#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<u64, Wish>,
    /// Who owns which partition: from being given it until letting it go.
    owners: BTreeMap<Place, u64>,
}

#[derive(Debug, Default)]
struct Wish {
    /// What it wants to read.
    places: BTreeSet<Place>,
    /// What it has not been told yet.
    given: BTreeSet<Place>,
    /// What it has been asked to let go, and has not.
    asked: BTreeSet<Place>,
    /// Of these, what it has not been told yet.
    to_tell: BTreeSet<Place>,
}

/// What a member has to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Given(Vec<Place>),
    Asked(Vec<Place>),
}

/// Membership; dropping it is leaving.
#[derive(Debug)]
pub(super) struct Member {
    groups: Arc<Groups>,
    pub(super) group: String,
    id: u64,
}

impl Groups {
    pub(super) fn join(self: &Arc<Self>, group: &str, places: BTreeSet<Place>) -> Member {
        let mut state = self.lock();
        state.joined += 1;
        let id = state.joined;
        let found = state.groups.entry(group.to_owned()).or_default();
        found.members.insert(
            id,
            Wish {
                places,
                ..Wish::default()
            },
        );
        found.settle();
        drop(state);
        Member {
            groups: Arc::clone(self),
            group: group.to_owned(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// What has changed since the last time: first what is to be let go.
    pub(super) fn change(&self) -> Option<Change> {
        let mut state = self.groups.lock();
        let wish = state
            .groups
            .get_mut(&self.group)?
            .members
            .get_mut(&self.id)?;
        let told = |places: &mut BTreeSet<Place>| -> Option<Vec<Place>> {
            let places: Vec<_> = std::mem::take(places).into_iter().collect();
            (!places.is_empty()).then_some(places)
        };
        told(&mut wish.to_tell)
            .map(Change::Asked)
            .or_else(|| told(&mut wish.given).map(Change::Given))
    }

    /// Lets partitions go.
    pub(super) fn release(&self, places: &[Place]) {
        let mut state = self.groups.lock();
        let Some(group) = state.groups.get_mut(&self.group) else {
            return;
        };
        for place in places {
            if group.owners.get(place) == Some(&self.id) {
                group.owners.remove(place);
            }
            if let Some(wish) = group.members.get_mut(&self.id) {
                wish.asked.remove(place);
                wish.to_tell.remove(place);
                wish.given.remove(place);
            }
        }
        group.settle();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.groups.lock();
        if let Some(group) = state.groups.get_mut(&self.group) {
            group.members.remove(&self.id);
            group.owners.retain(|_, owner| *owner != self.id);
            group.settle();
            if group.members.is_empty() {
                state.groups.remove(&self.group);
            }
        }
    }
}

impl Group {
    /// Gives away what nobody owns, and asks back what would make the shares even.
    fn settle(&mut self) {
        let places: BTreeSet<Place> = self
            .members
            .values()
            .flat_map(|wish| wish.places.iter().copied())
            .collect();
        // What everybody has and keeps, and what will be theirs.
        let mut shares: BTreeMap<u64, usize> = self.members.keys().map(|id| (*id, 0)).collect();
        let (mut kept, mut leaving) = (Vec::new(), Vec::new());
        for (place, owner) in &self.owners {
            if self.members[owner].asked.contains(place) {
                leaving.push(*place);
            } else {
                kept.push((*place, *owner));
                *shares.entry(*owner).or_default() += 1;
            }
        }
        for place in places {
            if !self.owners.contains_key(&place)
                && let Some((poorest, _)) = self.poorest(&shares, place)
            {
                self.give(place, poorest);
                *shares.entry(poorest).or_default() += 1;
            }
        }
        for place in leaving {
            if let Some((poorest, _)) = self.poorest(&shares, place) {
                *shares.entry(poorest).or_default() += 1;
            }
        }
        for (place, owner) in kept {
            let Some((poorest, least)) = self.poorest(&shares, place) else {
                continue;
            };
            let has = shares[&owner];
            if has <= least + 1 {
                continue;
            }
            shares.insert(owner, has - 1);
            shares.insert(poorest, least + 1);
            let Some(wish) = self.members.get_mut(&owner) else {
                continue;
            };
            if wish.given.remove(&place) {
                // It was never told that it has it.
                self.give(place, poorest);
            } else {
                wish.asked.insert(place);
                wish.to_tell.insert(place);
            }
        }
    }

    fn give(&mut self, place: Place, to: u64) {
        self.owners.insert(place, to);
        if let Some(wish) = self.members.get_mut(&to) {
            wish.given.insert(place);
        }
    }

    /// Who wants `place` and has least, and how much that is.
    fn poorest(&self, shares: &BTreeMap<u64, usize>, place: Place) -> Option<(u64, usize)> {
        shares
            .iter()
            .filter(|(id, _)| self.members[id].places.contains(&place))
            .map(|(id, share)| (*id, *share))
            .min_by_key(|(id, share)| (*share, *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forewarn_messages::SYSTEM_METRICS;

    fn places(count: u32) -> BTreeSet<Place> {
        (0..count)
            .map(|partition| Place {
                topic: &SYSTEM_METRICS,
                partition,
            })
            .collect()
    }

    fn given(member: &Member) -> usize {
        match member.change() {
            Some(Change::Given(places)) => places.len(),
            None => 0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lone_member_gets_everything_and_the_next_one_half_when_it_is_let_go() {
        let groups = Arc::new(Groups::default());
        let first = groups.join("g", places(4));
        assert_eq!(given(&first), 4);
        let second = groups.join("g", places(4));
        let Some(Change::Asked(asked)) = first.change() else {
            panic!("two are asked back");
        };
        assert_eq!((asked.len(), given(&second)), (2, 0));
        first.release(&asked[..1]);
        assert_eq!(given(&second), 1);
        first.release(&asked[1..]);
        assert_eq!(given(&second), 1);
        assert_eq!((first.change(), second.change()), (None, None));
        drop(second);
        assert_eq!(given(&first), 2);
    }

    #[test]
    fn other_groups_and_topics_that_are_not_wanted_are_nobody_s_business() {
        let groups = Arc::new(Groups::default());
        let first = groups.join("g", places(2));
        let other = groups.join("h", places(2));
        assert_eq!((given(&first), given(&other)), (2, 2));
        let narrow = groups.join("g", places(1));
        let Some(Change::Asked(asked)) = first.change() else {
            panic!("one is asked back");
        };
        assert_eq!(asked.len(), 1);
        first.release(&asked);
        assert_eq!(given(&narrow), 1);
    }

    #[test]
    fn more_members_than_partitions_leave_some_without() {
        let groups = Arc::new(Groups::default());
        let members: Vec<_> = (0..3).map(|_| groups.join("g", places(1))).collect();
        let all: Vec<_> = members.iter().map(given).collect();
        assert_eq!(all, [1, 0, 0]);
        drop(members);
        assert!(groups.lock().groups.is_empty());
    }
}
