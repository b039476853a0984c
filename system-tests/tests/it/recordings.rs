//! Twenty generated recordings per kind of fault through the reference pipeline, with the settings that users get:
//! is the fault named in time, does an alert come, and does the predicted span hold the truth as often as it says?
//!
//! What has to be named was fixed with the generator ([`FaultKind::families`]), before any detector saw its series.

use std::time::Duration;

use forewarn_config::{Environment, Settings};
use forewarn_messages::{FailurePrediction, Verdict};
use forewarn_testkit::generate::{
    Draw, Fault, FaultKind, Filesystem, Fleet, Host, Profile, Recording, Truth,
};
use forewarn_testkit::reference::{Outcome, Pipeline, Roots, Transition};
use forewarn_types::{AlertState, EventTime, PredictionState};

use crate::say;

const RECORDINGS: u64 = 20;
const QUIET_SECONDS: u64 = 900;
/// The fault has to be named this soon.
const NAMED_WITHIN: Duration = Duration::from_secs(30);
/// Rules want a few steps in a row on top.
const ALERT_WITHIN: Duration = Duration::from_secs(60);
/// Families are looked for among this many of the largest parts.
const PARTS: usize = 3;

#[test]
fn runaway_processes_are_named_and_alerted() {
    assert_named(FaultKind::CpuRunaway, &examine_all(FaultKind::CpuRunaway));
}

#[test]
fn memory_hogs_are_named_and_alerted() {
    assert_named(FaultKind::MemoryHog, &examine_all(FaultKind::MemoryHog));
}

#[test]
fn filling_disks_are_named_alerted_and_timed() {
    let found = examine_all(FaultKind::DiskFill);
    assert_named(FaultKind::DiskFill, &found);
    assert_timed(FaultKind::DiskFill, &found);
}

/// What comes back within minutes is the same fault again, and not yet an ordinary thing. The second time it is seen
/// least surely, since the first has widened the scale; nine in ten is what is asked of all five.
#[test]
fn a_disk_that_fills_up_again_and_again_is_named_nearly_every_time() {
    const TIMES: u64 = 5;
    const HOSTS: u64 = 12;
    let pipeline = pipeline();
    let mut named = 0;
    // Other seeds than those on which the floor of the fill rate was chosen.
    for seed in 40..40 + HOSTS {
        let mut host = Host::new(&format!("again-{seed}")).profile(Profile::drawn(seed));
        // As `scripts/real-faults` does it: a small filesystem, full in a minute and a half.
        host.profile.filesystems.push(Filesystem {
            mountpoint: "/mnt/small".into(),
            bytes: 256e6,
            used: 0.01,
        });
        let onsets: Vec<u64> = (0..TIMES)
            .map(|time| QUIET_SECONDS + 60 + time * 240)
            .collect();
        for onset in &onsets {
            host.faults.push(Fault {
                filesystem: host.profile.filesystems.len() - 1,
                ..Fault::new(FaultKind::DiskFill, *onset, 85)
            });
        }
        let recording = Fleet::new(seed, onsets[onsets.len() - 1] + 200, vec![host]).record();
        let outcome = run(&pipeline, &recording);
        for truth in &recording.truth {
            let in_time = |verdict: &Verdict| {
                verdict.step_end > truth.onset
                    && verdict.step_end.since(truth.onset) <= NAMED_WITHIN
            };
            let is_named = outcome
                .verdicts()
                .filter(in_time)
                .any(|verdict| names_family(&verdict, FaultKind::DiskFill));
            named += u64::from(is_named);
        }
    }
    let all = HOSTS * TIMES;
    say(&format!(
        "small disks that fill up five times: named {named} of {all}"
    ));
    assert!(10 * named >= 9 * all, "named {named} of {all}");
}

/// A leak of one or two thousandths of the memory a second hides in the ordinary for its first half minute. What tells
/// of it is the prediction, and with it comes the alert.
#[test]
fn memory_leaks_are_predicted_and_timed() {
    assert_predicted_and_timed(FaultKind::MemoryLeak);
}

#[test]
fn file_descriptor_leaks_are_predicted_and_timed() {
    assert_predicted_and_timed(FaultKind::FileDescriptorLeak);
}

#[test]
fn connections_that_run_out_are_predicted_and_timed() {
    assert_predicted_and_timed(FaultKind::ConnectionExhaustion);
}

/// The other side of it: hosts that were met a quarter of an hour ago, and on which nothing goes wrong. Their tails are
/// all but unknown, so they may be wrong more often than the budget of one episode a week says, but not much more.
#[test]
fn young_hosts_on_which_nothing_goes_wrong_are_left_alone() {
    const HOSTS: u64 = 30;
    const SECONDS: u64 = 3_600;
    let pipeline = pipeline();
    let mut episodes = 0;
    for seed in 0..HOSTS {
        let mut draw = Draw::new(seed, "young");
        let host = Host::new(&format!("young-{seed:02}")).profile(Profile::drawn(draw.seed()));
        let recording = Fleet::new(draw.seed(), SECONDS, vec![host]).record();
        let outcome = run(&pipeline, &recording);
        let anomaly = |t: &&Transition| t.to == AlertState::Open && t.rule == "unlike-itself";
        episodes += outcome.transitions.iter().filter(anomaly).count();
    }
    let hours = HOSTS * (SECONDS - QUIET_SECONDS) / 3_600;
    say(&format!(
        "young hosts: {episodes} anomaly alerts in {hours} hours of {HOSTS} hosts"
    ));
    assert!(episodes <= 3, "{episodes} alerts in {hours} hours");
}

/// What became of one recording.
#[derive(Debug)]
struct Found {
    named: Option<Duration>,
    alerted: Option<Duration>,
    /// How long before the breach the alert of the failure itself was `predicted`.
    warned: Option<Duration>,
    /// Whether the breach came between P10 and P90 of the prediction that stood half way; `None` without one.
    inside: Option<bool>,
}

fn pipeline() -> Pipeline {
    let mut settings =
        Settings::load(None, &Environment::default(), &[]).expect("the defaults are sound");
    Pipeline::from_settings(&mut settings).expect("the defaults are sound")
}

fn run(pipeline: &Pipeline, recording: &Recording) -> Outcome {
    pipeline
        .run(Roots::of_recording(recording, 1, 5))
        .expect("nothing stops the pipeline")
}

fn examine_all(kind: FaultKind) -> Vec<Found> {
    let pipeline = pipeline();
    let found: Vec<Found> = (0..RECORDINGS)
        .map(|seed| examine(&pipeline, kind, seed))
        .collect();
    say(&format!(
        "{}: n = {RECORDINGS}, named within {NAMED_WITHIN:?}: {}, alert within {ALERT_WITHIN:?}: {}; median alert after {:?}",
        kind.as_str(),
        soon(&found, |found| found.named, NAMED_WITHIN),
        soon(&found, |found| found.alerted, ALERT_WITHIN),
        median(found.iter().filter_map(|found| found.alerted).collect()),
    ));
    found
}

fn soon(found: &[Found], after: fn(&Found) -> Option<Duration>, within: Duration) -> usize {
    let in_time = |found: &&Found| after(found).is_some_and(|after| after <= within);
    found.iter().filter(in_time).count()
}

fn median(mut all: Vec<Duration>) -> Option<Duration> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

fn assert_named(kind: FaultKind, found: &[Found]) {
    let named = soon(found, |found| found.named, NAMED_WITHIN);
    let alerted = soon(found, |found| found.alerted, ALERT_WITHIN);
    assert!(
        named >= 19 && alerted >= 19,
        "{}: named in {named} and alerted in {alerted} of {RECORDINGS}",
        kind.as_str()
    );
}

fn assert_predicted_and_timed(kind: FaultKind) {
    let found = examine_all(kind);
    let warned: Vec<Duration> = found.iter().filter_map(|found| found.warned).collect();
    let count = warned.len();
    say(&format!(
        "{}: n = {RECORDINGS}, alert before the breach: {count}, median {:?} before it",
        kind.as_str(),
        median(warned)
    ));
    assert!(
        count >= 19,
        "{}: warned in {count} of {RECORDINGS}",
        kind.as_str()
    );
    assert_timed(kind, &found);
}

fn assert_timed(kind: FaultKind, found: &[Found]) {
    let predicted = found.iter().filter(|found| found.inside.is_some()).count();
    let inside = found
        .iter()
        .filter(|found| found.inside == Some(true))
        .count();
    say(&format!(
        "{}: n = {RECORDINGS}, predicted half way: {predicted}, truth inside P10 to P90: {inside}",
        kind.as_str()
    ));
    // Eight in ten are promised: fewer is too sure, and all of them too vague.
    assert!(
        (13..=19).contains(&inside),
        "{}: {inside} of {RECORDINGS} inside",
        kind.as_str()
    );
}

fn examine(pipeline: &Pipeline, kind: FaultKind, seed: u64) -> Found {
    let recording = Recording::of_fault(kind, seed, QUIET_SECONDS);
    let outcome = run(pipeline, &recording);
    let [truth] = recording.truth.as_slice() else {
        panic!("one fault per recording")
    };
    let named = outcome
        .verdicts()
        .find(|verdict| verdict.step_end > truth.onset && names_family(verdict, kind))
        .map(|verdict| verdict.step_end.since(truth.onset));
    let raised = |state| matches!(state, AlertState::Open | AlertState::Predicted);
    let alerted = outcome
        .transitions
        .iter()
        .find(|t| raised(t.to) && t.step_end > truth.onset)
        .map(|transition| transition.step_end.since(truth.onset));
    let warned = outcome
        .transitions
        .iter()
        .find(|t| t.to == AlertState::Predicted && t.failure == kind.failure())
        .zip(breach(&outcome, truth))
        .filter(|(warning, breach)| warning.step_end < *breach)
        .map(|(warning, breach)| breach.since(warning.step_end));
    let found = Found {
        named,
        alerted,
        warned,
        inside: inside(&outcome, truth),
    };
    say(&format!("{} {seed}: {found:?}", kind.as_str()));
    found
}

/// Whether one of a verdict's anomalies, the resource's or a metric's own, names a family of the fault.
fn names_family(verdict: &Verdict, kind: FaultKind) -> bool {
    let parts = verdict.parts.iter().map(|part| part.metric.as_str());
    let alone = verdict.series.iter().map(|series| series.metric.as_str());
    let in_family = |metric: &str| {
        kind.families()
            .iter()
            .any(|family| metric.starts_with(family))
    };
    parts.take(PARTS).any(in_family) || alone.take(PARTS).any(in_family)
}

/// When what fails reached the level at which it counts as failed.
fn breach(outcome: &Outcome, truth: &Truth) -> Option<EventTime> {
    let limit = outcome.failures().find(|said| is_about(said, truth))?.limit;
    truth.breach(limit / truth.capacity)
}

fn is_about(failure: &FailurePrediction, truth: &Truth) -> bool {
    Some(failure.failure) == truth.kind.failure()
        && failure.subject == truth.subject
        && failure.state == PredictionState::Open
}

/// Takes the last word that was said in the first half of the way to the breach. A span without an end holds nothing.
fn inside(outcome: &Outcome, truth: &Truth) -> Option<bool> {
    let breach = breach(outcome, truth)?;
    let half_way = truth.onset.plus(breach.since(truth.onset) / 2);
    let said = outcome
        .failures()
        .filter(|said| is_about(said, truth))
        .take_while(|failure| failure.step_end <= half_way)
        .last()?;
    let seconds = breach.since(said.step_end).as_secs_f64();
    let after_p10 = said.p10_seconds.is_some_and(|p10| p10 <= seconds);
    let before_p90 = said.p90_seconds.is_some_and(|p90| seconds <= p90);
    Some(after_p10 && before_p90)
}
