//! Scripts: what comes in, second by second, and the timeline of what goes out.

use expect_test::expect;
use forewarn_types::{PredictionState, ResourceState, VerdictState};
use uuid::Uuid;

use super::script::{RULES, Script, line, rules, src};
use super::*;

#[test]
fn a_threshold_opens_when_it_has_held_for_long_enough_and_often_enough() {
    // Steps 5 s apart: three of them are not yet 10 s when the first has just begun.
    let mut script = Script::default();
    script.hot(100, true);
    for at in [100, 105, 110, 115] {
        script.verdict(at, VerdictState::Scored, Some(0.1));
    }
    script
        .hot(120, false)
        .verdict(120, VerdictState::Scored, Some(0.1));
    script.check(expect![[r#"
        0110 tell hot#1 - → open medium | web-01: cpu.utilization is 97 %, above 90 %
        0120 tell hot#2 open → resolved medium | web-01: cpu.utilization is 50 % again [the condition no longer holds]
    "#]]);
}

#[test]
fn steps_without_values_do_not_count() {
    let mut script = Script::default();
    script.hot(100, true);
    for at in [100, 105, 110, 115, 120] {
        script.verdict(at, VerdictState::Gap, None);
    }
    script
        .verdict(125, VerdictState::Learning, None)
        .verdict(130, VerdictState::Scored, Some(0.0));
    script.verdict(135, VerdictState::Scored, Some(0.0));
    script.check(expect![[r#"
        0135 tell hot#1 - → open medium | web-01: cpu.utilization is 97 %, above 90 %
    "#]]);
}

#[test]
fn a_condition_that_ceases_before_its_time_tells_nobody() {
    let mut script = Script::default();
    script
        .hot(100, true)
        .steps(100..=105, 0.1)
        .hot(106, false)
        .steps(106..=130, 0.1);
    script.hot(131, true).hot(132, false);
    script.check(expect![""]);
}

#[test]
fn a_condition_without_patience_opens_at_once() {
    let mut script = Script::default();
    script
        .busy(100, true)
        .steps(100..=103, 0.1)
        .busy(104, false);
    script.check(expect![[r#"
        0100 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
        0104 tell busy#2 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
    "#]]);
}

#[test]
fn a_condition_that_is_told_again_is_no_news() {
    let mut script = Script::default();
    script
        .busy(100, true)
        .busy(101, true)
        .busy(104, false)
        .busy(105, false);
    script.check(expect![[r#"
        0100 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
        0104 tell busy#2 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
    "#]]);
}

#[test]
fn an_anomaly_episode_is_one_alert() {
    let mut script = Script::default();
    script.steps(1..=5, 0.2).steps(6..=7, 3.0).steps(8..=8, 0.5);
    script
        .steps(9..=20, 2.5)
        .steps(21..=200, 0.3)
        .steps(201..=205, 4.0)
        .steps(206..=520, 0.3);
    script.check(expect![[r#"
        0011 tell unusual#1 - → open medium | web-01: unusual, mostly cpu.utilization: 98 %, expected 31 % (score 2.5)
        0505 tell unusual#2 open → resolved medium | web-01: as usual again after 3 min (peak score 4.0) [usual again]
    "#]]);
}

#[test]
fn beyond_the_cap_the_quietest_resource_makes_room() {
    let config = MachineConfig {
        max_resources: 1,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(rules(RULES), config);
    let mut said = Vec::new();
    for (at, name) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b"), (6, "b")] {
        let mut script = Script::default();
        script.steps(at..=at, 3.0);
        for (at, mut prediction) in script.0 {
            if let Prediction::Verdict(verdict) = &mut prediction {
                verdict.resource = ResourceKey::new(name);
            }
            said.extend(machine.apply(&prediction, LogTime(at * 1000), src(at)));
        }
    }
    let lines: Vec<String> = said
        .iter()
        .map(|t| {
            format!(
                "{} {} {}",
                t.step_end.millis() / 1000,
                t.resource.resource,
                t.to
            )
        })
        .collect();
    assert_eq!(lines, ["3 a open", "3 a resolved", "6 b open"]);
    assert_eq!(machine.tracked(), 1);
}

#[test]
fn one_metric_alone_is_an_anomaly_too() {
    let mut script = Script::default();
    script.steps(1..=5, 0.2).alone(6..=9, 1.8);
    script.check(expect![[r#"
        0008 tell unusual#1 - → open medium | web-01: unusual memory.utilization: 70 %, expected 40 % (score 1.8)
    "#]]);
}

#[test]
fn what_cannot_be_judged_neither_opens_nor_ends_an_anomaly() {
    let mut script = Script::default();
    script.steps(1..=2, 3.0);
    script
        .verdict(3, VerdictState::Gap, None)
        .verdict(4, VerdictState::Learning, None)
        .steps(5..=5, 3.0);
    for at in 6..=400 {
        script.verdict(at, VerdictState::Learning, None);
    }
    script.steps(401..=402, 0.1);
    script.check(expect![[r#"
        0005 tell unusual#1 - → open medium | web-01: unusual, mostly cpu.utilization: 98 %, expected 31 % (score 3.0)
        0401 tell unusual#2 open → resolved medium | web-01: as usual again after 4 s (peak score 3.0) [usual again]
    "#]]);
}

#[test]
fn a_prediction_and_the_breach_that_follows_are_one_alert() {
    let mut script = Script::default();
    script.failure(10, PredictionState::Open, 7200.0); // beyond the rule's hour
    script.failure(20, PredictionState::Open, 1700.0);
    script.failure(30, PredictionState::Open, 1500.0);
    script.failure(40, PredictionState::Open, 290.0); // more urgent
    script.failure(50, PredictionState::Open, 1000.0); // never less
    script
        .breach(140, true)
        .failure(140, PredictionState::Confirmed, 0.0)
        .steps(140..=900, 0.1);
    script.breach(901, false);
    let ids: BTreeSet<Uuid> = script
        .run()
        .iter()
        .map(|transition| transition.alert_id)
        .collect();
    assert_eq!(ids.len(), 1, "one alert");
    script.check(expect![[r#"
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0040 tell full#2 predicted → predicted high | web-01: / will be full in about 5 min (3–8 min)
        0140 tell full#3 predicted → open critical | web-01: / is full (95 % used), as predicted 2 min before
        0901 tell full#4 open → resolved critical | web-01: / is below its limit again (90 % used) [the level fell back]
    "#]]);
}

#[test]
fn a_prediction_that_goes_away_resolves_its_alert() {
    let mut script = Script::default();
    script.failure(20, PredictionState::Open, 1700.0).failure(
        60,
        PredictionState::Withdrawn,
        1700.0,
    );
    script.check(expect![[r#"
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0060 tell full#2 predicted → resolved medium | web-01: /: the failure is no longer predicted (it stopped growing) [it stopped growing]
    "#]]);
}

#[test]
fn a_breach_that_nobody_predicted_opens_an_alert_too() {
    let mut script = Script::default();
    script
        .breach(20, true)
        .steps(20..=700, 0.1)
        .breach(701, false);
    script.check(expect![[r#"
        0020 tell full#1 - → open critical | web-01: / is full (95 % used)
        0701 tell full#2 open → resolved critical | web-01: / is below its limit again (90 % used) [the level fell back]
    "#]]);
}

#[test]
fn a_confirmed_failure_whose_limit_is_not_seen_reached_is_over_after_a_while() {
    let mut script = Script::default();
    script
        .failure(20, PredictionState::Confirmed, 0.0)
        .steps(20..=400, 0.1);
    script.check(expect![[r#"
        0020 tell full#1 - → open critical | web-01: / is full, as predicted 2 min before
        0320 tell full#2 open → resolved critical | web-01: / is below its limit again [its limit is not reached]
    "#]]);
}

#[test]
fn a_threshold_on_the_same_thing_stands_back_for_the_prediction() {
    let mut script = Script::default();
    script
        .condition(10, "disk-high", "/", true, 0.81)
        .steps(10..=19, 0.1);
    script.condition(11, "disk-high", "/data", true, 0.81); // another disk is another matter
    script.failure(20, PredictionState::Open, 1700.0);
    script.breach(30, true).breach(400, false); // the level is still above the threshold
    script.condition(500, "disk-high", "/", false, 0.7);
    script.check(expect![[r#"
        0010 tell disk-high#1 - → open medium | web-01: filesystem.utilization of / is 81 %, above 80 %
        0019 tell disk-high#1 - → open medium | web-01: filesystem.utilization of /data is 81 %, above 80 %
        0020 tell disk-high#2 open → resolved medium | web-01: it goes on as `full` [it goes on as `full`]
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0030 tell full#2 predicted → open critical | web-01: / is full (95 % used), as predicted 10 s before
        0400 tell full#3 open → resolved critical | web-01: / is below its limit again (90 % used) [the level fell back]
        0400 tell disk-high#1 - → open medium | web-01: filesystem.utilization of / is 81 %, above 80 %
        0500 tell disk-high#2 open → resolved medium | web-01: filesystem.utilization of / is 70 % again [the condition no longer holds]
    "#]]);
}

#[test]
fn what_comes_back_within_the_cooldown_is_the_same_alert_and_quiet() {
    let mut script = Script::default();
    script.busy(100, true).busy(110, false); // told
    script
        .busy(120, true)
        .busy(130, false)
        .busy(140, true)
        .busy(150, false)
        .tick(500); // quiet
    script.busy(600, true); // a new alert
    let ids: Vec<Uuid> = script
        .run()
        .iter()
        .map(|transition| transition.alert_id)
        .collect();
    assert_eq!(ids[0], ids[5]);
    assert_ne!(ids[0], ids[6]);
    script.check(expect![[r#"
        0100 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
        0110 tell busy#2 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
        0120      busy#3 resolved → open low | web-01: disk.busy is 93 %, above 80 %
        0130      busy#4 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
        0140      busy#5 resolved → open low | web-01: disk.busy is 93 %, above 80 %
        0150      busy#6 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
        0600 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
    "#]]);
}

#[test]
fn what_comes_back_and_stays_is_told_at_the_end_of_the_cooldown() {
    let mut script = Script::default();
    script
        .busy(100, true)
        .busy(110, false)
        .busy(120, true)
        .tick(409)
        .tick(410)
        .busy(700, false);
    script.check(expect![[r#"
        0100 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
        0110 tell busy#2 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
        0120      busy#3 resolved → open low | web-01: disk.busy is 93 %, above 80 %
        0410 tell busy#4 open → open low | web-01: disk.busy is 93 %, above 80 % [came back and stayed]
        0700 tell busy#5 open → resolved low | web-01: disk.busy is 20 % again [the condition no longer holds]
    "#]]);
}

#[test]
fn what_is_worse_is_told_even_in_the_cooldown() {
    let mut script = Script::default();
    script.failure(20, PredictionState::Open, 1700.0).failure(
        60,
        PredictionState::Withdrawn,
        1700.0,
    );
    script.failure(80, PredictionState::Open, 1600.0); // as bad as before: quiet
    script.failure(90, PredictionState::Open, 200.0); // more urgent
    script.breach(100, true); // and here it is
    script.check(expect![[r#"
        0020 tell full#1 - → predicted medium | web-01: / will be full in about 28 min (19–45 min)
        0060 tell full#2 predicted → resolved medium | web-01: /: the failure is no longer predicted (it stopped growing) [it stopped growing]
        0080      full#3 resolved → predicted medium | web-01: / will be full in about 27 min (18–43 min)
        0090 tell full#4 predicted → predicted high | web-01: / will be full in about 3 min (2–5 min)
        0100 tell full#5 predicted → open critical | web-01: / is full (95 % used), as predicted 20 s before
    "#]]);
}

#[test]
fn silence_and_return() {
    let mut script = Script::default();
    script
        .resource(100, ResourceState::Silent, 68)
        .tick(120)
        .resource(130, ResourceState::Healthy, 130);
    script.tick(600);
    script
        .resource(700, ResourceState::Silent, 668)
        .tick(759)
        .tick(761)
        .resource(800, ResourceState::Learning, 800);
    script.check(expect![[r#"
        0100 tell gone#1 - → open high | web-01: sends nothing since 00:01:08 UTC
        0130 tell gone#2 open → resolved high | web-01: sends again [it sends again]
        0700 tell gone#1 - → open high | web-01: sends nothing since 00:11:08 UTC
        0760 tell long-gone#1 - → open critical | web-01: sends nothing since 00:11:08 UTC
        0800 tell gone#2 open → resolved high | web-01: sends again [it sends again]
        0800 tell long-gone#2 open → resolved critical | web-01: sends again [it sends again]
    "#]]);
}

#[test]
fn history_never_notifies() {
    let mut script = Script::default();
    script
        .busy(100, true)
        .steps(100..=110, 3.0)
        .failure(120, PredictionState::Open, 100.0)
        .breach(130, true);
    script
        .busy(140, false)
        .breach(150, false)
        .resource(160, ResourceState::Silent, 150);
    let transitions = script.backfilled().run();
    assert!(transitions.len() > 6, "{transitions:?}");
    assert!(
        transitions.iter().all(|transition| !transition.notify),
        "{transitions:?}"
    );
}

#[test]
fn a_resource_that_is_gone_for_a_week_is_forgotten() {
    let week = 7 * 24 * 3600;
    let mut script = Script::default();
    script
        .busy(100, true)
        .resource(200, ResourceState::Silent, 170)
        .tick(200 + week - 1)
        .tick(200 + week);
    script.check(expect![[r#"
        0100 tell busy#1 - → open low | web-01: disk.busy is 93 %, above 80 %
        0200 tell gone#1 - → open high | web-01: sends nothing since 00:02:50 UTC
        0260 tell long-gone#1 - → open critical | web-01: sends nothing since 00:02:50 UTC
        605000 tell busy#2 open → resolved low | web-01: nothing was heard of it for 7 days, so it counts as gone [nothing was heard of it for 7 days, so it counts as gone]
        605000 tell gone#2 open → resolved high | web-01: nothing was heard of it for 7 days, so it counts as gone [nothing was heard of it for 7 days, so it counts as gone]
        605000 tell long-gone#2 open → resolved critical | web-01: nothing was heard of it for 7 days, so it counts as gone [nothing was heard of it for 7 days, so it counts as gone]
    "#]]);
    let mut machine = Machine::new(rules(RULES), MachineConfig::default());
    for (at, message) in &script.0 {
        machine.apply(message, LogTime(at * 1000), src(*at));
    }
    assert_eq!(machine.tracked(), 0);
    assert!(
        machine.state.timers.is_empty(),
        "{:?}",
        machine.state.timers
    );
}

#[test]
fn alerts_of_removed_rules_are_closed_after_a_restart() {
    let mut machine = Machine::new(rules(RULES), MachineConfig::default());
    let mut script = Script::default();
    script
        .busy(100, true)
        .failure(100, PredictionState::Open, 100.0)
        .tick(101);
    for (at, message) in &script.0[..2] {
        machine.apply(message, LogTime(at * 1000), src(*at));
    }
    let only_silence = "[[rules]]\ntype = \"silence\"\nname = \"gone\"";
    let mut restarted = Machine::new(rules(only_silence), MachineConfig::default());
    restarted
        .restore(&machine.snapshot())
        .expect("it was written just now");
    let lines: String = restarted
        .apply(&script.0[2].1, LogTime(101_000), src(101))
        .iter()
        .map(line)
        .collect();
    expect![[r#"
        0101 tell busy#2 open → resolved low | web-01: its rule was removed [its rule was removed]
        0101 tell full#2 predicted → resolved high | web-01: its rule was removed [its rule was removed]
    "#]]
    .assert_eq(&lines);
}
