//! The fleet of the demonstration through the reference pipeline, with the settings that users get: what is made to go
//! wrong is told of while people look on, and what is not, is not.

use forewarn_config::{Environment, Settings};
use forewarn_testkit::generate::{DemoFleet, FaultKind, Recording, START, Sent};
use forewarn_testkit::reference::{Pipeline, Roots};
use forewarn_types::{AlertState, EventTime};

use crate::say;

/// A resource is judged after a quarter of an hour; this is long enough to know it a little.
const QUIET_SECONDS: u64 = 1_500;
/// Nobody looks on for longer before something has to be said.
const TOLD_WITHIN_SECONDS: i64 = 180;

/// What is told of a fleet that runs for `seconds`: seconds from the start, resource, rule.
fn told(fleet: &DemoFleet, fault: Option<FaultKind>, seconds: u64) -> Vec<(i64, String, String)> {
    let mut settings =
        Settings::load(None, &Environment::default(), &[]).expect("the defaults are sound");
    let pipeline = Pipeline::from_settings(&mut settings).expect("the defaults are sound");
    let mut running = fleet.start(START);
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
    let outcome = pipeline
        .run(Roots::of_recording(&recording, 1, tail_seconds))
        .expect("nothing stops the pipeline");
    let raised = |state| matches!(state, AlertState::Open | AlertState::Predicted);
    let told = outcome.transitions.iter().filter(|t| raised(t.to));
    told.map(|t| {
        let after = (t.step_end.millis() - START.millis()) / 1_000;
        (after, t.resource.resource.clone(), t.rule.clone())
    })
    .collect()
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
