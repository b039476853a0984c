//! What holds for every sequence: cuts and ticks do not matter, and an alert's transitions are a chain.

use forewarn_types::{AlertState, PredictionState, ResourceState};
use proptest::prelude::*;
use uuid::Uuid;

use super::script::{RULES, Script, line, rules, src};
use super::*;

/// Random life of two subjects and a prediction, in the order in which the log would tell it.
pub(super) fn messages() -> impl Strategy<Value = Script> {
    let event = (0_u8..9, 1_i64..90, any::<bool>());
    proptest::collection::vec(event, 1..120).prop_map(|events| {
        let mut script = Script::default();
        let mut at = 100;
        for (kind, pause, flag) in events {
            at += pause;
            match kind {
                0 => script.hot(at, flag),
                1 => script.busy(at, flag),
                2 => script.condition(at, "disk-high", "/", flag, 0.85),
                3 => script.breach(at, flag),
                4 => script.failure(at, PredictionState::Open, if flag { 200.0 } else { 1200.0 }),
                5 if flag => script.failure(at, PredictionState::Withdrawn, 100.0),
                5 => script.failure(at, PredictionState::Confirmed, 0.0),
                6 if flag => script.resource(at, ResourceState::Silent, at - 30),
                6 => script.resource(at, ResourceState::Healthy, at),
                7 => script.steps(at..=at + 3, if flag { 3.0 } else { 0.1 }),
                _ => script.tick(at),
            };
            at = at.max(script.0.last().map_or(at, |(last, _)| *last));
        }
        script
    })
}

proptest! {
    #[test]
    fn where_the_sequence_is_cut_does_not_matter(script in messages(), cuts in proptest::collection::vec(any::<bool>(), 500)) {
        let whole = script.run();
        let mut machine = Machine::new(rules(RULES), MachineConfig::default());
        let mut parts = Vec::new();
        for ((at, message), cut) in script.0.iter().zip(cuts.iter().cycle()) {
            if *cut {
                let snapshot = machine.snapshot();
                machine = Machine::new(rules(RULES), MachineConfig::default());
                machine.restore(&snapshot).expect("it was written just now");
                prop_assert_eq!(machine.snapshot(), snapshot);
            }
            parts.extend(machine.apply(message, LogTime(at * 1000), src(*at)));
        }
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn ticks_only_move_time(script in messages()) {
        // What a timer does carries the record that made it fire; everything else is the same with or without ticks.
        let told = |script: &Script| script.run().iter().map(line).collect::<Vec<_>>();
        let end = script.0.last().map_or(0, |(at, _)| *at);
        let mut ticked = Script::default();
        for (at, message) in &script.0 {
            let from = ticked.0.last().map_or(*at, |(last, _)| *last);
            for moment in from..*at {
                ticked.tick(moment);
            }
            ticked.push(*at, message.clone());
        }
        let (mut script, mut ticked) = (script, ticked);
        prop_assert_eq!(told(script.tick(end + 1000)), told(ticked.tick(end + 1000)));
    }

    #[test]
    fn transitions_are_a_chain_and_one_alert_is_active_per_finding(script in messages()) {
        let mut last: BTreeMap<Uuid, (i64, AlertState)> = BTreeMap::new();
        let mut active: BTreeMap<String, Uuid> = BTreeMap::new();
        for (index, t) in script.run().iter().enumerate() {
            prop_assert_eq!(t.ordinal, index as u64 + 1);
            let before = last.insert(t.alert_id, (t.sequence, t.to));
            prop_assert_eq!(before.map_or(1, |(sequence, _)| sequence + 1), t.sequence);
            prop_assert_eq!(before.map(|(_, state)| state), t.from);
            if t.to == AlertState::Resolved {
                active.remove(&t.fingerprint);
            } else if let Some(other) = active.insert(t.fingerprint.clone(), t.alert_id) {
                prop_assert_eq!(other, t.alert_id);
            }
        }
    }
}
