//! The fleet of the demonstration through the reference pipeline, with the settings that users get: what is made to go
//! wrong is told of while people look on, and what is not, is not.

use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::{Cause, Stage as _};
use forewarn_config::{Environment, Settings};
use forewarn_detect::Model;
use forewarn_detect::training::{self as detect, History};
use forewarn_features::FeatureSets;
use forewarn_judge::metrics_of;
use forewarn_judge::models::{Known, Models};
use forewarn_messages::{FailurePrediction, ProcessedMetric, SystemMetric};
use forewarn_models::ForestSettings;
use forewarn_store::activations;
use forewarn_stream_processor::{Processor, StepConfig};
use forewarn_testkit::generate::{DemoFleet, FaultKind, Recording, RunningFleet, START, Sent};
use forewarn_testkit::reference::{Outcome, Pipeline, Roots};
use forewarn_types::{AlertState, EventTime, LogId, LogTime, PredictionState, Src, StepLength};
use uuid::Uuid;

use crate::say;

/// A resource is judged after a quarter of an hour; this is long enough to know it a little.
const QUIET_SECONDS: u64 = 1_500;
/// Nobody looks on for longer before something has to be said.
const TOLD_WITHIN_SECONDS: i64 = 180;

/// A model of one host's day, which judges it from the first step on.
#[derive(Debug)]
struct OfOneDay {
    scope: String,
    model: Arc<Model>,
}

impl Models for OfOneDay {
    fn at(&self, scope: &str, _feature_set: &str, _at: LogTime) -> Known {
        Known::Model((scope == self.scope).then(|| Arc::clone(&self.model)))
    }
}

/// Makes it as the trainer would, of the day that ends at `START`. The fleet stands there afterwards.
fn of_one_day(running: &mut RunningFleet, host: &str) -> OfOneDay {
    let sets = Arc::new(FeatureSets::standard());
    let mut processor = Processor::new(Arc::clone(&sets), StepConfig::default());
    let (mut vectors, mut history, mut known) = (Vec::new(), None, None);
    let mut offset = 0;
    for batches in running.history(START) {
        let Some(batch) = batches.into_iter().find(|b| b.resource.resource == host) else {
            continue;
        };
        offset += 1;
        let log_time = LogTime(batch.time.millis());
        let src = Src {
            log: LogId(Uuid::nil()),
            partition: 0,
            offset,
            sub: 0,
        };
        processor.apply(
            SystemMetric::Samples(batch),
            &Cause { src, log_time },
            &mut vectors,
        );
        for vector in vectors.drain(..) {
            let ProcessedMetric::Vector(vector) = vector else {
                continue;
            };
            let set = sets.by_id(&vector.feature_set).expect("it is shipped");
            let row: Vec<f32> = set
                .metrics
                .iter()
                .map(|metric| vector.values[metric.value_index].unwrap_or(f32::NAN))
                .collect();
            let history = history.get_or_insert_with(|| History::new(set.metrics.len()));
            history.push(vector.step_end, &row);
            known = Some((vector.resource, vector.feature_set));
        }
    }
    let (resource, feature_set) = known.expect("the host was measured");
    let set = sets.by_id(&feature_set).expect("it is shipped");
    let trainer = forewarn_trainer::Config::default();
    let settings = detect::Settings {
        forest: ForestSettings {
            trees: trainer.trees,
            sample: trainer.sample,
            extension: trainer.extension,
            seed: 1,
        },
        detector: forewarn_judge::Config::default().detector(StepLength::SECOND),
        held_out: trainer.held_out,
        quarantine: true,
        least_steps: trainer.least_steps,
    };
    let trained = detect::train(
        &history.expect("the host was measured"),
        &metrics_of(set),
        StepLength::SECOND,
        &[],
        &settings,
    )
    .expect("a day is enough");
    OfOneDay {
        scope: activations::scope(&resource, &feature_set),
        model: Arc::new(trained.model),
    }
}

/// What becomes of a fleet that runs for `seconds`, with whom a fault touches alone if there is one; with a model of the day
/// before if it is wanted.
fn outcome(fleet: &DemoFleet, fault: Option<FaultKind>, seconds: u64, with_model: bool) -> Outcome {
    let mut settings =
        Settings::load(None, &Environment::default(), &[]).expect("the defaults are sound");
    let mut pipeline = Pipeline::from_settings(&mut settings).expect("the defaults are sound");
    let mut running = fleet.start(START);
    if let (true, Some(host)) = (with_model, fault.and_then(|kind| fleet.host_for(kind))) {
        running = fleet.start(START.minus(Duration::from_secs(86_400)));
        pipeline = pipeline.with_models(Arc::new(of_one_day(&mut running, host)));
    }
    let mut sent = Vec::new();
    let mut touched = Vec::new();
    for second in 0..seconds {
        if second == QUIET_SECONDS
            && let Some(kind) = fault
        {
            let injected = running.inject(&fleet.order(kind)).expect("it suits");
            touched.push(injected.host);
            touched.extend(injected.spreads_to);
        }
        let at = running.next_moment();
        let on_the_way = EventTime(at.millis() + 50);
        let batches = running.measure(at).into_iter();
        sent.extend(batches.map(|batch| Sent {
            at: on_the_way,
            batch,
        }));
    }
    if fault.is_some() {
        // The others are the same in every run; the quiet one is about them.
        sent.retain(|sent| touched.contains(&sent.batch.resource.resource));
    }
    let recording = Recording {
        sent,
        truth: Vec::new(),
    };
    // Nothing comes of one that has fallen silent: there the log's clock has to go on for its sake.
    let tail_seconds = match fault {
        Some(FaultKind::SensorDropout) => 300,
        _ => 5,
    };
    pipeline
        .run(Roots::of_recording(&recording, 1, tail_seconds))
        .expect("nothing stops the pipeline")
}

/// What is told of it: seconds from the start, resource, rule.
fn told(fleet: &DemoFleet, fault: Option<FaultKind>, seconds: u64) -> Vec<(i64, String, String)> {
    let outcome = outcome(fleet, fault, seconds, false);
    let raised = |state| matches!(state, AlertState::Open | AlertState::Predicted);
    let told = outcome.transitions.iter().filter(|t| raised(t.to));
    told.map(|t| {
        let after = (t.step_end.millis() - START.millis()) / 1_000;
        (after, t.resource.resource.clone(), t.rule.clone())
    })
    .collect()
}

/// Seconds after its onset at which a fault was an anomaly, was foreseen, and was told of; what is said of how it ends.
#[derive(Debug, Default)]
struct Seen {
    anomaly: Option<f64>,
    predicted: Option<f64>,
    alert: Option<f64>,
    confirmed: bool,
    /// Whether the limit was reached between the 10 % and the 90 % that were said first.
    within: bool,
    lead: Option<f64>,
}

fn seen(seed: u64, kind: FaultKind) -> Seen {
    let fleet = DemoFleet::new(seed);
    let host = fleet.host_for(kind).expect("it suits somebody").to_owned();
    let outcome = outcome(&fleet, Some(kind), QUIET_SECONDS + 600, true);
    let onset = START.millis() + (QUIET_SECONDS * 1_000).cast_signed();
    let after = |at: EventTime| (at.millis() - onset) as f64 / 1_000.0;
    let mut seen = Seen::default();
    let mut verdicts = outcome.verdicts().filter(|v| {
        v.resource.resource == host
            && after(v.step_end) > 0.0
            && v.highest().is_some_and(|(score, _)| score > 1.0)
    });
    seen.anomaly = verdicts.next().map(|v| after(v.step_end));
    let mut first: Option<FailurePrediction> = None;
    for failure in outcome.failures() {
        if failure.resource.resource != host
            || Some(failure.failure) != kind.failure()
            || after(failure.step_end) <= 0.0
        {
            continue;
        }
        match failure.state {
            PredictionState::Open if first.is_none() => first = Some(failure),
            PredictionState::Confirmed => {
                seen.confirmed = true;
                seen.lead = failure.lead_seconds;
                if let Some(first) = &first
                    && let (Some(soon), Some(late)) = (first.p10_seconds, first.p90_seconds)
                {
                    let came = after(failure.step_end) - after(first.step_end);
                    seen.within = (soon..=late).contains(&came);
                }
            }
            _ => {}
        }
    }
    seen.predicted = first.map(|first| after(first.step_end));
    let wanted = match kind.failure() {
        Some(_) => AlertState::Predicted,
        None => AlertState::Open,
    };
    let mut alerts = outcome
        .transitions
        .iter()
        .filter(|t| t.to == wanted && t.resource.resource == host && after(t.step_end) > 0.0);
    seen.alert = alerts.next().map(|t| after(EventTime(t.log_time.0)));
    seen
}

/// The value below which nine in ten are; what never came counts as late as can be.
fn p90(values: &[Option<f64>]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().map(|v| v.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * 9).div_ceil(10) - 1]
}

/// `FOREWARN_TEST_SEEDS` has another number of seeds than the one that is tried every time.
#[test]
fn the_first_faults_are_foreseen_while_somebody_looks_on() {
    let seeds = std::env::var("FOREWARN_TEST_SEEDS").ok();
    let seeds: u64 = seeds.and_then(|text| text.parse().ok()).unwrap_or(1);
    for kind in [
        FaultKind::MemoryLeak,
        FaultKind::DiskFill,
        FaultKind::CpuRunaway,
        FaultKind::ConnectionExhaustion,
    ] {
        let runs: Vec<Seen> = (1..=seeds).map(|seed| seen(seed, kind)).collect();
        let of = |value: fn(&Seen) -> Option<f64>| -> Vec<Option<f64>> {
            runs.iter().map(value).collect()
        };
        let (anomaly, predicted, alert) = (of(|s| s.anomaly), of(|s| s.predicted), of(|s| s.alert));
        let count = |is: fn(&Seen) -> bool| runs.iter().filter(|s| is(s)).count();
        let mut leads: Vec<f64> = runs.iter().filter_map(|s| s.lead).collect();
        leads.sort_by(f64::total_cmp);
        say(&format!(
            "{kind}, {seeds} seeds: p90 anomaly {:.0} s, predicted {:.0} s, alert {:.0} s; confirmed {}, within the interval {}, \
             lead {:?}",
            p90(&anomaly),
            p90(&predicted),
            p90(&alert),
            count(|s| s.confirmed),
            count(|s| s.within),
            leads.get(leads.len() / 2),
        ));
        for (seed, run) in (1..).zip(&runs) {
            say(&format!("  seed {seed}: {run:?}"));
            assert!(
                run.anomaly.is_some(),
                "{kind}, seed {seed}: it was never unusual"
            );
            assert!(run.alert.is_some(), "{kind}, seed {seed}: nobody was told");
            let foretold = run.predicted.is_some() && run.confirmed;
            assert!(
                foretold || kind.failure().is_none(),
                "{kind}, seed {seed}: not foretold"
            );
        }
    }
}

#[test]
fn every_fault_of_the_demonstration_is_told_of_in_time() {
    let fleet = DemoFleet::new(1);
    for kind in FaultKind::ALL.iter().filter(|kind| !kind.is_harmless()) {
        let told = told(&fleet, Some(*kind), QUIET_SECONDS + 300);
        let first = told
            .iter()
            .find(|(after, ..)| *after > QUIET_SECONDS as i64);
        say(&format!("{kind}: {first:?}"));
        let after = first.map(|(after, ..)| after - QUIET_SECONDS as i64);
        assert!(
            after.is_some_and(|after| after <= TOLD_WITHIN_SECONDS),
            "{kind}: {told:?}"
        );
        if let Some(failure) = kind.failure() {
            let predicted = told.iter().any(|(_, _, rule)| rule == "running-out");
            assert!(predicted, "{failure:?} was not predicted: {told:?}");
        }
    }
}

#[test]
fn what_is_harmless_is_not_told_of() {
    let fleet = DemoFleet::new(1);
    assert_eq!(told(&fleet, None, 3_600), []);
    let reset = told(&fleet, Some(FaultKind::CounterReset), QUIET_SECONDS + 300);
    assert_eq!(reset, []);
}
