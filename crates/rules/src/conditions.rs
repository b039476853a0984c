//! Which conditions hold for one resource, told as changes.
//!
//! Only the bare comparison is judged here, once per step. The semantics, which the alerter builds on:
//! - A change is emitted at the step at which the comparison begins or ceases to hold, never in between.
//! - An undefined value (`null`, or a number that is not finite) says nothing: the previous state stays.
//!   Unknown is never normal, and it is never a breach.
//! - A *rate* is the change per second between two consecutive steps; after a gap there is none for one step.
//! - A thing that can fill up and is not reported any more (an unmounted filesystem) stays as it was for
//!   [`ABSENT_STEPS`] steps; then its conditions cease.
//! - Metrics that are the level of something with a limit ([`failure_of`]) are compared for each such thing, as its
//!   used share, so that the change names it.
//! - Failure prediction rules have a condition too: the limit is *reached*. It begins at the level at which the thing
//!   counts as failed and ceases [`RECOVERED`] below it, so that an alert about it has an end.
//! - When a rule goes away or no longer matches, what it held ceases at the next step.

use std::collections::BTreeMap;

use forewarn_features::FeatureSet;
use forewarn_messages::{ConditionChange, FeatureVector, breach_subject};
use forewarn_types::{EventTime, FailureKind};
use serde::{Deserialize, Serialize};

use crate::config::{FailurePredictionRule, RuleConfig, ThresholdRule};
use crate::set::{Rule, RuleSet, failure_of};

/// Steps after which a thing that is not reported any more counts as gone.
pub const ABSENT_STEPS: u8 = 10;
/// A reached limit is over when the level is below this share of it: a disk that hovers at its limit is one breach.
pub const RECOVERED: f64 = 0.98;

/// The state of all conditions of one resource.
///
/// Only what holds, and what a rate needs, takes space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    rules: BTreeMap<String, BTreeMap<String, Watch>>,
}

/// One condition on one subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Watch {
    holds: bool,
    /// For rates: when and what was seen last.
    last: Option<(EventTime, f64)>,
    /// Steps in a row without a reading of this subject.
    absent: u8,
}

/// The value of one subject at this step.
struct Reading {
    subject: String,
    value: Option<f64>,
    /// What it is compared with.
    threshold: f64,
}

/// What the step's feature set tells: where a metric stands, and for which failures it reports levels.
struct Layout<'a> {
    column: &'a dyn Fn(&str) -> Option<usize>,
    has_limits: &'a dyn Fn(FailureKind) -> bool,
}

impl Conditions {
    /// Judges one step. `set` is the feature set that gives the vector its meaning.
    ///
    /// Changes come in the order of the rules' names and, within a rule, of the subjects.
    pub fn observe(
        &mut self,
        rules: &RuleSet,
        set: &FeatureSet,
        vector: &FeatureVector,
    ) -> Vec<ConditionChange> {
        let column = |name: &str| set.index_of(name);
        let has_limits =
            |failure: FailureKind| set.limits.iter().any(|limit| limit.kind == failure);
        self.judge(
            rules,
            &Layout {
                column: &column,
                has_limits: &has_limits,
            },
            vector,
        )
    }

    fn judge(
        &mut self,
        rules: &RuleSet,
        layout: &Layout<'_>,
        vector: &FeatureVector,
    ) -> Vec<ConditionChange> {
        let mut changes = Changes {
            rules,
            vector,
            list: Vec::new(),
        };
        self.drop_foreign(&mut changes);
        for rule in rules.rules() {
            if !rule.matches(&vector.resource, vector.kind) {
                continue;
            }
            match rule.config() {
                RuleConfig::Threshold(threshold) => {
                    self.threshold(rule, threshold, layout, &mut changes)
                }
                RuleConfig::FailurePrediction(failure) => {
                    self.breach(rule, failure, layout, &mut changes)
                }
                RuleConfig::Anomaly(_) | RuleConfig::Silence(_) => {}
            }
        }
        // What ceased with its rule comes first so far; the promised order is that of the names.
        changes
            .list
            .sort_by(|a, b| (&a.rule, &a.subject).cmp(&(&b.rule, &b.subject)));
        changes.list
    }

    /// What a rule held that is gone, or is not about this resource any more, ceases.
    fn drop_foreign(&mut self, changes: &mut Changes<'_>) {
        let (rules, vector) = (changes.rules, changes.vector);
        self.rules.retain(|name, watches| {
            let kept = rules
                .get(name)
                .is_some_and(|rule| rule.matches(&vector.resource, vector.kind));
            if !kept {
                for (subject, _) in watches.iter().filter(|(_, watch)| watch.holds) {
                    changes.push(name, subject, false, None, None);
                }
            }
            kept
        });
    }

    fn threshold(
        &mut self,
        rule: &Rule,
        config: &ThresholdRule,
        layout: &Layout<'_>,
        changes: &mut Changes<'_>,
    ) {
        let vector = changes.vector;
        // A set that knows the limits themselves tells which of them it is; the metric is only their maximum.
        let by_limit = failure_of(&config.metric).filter(|failure| (layout.has_limits)(*failure));
        let readings = if let Some(failure) = by_limit {
            used_shares(vector, failure)
                .map(|(subject, value)| Reading {
                    subject: subject.into(),
                    value,
                    threshold: config.value,
                })
                .collect()
        } else {
            let Some(index) =
                (layout.column)(rule.value_column()).or_else(|| (layout.column)(&config.metric))
            else {
                // Another feature set of this resource has the metric, or none: either way nothing is said here.
                return;
            };
            let value = vector.values.get(index).copied().flatten().map(f64::from);
            vec![Reading {
                subject: config.metric.clone(),
                value,
                threshold: config.value,
            }]
        };
        let holds =
            |value: f64, reading: &Reading, _| config.operator.holds(value, reading.threshold);
        self.compare(rule.name(), config.rate, &readings, holds, changes);
    }

    fn breach(
        &mut self,
        rule: &Rule,
        config: &FailurePredictionRule,
        layout: &Layout<'_>,
        changes: &mut Changes<'_>,
    ) {
        let vector = changes.vector;
        let mut readings = Vec::new();
        let mut is_known = false;
        for failure in FailureKind::ALL
            .iter()
            .filter(|failure| config.covers(**failure))
        {
            if !(layout.has_limits)(*failure) {
                continue;
            }
            is_known = true;
            readings.extend(
                used_shares(vector, *failure).map(|(subject, value)| Reading {
                    subject: breach_subject(*failure, subject),
                    value,
                    threshold: config.reached,
                }),
            );
        }
        // A feature set without limits says nothing about them, not even that they are gone.
        if is_known {
            let reached = |value: f64, reading: &Reading, was: bool| {
                value
                    >= if was {
                        reading.threshold * RECOVERED
                    } else {
                        reading.threshold
                    }
            };
            self.compare(rule.name(), false, &readings, reached, changes);
        }
    }

    /// Compares the readings of one rule and notes what changed. `holds` is given the value (or its rate) and the state so far.
    fn compare(
        &mut self,
        rule: &str,
        rate: bool,
        readings: &[Reading],
        holds: impl Fn(f64, &Reading, bool) -> bool,
        changes: &mut Changes<'_>,
    ) {
        let vector = changes.vector;
        if readings.is_empty() && !self.rules.contains_key(rule) {
            return;
        }
        let watches = self.rules.entry(rule.to_owned()).or_default();
        for reading in readings {
            let mut watch = watches.remove(&reading.subject).unwrap_or_default();
            watch.absent = 0;
            let finite = reading.value.filter(|value| value.is_finite());
            let value = if rate {
                watch.rate(vector, finite)
            } else {
                finite
            };
            if let Some(value) = value {
                let now = holds(value, reading, watch.holds);
                if now != watch.holds {
                    watch.holds = now;
                    changes.push(
                        rule,
                        &reading.subject,
                        now,
                        Some(value),
                        Some(reading.threshold),
                    );
                }
            }
            if !watch.is_idle() {
                watches.insert(reading.subject.clone(), watch);
            }
        }
        watches.retain(|subject, watch| {
            let present = readings.iter().any(|reading| reading.subject == *subject);
            watch.absent = if present { 0 } else { watch.absent + 1 };
            let gone = watch.absent >= ABSENT_STEPS;
            if gone && watch.holds {
                changes.push(rule, subject, false, None, None);
            }
            !gone
        });
        if watches.is_empty() {
            self.rules.remove(rule);
        }
    }
}

impl Watch {
    fn is_idle(&self) -> bool {
        !self.holds && self.last.is_none()
    }

    /// The change per second since the step before, if that was the previous step and both have a value.
    fn rate(&mut self, vector: &FeatureVector, value: Option<f64>) -> Option<f64> {
        let last = std::mem::replace(&mut self.last, value.map(|value| (vector.step_end, value)));
        let (at, before) = last?;
        let passed = vector.step_end.millis() - at.millis();
        (passed == vector.step.millis()).then_some((value? - before) * 1_000.0 / passed as f64)
    }
}

struct Changes<'a> {
    rules: &'a RuleSet,
    vector: &'a FeatureVector,
    list: Vec<ConditionChange>,
}

impl Changes<'_> {
    fn push(
        &mut self,
        rule: &str,
        subject: &str,
        holds: bool,
        value: Option<f64>,
        threshold: Option<f64>,
    ) {
        self.list.push(ConditionChange {
            rule: rule.to_owned(),
            rules: self.rules.digest().to_owned(),
            resource: self.vector.resource.clone(),
            kind: self.vector.kind,
            subject: subject.to_owned(),
            holds,
            value,
            threshold,
            step_end: self.vector.step_end,
            backfill: self.vector.backfill,
        });
    }
}

/// Subject and used share of everything that can fail in this way.
fn used_shares(
    vector: &FeatureVector,
    failure: FailureKind,
) -> impl Iterator<Item = (&str, Option<f64>)> {
    vector
        .limits
        .iter()
        .filter(move |limit| limit.kind == failure)
        .map(|limit| {
            let share = (limit.limit > 0.0).then(|| limit.used / limit.limit);
            (limit.subject.as_str(), share)
        })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use forewarn_messages::LimitReading;
    use forewarn_types::{Kind, ResourceKey, StepLength};

    use super::*;

    /// Feeds values of `cpu.utilization` (or used shares of two disks) step by step and prints the changes.
    struct Bench {
        rules: RuleSet,
        conditions: Conditions,
        step: i64,
        lines: String,
    }

    impl Bench {
        fn new(rules: &str) -> Self {
            Self {
                rules: parse(rules),
                conditions: Conditions::default(),
                step: 0,
                lines: String::new(),
            }
        }

        fn feed(&mut self, values: Vec<Option<f32>>, limits: &[(&str, f64)]) {
            self.step += 1;
            let vector = FeatureVector {
                resource: ResourceKey::new("web-01"),
                kind: Kind::Server,
                feature_set: "host/1".into(),
                step: StepLength::SECOND,
                step_end: EventTime(self.step * 1_000),
                incomplete: false,
                values,
                limits: limits
                    .iter()
                    .map(|(subject, share)| LimitReading {
                        kind: FailureKind::DiskFull,
                        subject: (*subject).into(),
                        used: share * 1000.0,
                        limit: 1000.0,
                    })
                    .collect(),
                late: 0,
                backfill: false,
            };
            let column = |name: &str| (name == "cpu.utilization.value").then_some(0);
            let has_limits = |failure: FailureKind| failure == FailureKind::DiskFull;
            let layout = Layout {
                column: &column,
                has_limits: &has_limits,
            };
            // A round trip at every step: what is kept has to be all that matters.
            let kept = serde_json::to_string(&self.conditions).expect("it is plain data");
            self.conditions = serde_json::from_str(&kept).expect("it was written just now");
            for change in self.conditions.judge(&self.rules, &layout, &vector) {
                let word = if change.holds { "holds" } else { "ceases" };
                let value = change
                    .value
                    .map_or("-".into(), |value| format!("{value:.3}"));
                self.lines += &format!(
                    "{:02} {} {} {word} {value}\n",
                    self.step, change.rule, change.subject
                );
            }
        }

        fn cpu(mut self, values: &[f32]) -> Self {
            for value in values {
                // -1 stands for null.
                self.feed(vec![(*value != -1.0).then_some(*value)], &[]);
            }
            self
        }

        fn disks(mut self, steps: &[&[(&str, f64)]]) -> Self {
            for limits in steps {
                self.feed(vec![None], limits);
            }
            self
        }

        fn check(self, expected: Expect) {
            expected.assert_eq(&self.lines);
        }
    }

    fn parse(text: &str) -> RuleSet {
        #[derive(Deserialize)]
        struct File {
            rules: Vec<RuleConfig>,
        }
        let file: File = toml::from_str(text).expect("the rules parse");
        RuleSet::new(file.rules).expect("the rules are sound")
    }

    const HOT: &str = r#"
        [[rules]]
        type = "threshold"
        name = "hot"
        metric = "cpu.utilization"
        operator = ">"
        value = 0.9
    "#;

    #[test]
    fn only_changes_are_told() {
        Bench::new(HOT)
            .cpu(&[0.5, 0.9, 0.91, 0.99, 0.9, 0.2, 0.95])
            .check(expect![[r#"
            03 hot cpu.utilization holds 0.910
            05 hot cpu.utilization ceases 0.900
            07 hot cpu.utilization holds 0.950
        "#]]);
    }

    #[test]
    fn undefined_values_keep_the_state() {
        Bench::new(HOT)
            .cpu(&[
                0.95,
                -1.0,
                f32::NAN,
                f32::INFINITY,
                0.95,
                0.1,
                f32::NAN,
                -1.0,
            ])
            .check(expect![[r#"
            01 hot cpu.utilization holds 0.950
            06 hot cpu.utilization ceases 0.100
        "#]]);
    }

    #[test]
    fn a_rate_needs_two_steps_in_a_row() {
        let rules = HOT.replace("value = 0.9", "value = 5\nrate = true");
        Bench::new(&rules)
            .cpu(&[0.0, 4.0, 10.0, 11.0, -1.0, 100.0, 101.0, 110.0])
            .check(expect![[r#"
            03 hot cpu.utilization holds 6.000
            04 hot cpu.utilization ceases 1.000
            08 hot cpu.utilization holds 9.000
        "#]]);
    }

    #[test]
    fn a_rule_about_other_resources_or_unknown_metrics_says_nothing() {
        Bench::new(&HOT.replace("name", "resource = \"db-*\"\nname"))
            .cpu(&[0.95])
            .check(expect![""]);
        Bench::new(&HOT.replace("name", "kind = \"database\"\nname"))
            .cpu(&[0.95])
            .check(expect![""]);
        Bench::new(&HOT.replace("cpu.utilization", "no.such"))
            .cpu(&[0.95])
            .check(expect![""]);
    }

    #[test]
    fn what_a_removed_rule_held_ceases() {
        let mut bench = Bench::new(HOT).cpu(&[0.95]);
        bench.rules = RuleSet::default();
        bench.cpu(&[0.95, 0.95]).check(expect![[r#"
            01 hot cpu.utilization holds 0.950
            02 hot cpu.utilization ceases -
        "#]]);
    }

    #[test]
    fn a_metric_with_limits_names_the_thing_that_fills_up() {
        let rules = r#"
            [[rules]]
            type = "threshold"
            name = "disk"
            metric = "filesystem.utilization"
            operator = ">="
            value = 0.8
        "#;
        let both: &[(&str, f64)] = &[("/", 0.5), ("/data", 0.85)];
        Bench::new(rules)
            .disks(&[both, both, &[("/", 0.9), ("/data", 0.7)]])
            .check(expect![[r#"
            01 disk /data holds 0.850
            03 disk / holds 0.900
            03 disk /data ceases 0.700
        "#]]);
    }

    const FULL: &str = r#"
        [[rules]]
        type = "failure_prediction"
        name = "full"
    "#;

    #[test]
    fn a_limit_is_reached_once_even_if_the_level_hovers() {
        let steps: Vec<Vec<(&str, f64)>> = [0.9, 0.95, 0.94, 0.951, 0.935, 0.93, 0.94, 0.96]
            .iter()
            .map(|share| vec![("/", *share)])
            .collect();
        let steps: Vec<&[(&str, f64)]> = steps.iter().map(Vec::as_slice).collect();
        Bench::new(FULL).disks(&steps).check(expect![[r#"
            02 full disk_full:/ holds 0.950
            06 full disk_full:/ ceases 0.930
            08 full disk_full:/ holds 0.960
        "#]]);
    }

    #[test]
    fn an_unmounted_disk_ceases_after_a_while() {
        let mut steps: Vec<&[(&str, f64)]> = vec![&[("/mnt", 0.99)]];
        steps.extend([&[] as &[(&str, f64)]; 12]);
        Bench::new(FULL).disks(&steps).check(expect![[r#"
            01 full disk_full:/mnt holds 0.990
            11 full disk_full:/mnt ceases -
        "#]]);
    }
}
