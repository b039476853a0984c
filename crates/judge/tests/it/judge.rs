//! What the stage says when things change around it: something is no longer reported, rules are other ones, a resource
//! has to make room. Whatever was said before has an end.

use std::sync::Arc;

use forewarn_bus::{Cause, Stage as _};
use forewarn_features::FeatureSets;
use forewarn_judge::models::NoModels;
use forewarn_judge::{Config, Judge};
use forewarn_messages::{FeatureVector, LimitReading, Prediction, ProcessedMetric};
use forewarn_rules::{RuleConfig, RuleSet};
use forewarn_types::{
    EventTime, FailureKind, Kind, LogId, LogTime, PredictionState, ResourceKey, Src, StepLength,
};

const START: i64 = 1_795_226_664_000;
const MOUNT: &str = "/mnt/small";

struct World {
    judge: Judge,
    offset: u64,
    said: Vec<String>,
}

impl World {
    fn new(rules: &str) -> Self {
        Self::with(rules, Config::default())
    }

    fn with(rules: &str, config: Config) -> Self {
        let sets = Arc::new(FeatureSets::standard());
        Self {
            judge: Judge::new(
                sets,
                Arc::new(self::rules(rules)),
                config,
                Arc::new(NoModels),
            ),
            offset: 0,
            said: Vec::new(),
        }
    }

    /// The same with other rules, after a restart.
    fn under(self, rules: &str) -> Self {
        let mut next = Self::new(rules);
        next.judge
            .restore(&self.judge.snapshot())
            .expect("other rules are no reason to forget");
        Self {
            judge: next.judge,
            ..self
        }
    }

    /// One step of a resource, with one filesystem that is so full, or without it.
    fn step(&mut self, name: &str, used: Option<f64>, step: StepLength) -> &mut Self {
        self.offset += 1;
        let sets = FeatureSets::standard();
        let set = sets.by_id("host/1").expect("it is compiled in");
        let limit = used.map(|used| LimitReading {
            kind: FailureKind::DiskFull,
            subject: MOUNT.into(),
            used: used * 1e9,
            limit: 1e9,
        });
        let vector = FeatureVector {
            resource: ResourceKey::new(name),
            kind: Kind::Server,
            feature_set: "host/1".into(),
            step,
            step_end: EventTime(START + self.offset as i64 * step.millis()),
            incomplete: false,
            values: vec![Some(0.1); set.features.len()],
            limits: limit.into_iter().collect(),
            late: 0,
            backfill: false,
        };
        let log = LogId(uuid::Uuid::from_u128(1));
        let cause = Cause {
            src: Src::root(log, 0, self.offset),
            log_time: LogTime(vector.step_end.millis()),
        };
        let mut out = Vec::new();
        self.judge
            .apply(ProcessedMetric::Vector(vector), &cause, &mut out);
        for prediction in out {
            match prediction {
                Prediction::Failure(failure) if failure.state != PredictionState::Open => {
                    self.said.push(format!(
                        "{} {} {}: {}",
                        failure.resource.resource,
                        failure.subject,
                        failure.state,
                        failure.reason.unwrap_or_default()
                    ));
                }
                Prediction::Failure(failure) => {
                    let name = failure.resource.resource;
                    let line = format!("{name} {} {}", failure.subject, failure.state);
                    if self.said.last() != Some(&line) {
                        self.said.push(line);
                    }
                }
                Prediction::Condition(change) => self.said.push(format!(
                    "{} {} {} {}",
                    change.resource.resource,
                    change.rule,
                    change.subject,
                    if change.holds { "holds" } else { "ceases" }
                )),
                _ => {}
            }
        }
        self
    }

    /// Fills up by half a percent a second, until a failure is predicted.
    fn fill(&mut self, name: &str) -> &mut Self {
        for second in 0..100 {
            self.step(
                name,
                Some(0.3 + 0.005 * f64::from(second)),
                StepLength::SECOND,
            );
        }
        assert_eq!(
            self.said.last().map(String::as_str),
            Some(&*format!("{name} {MOUNT} open"))
        );
        self
    }
}

fn rules(text: &str) -> RuleSet {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        rules: Vec<RuleConfig>,
    }
    let file: File = toml::from_str(text).expect("well-formed");
    RuleSet::new(file.rules).expect("sound")
}

fn above(share: f64) -> String {
    format!(
        "[[rules]]\ntype = \"threshold\"\nname = \"full\"\nmetric = \"filesystem.utilization\"\noperator = \">\"\nvalue = {share:?}\n"
    )
}

#[test]
fn what_is_predicted_of_a_thing_that_is_gone_is_withdrawn() {
    let mut world = World::new("");
    world.fill("web-01");
    for _ in 0..9 {
        world.step("web-01", None, StepLength::SECOND);
    }
    assert_eq!(
        world.said.len(),
        1,
        "it may have been missed: {:?}",
        world.said
    );
    world.step("web-01", None, StepLength::SECOND);
    assert_eq!(
        world.said[1..],
        ["web-01 /mnt/small withdrawn: it is not reported any more"]
    );
}

#[test]
fn other_rules_go_on_from_what_held_under_those_before() {
    let mut world = World::new("");
    world.step("web-01", Some(0.85), StepLength::SECOND);
    assert!(world.said.is_empty());
    let mut world = world.under(&above(0.8));
    world.step("web-01", Some(0.85), StepLength::SECOND);
    let mut world = world.under(&above(0.9));
    world.step("web-01", Some(0.85), StepLength::SECOND);
    assert_eq!(
        world.said,
        [
            "web-01 full /mnt/small holds",
            "web-01 full /mnt/small ceases"
        ]
    );
}

#[test]
fn who_has_to_make_room_leaves_nothing_open() {
    let config = Config {
        max_resources: 1,
        ..Config::default()
    };
    let mut world = World::with(&above(0.5), config);
    world.fill("web-01").said.clear();
    world.step("web-02", Some(0.1), StepLength::SECOND);
    assert_eq!(
        world.said,
        [
            "web-01 /mnt/small withdrawn: it is not reported any more",
            "web-01 full /mnt/small ceases"
        ]
    );
    assert_eq!(world.judge.counters().evicted, 1);
}

#[test]
fn a_source_that_changes_its_pace_takes_back_what_it_predicted() {
    let mut world = World::new(&above(0.5));
    world.fill("web-01").said.clear();
    let minute = StepLength::from_millis(60_000).expect("a step");
    world.step("web-01", Some(0.8), minute);
    assert_eq!(
        world.said,
        ["web-01 /mnt/small withdrawn: it is not reported any more"],
        "and what holds still holds"
    );
    world.step("web-01", Some(0.2), minute);
    assert_eq!(
        world.said.last().map(String::as_str),
        Some("web-01 full /mnt/small ceases")
    );
}
