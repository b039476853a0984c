//! A model is swapped in while everything runs, and trainer and predictor are killed before, during and after: every
//! verdict equals the reference's that reads the same activations, and no vector is judged twice. Going back is one row;
//! a bundle that is not to be believed changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use forewarn_messages::{ANOMALY_PREDICTIONS, Body, COMMANDS, Command, Prediction, TrainCommand};
use forewarn_system_tests::probe::{Probe, eventually};
use forewarn_system_tests::sender::Senders;
use forewarn_system_tests::{Service, World, exactness, verdict};
use forewarn_testkit::generate::Draw;
use forewarn_testkit::reference::read_topic;
use forewarn_types::EventTime;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{one_world_at_a_time, say};

const PATIENCE: Duration = Duration::from_secs(120);
/// 1,100 steps at the pace below, on a busy machine.
const HISTORY_WITHIN: Duration = Duration::from_secs(300);
/// Between two batches of a host.
const PAUSE: Duration = Duration::from_millis(60);
/// 300 steps of learning, 600 to learn from, and 1,800 to be swapped in: a minute and a half at the pace above.
const STEPS: u64 = 2_700;
/// The hosts on which nothing goes wrong: see `exactness::recording`.
const QUIET: [&str; 2] = ["host-05", "host-06"];
/// A row of `activations` takes effect this soon.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(30);

const SETTINGS: &str = "
[trainer]
least_steps = 600
held_out = 0.5
slice = \"10m\"
";

#[test]
fn models_are_swapped_under_kill_and_every_verdict_equals_the_reference() {
    let _turn = one_world_at_a_time();
    let settings = format!("{}{SETTINGS}", exactness::SETTINGS);
    let Some(mut world) = World::new("models swapped under kill -9", &settings).expect("a world")
    else {
        return;
    };
    if let Err(error) = run(&mut world) {
        panic!("{error:?}\n{}", world.tails());
    }
    world.check_clean().expect("nobody panicked");
    world.clean_up().expect("clean up");
}

fn run(world: &mut World) -> anyhow::Result<()> {
    let seed = exactness::fresh_seed();
    say(&format!("seed {seed}, folder {}", world.folder.display()));
    let mut draw = Draw::new(seed, "instants of models");
    world.start_all()?;
    let trainer = world.add(Service::Trainer)?;
    world.processes[trainer].start()?;
    world.wait_ready(trainer)?;
    let predictor = world.place_of(Service::Predictor);

    let recording = exactness::recording(seed, STEPS);
    let urls = vec![world.url(world.place_of(Service::Ingestion))];
    let ledger = world.folder.join("ledger");
    let senders = Senders::start(
        &world.runtime,
        &world.http,
        urls,
        &recording,
        &ledger,
        PAUSE,
    )?;
    let probe = Probe::new(world)?;
    eventually("there is history to learn from", HISTORY_WITHIN, || {
        world.supervise()?;
        let judged = "SELECT coalesce(min(n), 0)::bigint FROM (SELECT count(*) * 60 AS n FROM resource_minutes \
                      WHERE resource = ANY($1) GROUP BY resource) m";
        Ok(number(world, &probe, judged)? >= 1_080)
    })?;

    // Killed in the middle of a training: nothing has changed.
    for _ in 0..2 {
        order(world, trainer, json!({ "resources": QUIET, "wait": false }))?;
        std::thread::sleep(Duration::from_secs_f64(draw.uniform(0.0, 0.2)));
        world.processes[trainer].kill();
        world.processes[trainer].start()?;
        world.wait_ready(trainer)?;
    }
    // What was ordered is served all the same, by whoever comes next.
    eventually("the orders are served", PATIENCE, || {
        world.supervise()?;
        let waiting = "SELECT count(*) FROM training_orders WHERE state = 'waiting' AND $1::text[] IS NOT NULL";
        Ok(number(world, &probe, waiting)? == 0)
    })?;
    let first = train(world, trainer, &QUIET)?;
    say(&format!("trained: {first}"));
    let halves = "SELECT count(*) FROM model_runs WHERE state = 'candidate' AND resource = ANY($1)";
    ensure!(
        number(world, &probe, halves)? == 0,
        "a killed training is still a candidate"
    );
    let (own, other) = (made_for(&first, QUIET[0])?, made_for(&first, QUIET[1])?);
    let digest = text(&own["digest"])?;
    let from = own["judges_from_ms"]
        .as_i64()
        .context("it judges from some moment on")?;

    let without = judges(&probe, QUIET[0])?;
    // Killed before, during and after the swap.
    for instant in [-3.0, -0.2, 0.3, 3.0] {
        let at = from + (instant * 1_000.0) as i64;
        eventually("the moment of the swap comes", PATIENCE, || {
            let clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint WHERE $1::text[] IS NOT NULL";
            Ok(number(world, &probe, clock)? >= at)
        })?;
        for place in [predictor, trainer] {
            ensure!(world.processes[place].kill(), "{place} was not running");
            world.processes[place].start()?;
        }
        world.wait_ready(predictor)?;
        world.wait_ready(trainer)?;
    }
    eventually("the model judges", PATIENCE, || {
        world.supervise()?;
        Ok(judges(&probe, QUIET[0])? != without)
    })?;

    // A bundle that is not there, one for somebody else, and one that is damaged before anybody has loaded it: refused
    // with the reason, and the last good one goes on.
    let scope = format!("default/{}/host/1", QUIET[0]);
    activate(world, &probe, &scope, Some(&"0".repeat(64)))?;
    activate(world, &probe, &scope, Some(&text(&other["digest"])?))?;
    world.processes[predictor].kill();
    let second = command(world, &probe, &QUIET[1..])?;
    damage(world, &second)?;
    world.processes[predictor].start()?;
    world.wait_ready(predictor)?;
    eventually("the bad bundles are refused", PATIENCE, || {
        world.supervise()?;
        let refused =
            "SELECT count(*) FROM activations WHERE refusal IS NOT NULL AND $1::text[] IS NOT NULL";
        Ok(number(world, &probe, refused)? == 3)
    })?;

    // Going back is one row.
    let with = judges(&probe, QUIET[0])?;
    let asked = Instant::now();
    activate(world, &probe, &scope, None)?;
    eventually("the rollback takes effect", EFFECTIVE_WITHIN, || {
        world.supervise()?;
        Ok(judges(&probe, QUIET[0])? == without)
    })?;
    say(&format!(
        "one row took effect after {:.1?}",
        asked.elapsed()
    ));
    activate(world, &probe, &scope, Some(&digest))?;
    eventually("the model judges again", EFFECTIVE_WITHIN, || {
        world.supervise()?;
        Ok(judges(&probe, QUIET[0])? == with)
    })?;

    ensure!(
        senders.are_busy(),
        "the senders were done before the last swap"
    );
    senders.finish(&world.runtime, PATIENCE)?;
    let verdict = verdict::reach(world, &probe, &recording, &ledger, PATIENCE)?;
    say(&verdict.to_string());
    ensure!(verdict.is_clean(), "seed {seed}:\n{verdict}");
    judged_once(&probe, QUIET[0])
}

/// The verdicts on a resource, in the order of the log: end of the step, and the model set that judged it.
fn verdicts(probe: &Probe, resource: &str) -> anyhow::Result<Vec<(EventTime, String)>> {
    let mut verdicts = Vec::new();
    for record in read_topic(probe.log(), &ANOMALY_PREDICTIONS)?
        .iter()
        .flatten()
    {
        let headers = record
            .headers()
            .map_err(|_| anyhow::anyhow!("headers of a stage"))?;
        if let Ok(Prediction::Verdict(found)) = Prediction::decode(&headers, &record.body)
            && found.resource.resource == resource
        {
            verdicts.push((found.step_end, found.model_set));
        }
    }
    Ok(verdicts)
}

/// Which model set judges a resource, by its newest verdict.
fn judges(probe: &Probe, resource: &str) -> anyhow::Result<String> {
    let newest = verdicts(probe, resource)?.pop();
    Ok(newest.context("no verdict yet")?.1)
}

/// Every vector of a resource has one verdict, under whatever models, and more than one model set has judged.
fn judged_once(probe: &Probe, resource: &str) -> anyhow::Result<()> {
    let mut by_step: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    let mut sets = Vec::new();
    for (step_end, model_set) in verdicts(probe, resource)? {
        if sets.last() != Some(&model_set) {
            sets.push(model_set.clone());
        }
        by_step.entry(step_end).or_default().insert(model_set);
    }
    let twice = by_step.values().filter(|sets| sets.len() > 1).count();
    say(&format!(
        "{resource}: {} vectors, {twice} of them judged twice, {} changes of the model set",
        by_step.len(),
        sets.len().saturating_sub(1)
    ));
    ensure!(
        twice == 0,
        "{twice} vectors were judged by more than one model set"
    );
    ensure!(
        sets.len() >= 4,
        "without, with, without and with a model: {sets:?}"
    );
    Ok(())
}

fn order(world: &World, trainer: usize, body: Value) -> anyhow::Result<Value> {
    let url = format!("{}/train", world.url(trainer));
    world.runtime.block_on(async {
        let answer = world
            .http
            .post(url)
            .timeout(PATIENCE)
            .json(&body)
            .send()
            .await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {text}");
        Ok(serde_json::from_str(&text)?)
    })
}

fn train(world: &World, trainer: usize, whom: &[&str]) -> anyhow::Result<Value> {
    let summary = order(world, trainer, json!({ "resources": whom }))?;
    let trainings = summary["trainings"].as_array().context("trainings")?;
    ensure!(trainings.len() == whom.len(), "{summary}");
    for training in trainings {
        ensure!(training["state"] == "champion", "{training}");
    }
    Ok(summary)
}

/// What became of one resource; trainings come in the order of turns.
fn made_for<'a>(summary: &'a Value, resource: &str) -> anyhow::Result<&'a Value> {
    let mut trainings = summary["trainings"].as_array().into_iter().flatten();
    trainings
        .find(|training| training["resource"] == resource)
        .context("a training of each")
}

/// Orders a training through the log, and waits for its model.
fn command(world: &World, probe: &Probe, whom: &[&str]) -> anyhow::Result<String> {
    let command = TrainCommand {
        command_id: Uuid::new_v4(),
        tenant: "default".into(),
        actor: "system test".into(),
        resources: Some(whom.iter().map(|name| (*name).to_owned()).collect()),
        since_ms: None,
    };
    let id = command.command_id;
    let appender = probe.log().appender()?;
    let envelope = Command::Train(command).seal(None, None);
    // Twice, as by an asker who did not see the first answer.
    for _ in 0..2 {
        appender.append(&COMMANDS, None, None, envelope.clone())?;
    }
    appender.flush(PATIENCE)?;
    let done = format!(
        "SELECT count(*) FROM training_orders WHERE command_id = '{id}' AND state = 'done' AND $1::text[] IS NOT NULL"
    );
    eventually("the command is obeyed", PATIENCE, || {
        Ok(number(world, probe, &done)? == 1)
    })?;
    let made = format!(
        "SELECT count(*) FROM model_runs WHERE command_id = '{id}' AND resource = ANY($1) AND state = 'champion'"
    );
    ensure!(
        number(world, probe, &made)? == 1,
        "one command, one training, one model"
    );
    world.runtime.block_on(async {
        let session = probe.postgres().session().await?;
        let made = "SELECT digest FROM model_runs WHERE command_id = $1";
        let digest = session.query_one(made, &[&id]).await?.get(0);
        session.give_back();
        Ok(digest)
    })
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().context("a text")?.to_owned())
}

/// Flips a bit of the bundle's artefact where it lies.
fn damage(world: &World, digest: &str) -> anyhow::Result<()> {
    let manifest = world.runtime.block_on(world.shelf()?.manifest(digest))?;
    let name = manifest.artefact.digest;
    let file = world.models_path().join(&name[..2]).join(&name);
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(&file, bytes)?)
}

fn activate(world: &World, probe: &Probe, scope: &str, digest: Option<&str>) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let session = probe.postgres().session().await?;
        // As a person would type it.
        session
            .execute(
                "INSERT INTO activations (scope, digest) VALUES ($1, $2)",
                &[&scope, &digest],
            )
            .await?;
        session.give_back();
        Ok(())
    })
}

/// The one number that a query gives; its parameter is the quiet hosts.
fn number(world: &World, probe: &Probe, query: &str) -> anyhow::Result<i64> {
    world.runtime.block_on(async {
        let session = probe.postgres().session().await?;
        let number = session.query_one(query, &[&&QUIET[..]]).await?.get(0);
        session.give_back();
        Ok(number)
    })
}
