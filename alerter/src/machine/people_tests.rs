//! What people decide, as timelines; and that nothing of it depends on where the sequence is cut.

use expect_test::{Expect, expect};
use forewarn_messages::AlertCommand;
use forewarn_types::{LogId, PredictionState, ResourceState};
use proptest::prelude::*;
use uuid::Uuid;

use super::properties::messages;
use super::script::{RULES, Script, line, rules, src};
use super::*;

/// A machine, and everything that came of it.
struct Life {
    machine: Machine,
    transitions: Vec<Transition>,
    lines: String,
}

impl Life {
    fn new() -> Self {
        Self {
            machine: Machine::new(rules(RULES), MachineConfig::default()),
            transitions: Vec::new(),
            lines: String::new(),
        }
    }

    fn take(&mut self, transitions: Vec<Transition>) {
        for transition in transitions {
            self.lines.push_str(&line(&transition));
            self.transitions.push(transition);
        }
    }

    fn see(&mut self, fill: impl FnOnce(&mut Script) -> &mut Script) -> &mut Self {
        let mut script = Script::default();
        fill(&mut script);
        for (at, message) in &script.0 {
            let transitions = self.machine.apply(message, LogTime(at * 1000), src(*at));
            self.take(transitions);
        }
        self
    }

    /// A command about the last alert of a rule.
    fn command(&mut self, at: i64, deed: Deed, rule: &str, id: u128, actor: &str) -> &mut Self {
        let found = self.transitions.iter().rev().find(|it| it.rule == rule);
        let alert_id = found.map_or(Uuid::from_u128(99), |it| it.alert_id);
        let command = AlertCommand {
            command_id: Uuid::from_u128(id),
            tenant: "default".into(),
            alert_id,
            actor: actor.into(),
            message: (deed == Deed::Resolve).then(|| "seen to".to_owned()),
        };
        let place = Src::root(LogId(Uuid::from_u128(8)), 0, at.unsigned_abs());
        let (transitions, answer) = self
            .machine
            .command(deed, &command, LogTime(at * 1000), place);
        self.take(transitions);
        let what = match answer.map(|answer| answer.outcome) {
            Some(Outcome::Done { sequence }) => format!("done by #{sequence}"),
            Some(Outcome::Already { actor, at }) => format!("{actor} did at {}", at.0 / 1000),
            Some(Outcome::NotActive) => "not active".to_owned(),
            None => "known".to_owned(),
        };
        self.lines
            .push_str(&format!("{at:04} {} {actor}: {what}\n", deed.as_str()));
        self
    }

    fn ack(&mut self, at: i64, rule: &str, id: u128, actor: &str) -> &mut Self {
        self.command(at, Deed::Acknowledge, rule, id, actor)
    }

    fn resolve(&mut self, at: i64, rule: &str, id: u128, actor: &str) -> &mut Self {
        self.command(at, Deed::Resolve, rule, id, actor)
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.lines);
    }
}

#[test]
fn an_acknowledged_alert_is_quiet_until_its_condition_ends() {
    let mut life = Life::new();
    life.see(|it| it.busy(100, true))
        .ack(105, "busy", 1, "ada")
        .ack(106, "busy", 1, "ada")
        .ack(107, "busy", 2, "bob")
        .see(|it| it.busy(110, true).busy(120, false))
        .ack(121, "busy", 3, "bob")
        .resolve(122, "busy", 4, "bob");
    life.check(expect![[r#"
        0100 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
        0105      busy#2 open → acknowledged low | web-01: acknowledged by ada
        0105 acknowledge ada: done by #2
        0106 acknowledge ada: known
        0107 acknowledge bob: ada did at 105
        0120 tell busy#3 acknowledged → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
        0121 acknowledge bob: not active
        0122 resolve bob: not active
    "#]]);
}

#[test]
fn a_prediction_that_was_acknowledged_and_comes_true_is_told() {
    let mut life = Life::new();
    life.see(|it| it.failure(20, PredictionState::Open, 1700.0))
        .ack(25, "full", 1, "ada")
        .see(|it| it.failure(30, PredictionState::Open, 1600.0))
        .see(|it| it.failure(40, PredictionState::Open, 200.0))
        .ack(45, "full", 2, "ada")
        .see(|it| it.breach(60, true))
        .ack(65, "full", 3, "ada")
        .see(|it| it.breach(90, false));
    life.check(expect![[r#"
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0025      full#2 predicted → acknowledged medium | web-01: acknowledged by ada
        0025 acknowledge ada: done by #2
        0040 tell full#3 acknowledged → predicted high | web-01: / will be full in about 3 min (2–5 min)
        0045      full#4 predicted → acknowledged high | web-01: acknowledged by ada
        0045 acknowledge ada: done by #4
        0060 tell full#5 acknowledged → open critical | web-01: / is full (95 % used), as predicted 40 s before
        0065      full#6 open → acknowledged critical | web-01: acknowledged by ada
        0065 acknowledge ada: done by #6
        0090 tell full#7 acknowledged → resolved critical | web-01: / is below its limit again (90 % used) [the level fell back]
    "#]]);
}

#[test]
fn an_acknowledged_prediction_that_is_withdrawn_is_over() {
    let mut life = Life::new();
    life.see(|it| it.failure(20, PredictionState::Open, 1700.0))
        .ack(25, "full", 1, "ada")
        .see(|it| it.failure(30, PredictionState::Withdrawn, 1700.0));
    life.check(expect![[r#"
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0025      full#2 predicted → acknowledged medium | web-01: acknowledged by ada
        0025 acknowledge ada: done by #2
        0030 tell full#3 acknowledged → resolved medium | web-01: /: the failure is no longer predicted (it stopped growing) [it stopped growing]
    "#]]);
}

#[test]
fn what_a_person_resolved_stays_so_until_the_condition_begins_anew() {
    let mut life = Life::new();
    life.see(|it| it.hot(100, true).steps(100..=115, 0.1))
        .resolve(120, "hot", 1, "ada")
        .see(|it| it.hot(121, true).steps(121..=900, 0.1))
        .ack(901, "hot", 2, "bob")
        .see(|it| it.hot(902, false).hot(910, true).steps(910..=925, 0.1));
    life.check(expect![[r#"
        0110 tell hot#1 - → open medium | web-01: cpu.utilization is 97 %, above 90 %
        0120 tell hot#2 open → resolved medium | web-01: resolved by ada [resolved by ada: seen to]
        0120 resolve ada: done by #2
        0901 acknowledge bob: not active
        0920 tell hot#1 - → open medium | web-01: cpu.utilization is 97 %, above 90 %
    "#]]);
}

#[test]
fn an_anomaly_that_was_resolved_is_over_with_its_episode() {
    let mut life = Life::new();
    life.see(|it| it.steps(1..=5, 3.0))
        .resolve(6, "unusual", 1, "ada")
        .see(|it| {
            it.steps(7..=600, 3.0)
                .steps(601..=905, 0.1)
                .steps(906..=910, 3.0)
        });
    life.check(expect![[r#"
        0003 tell unusual#1 - → open medium | web-01: unusual, mostly cpu.utilization: 98 %, expected 31 % (score 3.0)
        0006 tell unusual#2 open → resolved medium | web-01: resolved by ada [resolved by ada: seen to]
        0006 resolve ada: done by #2
        0908 tell unusual#1 - → open medium | web-01: unusual, mostly cpu.utilization: 98 %, expected 31 % (score 3.0)
    "#]]);
}

#[test]
fn a_failure_that_was_resolved_is_silent_with_all_that_speaks_of_it_until_the_limit_is_reached() {
    let mut life = Life::new();
    life.see(|it| {
        it.condition(10, "disk-high", "/", true, 0.85)
            .failure(20, PredictionState::Open, 1700.0)
    })
    .resolve(30, "full", 1, "ada")
    .see(|it| {
        it.failure(40, PredictionState::Open, 200.0)
            .failure(400, PredictionState::Open, 100.0)
            .breach(500, true)
    })
    .resolve(510, "full", 2, "ada")
    .see(|it| {
        it.failure(520, PredictionState::Open, 100.0)
            .failure(900, PredictionState::Confirmed, 0.0)
            .breach(1000, false)
            .condition(1001, "disk-high", "/", false, 0.5)
            .condition(1400, "disk-high", "/", true, 0.85)
            .failure(1410, PredictionState::Open, 1700.0)
    });
    life.check(expect![[r#"
        0010 tell disk-high#1 - → open medium | web-01: filesystem.utilization of / is 85 %, above 80 %
        0020 tell disk-high#2 open → resolved medium | web-01: it goes on as `full` [it goes on as `full`]
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0030 tell full#2 predicted → resolved medium | web-01: resolved by ada [resolved by ada: seen to]
        0030 resolve ada: done by #2
        0500 tell full#1 - → open critical | web-01: / is full (95 % used), as predicted 8 min before
        0510 tell full#2 open → resolved critical | web-01: resolved by ada [resolved by ada: seen to]
        0510 resolve ada: done by #2
        1400 tell disk-high#1 - → open medium | web-01: filesystem.utilization of / is 85 %, above 80 %
        1410 tell disk-high#2 open → resolved medium | web-01: it goes on as `full` [it goes on as `full`]
        1410 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
    "#]]);
}

#[test]
fn a_resource_that_is_silent_is_told_again_when_it_falls_silent_again() {
    let mut life = Life::new();
    life.see(|it| it.resource(100, ResourceState::Silent, 70))
        .resolve(110, "gone", 1, "ada")
        .see(|it| {
            it.tick(1000)
                .resource(1001, ResourceState::Healthy, 1001)
                .resource(1100, ResourceState::Silent, 1070)
        });
    life.check(expect![[r#"
        0100 tell gone#1 - → open high | web-01: sends nothing since 00:01:10 UTC
        0110 tell gone#2 open → resolved high | web-01: resolved by ada [resolved by ada: seen to]
        0110 resolve ada: done by #2
        0160 tell long-gone#1 - → open critical | web-01: sends nothing since 00:01:10 UTC
        1001 tell long-gone#2 open → resolved critical | web-01: sends again [it sends again]
        1100 tell gone#1 - → open high | web-01: sends nothing since 00:17:50 UTC
    "#]]);
}

#[test]
fn what_nobody_knows_is_answered_too() {
    let mut life = Life::new();
    life.ack(5, "busy", 1, "ada").ack(6, "busy", 1, "ada");
    life.check(expect![[r#"
        0005 acknowledge ada: not active
        0006 acknowledge ada: known
    "#]]);
}

#[test]
fn a_snapshot_from_before_people_could_decide_goes_on() {
    let mut life = Life::new();
    life.see(|it| it.busy(100, true));
    let old = encode_state(&(FORMAT_WITHOUT_PEOPLE, &life.machine.state));
    let mut machine = Machine::new(rules(RULES), MachineConfig::default());
    machine.restore(&old).expect("it can be read");
    assert_eq!(machine.state, life.machine.state);
    assert_eq!(machine.people, People::default());
}

/// What a random sequence leads to, with commands about the last alerts in between, cut or not.
fn lived(
    script: &Script,
    wishes: &[(u8, bool)],
    cuts: impl Fn(usize) -> bool,
) -> (Vec<Transition>, Vec<Answer>) {
    let mut machine = Machine::new(rules(RULES), MachineConfig::default());
    let (mut transitions, mut answers) = (Vec::<Transition>::new(), Vec::new());
    for (index, (at, message)) in script.0.iter().enumerate() {
        if cuts(index) {
            let snapshot = machine.snapshot();
            machine = Machine::new(rules(RULES), MachineConfig::default());
            machine.restore(&snapshot).expect("it was written just now");
            assert_eq!(machine.snapshot(), snapshot);
        }
        transitions.extend(machine.apply(message, LogTime(at * 1000), src(*at)));
        let (back, acknowledge) = wishes[index % wishes.len()];
        let Some(about) = transitions.iter().rev().nth(usize::from(back)) else {
            continue;
        };
        let command = AlertCommand {
            command_id: Uuid::from_u128(index as u128),
            tenant: "default".into(),
            alert_id: about.alert_id,
            actor: "ada".into(),
            message: None,
        };
        let deed = if acknowledge {
            Deed::Acknowledge
        } else {
            Deed::Resolve
        };
        let (more, answer) = machine.command(deed, &command, LogTime(at * 1000), src(*at));
        transitions.extend(more);
        answers.extend(answer);
    }
    (transitions, answers)
}

proptest! {
    #[test]
    fn where_the_sequence_is_cut_does_not_matter_to_people_either(
        script in messages(),
        wishes in proptest::collection::vec((0_u8..30, any::<bool>()), 1..50),
        cuts in proptest::collection::vec(any::<bool>(), 50),
    ) {
        let whole = lived(&script, &wishes, |_| false);
        let parts = lived(&script, &wishes, |index| cuts[index % cuts.len()]);
        prop_assert_eq!(&whole, &parts);
        let mut last: BTreeMap<Uuid, (i64, AlertState)> = BTreeMap::new();
        for (index, t) in whole.0.iter().enumerate() {
            prop_assert_eq!(t.ordinal, index as u64 + 1);
            let before = last.insert(t.alert_id, (t.sequence, t.to));
            prop_assert_eq!(before.map_or(1, |(sequence, _)| sequence + 1), t.sequence);
            prop_assert_eq!(before.map(|(_, state)| state), t.from);
            // Nobody but a person acknowledges, and nothing that is over.
            if t.to == AlertState::Acknowledged {
                prop_assert!(t.by.is_some() && !t.notify);
                prop_assert!(matches!(t.from, Some(AlertState::Predicted | AlertState::Open)));
            }
        }
    }
}
