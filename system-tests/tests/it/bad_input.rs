//! What nobody should send: at the door it is refused with the field and the remedy and the rest is kept; in the log
//! it goes to `dead_letters` with the reason, or pauses its partition; and nothing crashes.

use std::time::Duration;

use anyhow::{Context, ensure};
use forewarn_bus::Log;
use forewarn_messages::{
    ANOMALY_PREDICTIONS, Body, DEAD_LETTERS, DeadLetter, DeadReason, Envelope, Headers,
    PROCESSED_METRICS, SYSTEM_METRICS, Topic,
};
use forewarn_system_tests::probe::{Probe, eventually, lag};
use forewarn_system_tests::{Service, World, push};
use forewarn_testkit::generate::{Fleet, HostSeries};
use forewarn_testkit::reference::read_topic;
use forewarn_types::{EventTime, Src};
use uuid::Uuid;

use crate::one_world_at_a_time;

const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: &str = "[ingestion.host]\nenabled = false\n";

#[test]
fn bad_input_is_refused_or_set_aside_and_nothing_crashes() {
    let _turn = one_world_at_a_time();
    let Some(mut world) = World::new("bad input to the real services", SETTINGS).expect("a world")
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
    world.start_all()?;
    let probe = Probe::new(world)?;
    let mut host = good_host(world)?;
    at_the_door(world)?;
    in_the_log(world, &probe, &mut host)?;
    from_the_future(world, &probe, &mut host)?;
    for process in &mut world.processes {
        ensure!(
            process.is_alive() && process.starts == 1,
            "{} crashed:\n{}",
            process.name(),
            process.tail(3_000)
        );
    }
    Ok(())
}

fn good_host(world: &World) -> anyhow::Result<HostSeries> {
    let fleet = Fleet::drawn(1, 0, 1);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_millis();
    let series = fleet.hosts[0].series(
        1,
        EventTime(i64::try_from(now)? / 1_000 * 1_000 - 3_600_000),
        fleet.interval,
    );
    let mut series = series;
    good(world, &mut series)?;
    Ok(series)
}

/// One good batch, which has to be taken whatever came before it.
fn good(world: &World, host: &mut HostSeries) -> anyhow::Result<()> {
    let batch = host.next().context("series have no end")?;
    let (status, answer) = post(world, serde_json::to_vec(&push::request(&batch))?)?;
    ensure!(
        status == 200 || status == 202,
        "a good batch is refused with {status}: {answer}"
    );
    push::check(&serde_json::from_str(&answer)?, &batch)
}

fn post(world: &World, body: Vec<u8>) -> anyhow::Result<(u16, String)> {
    let url = format!(
        "{}/api/v1/metrics",
        world.url(world.place_of(Service::Ingestion))
    );
    world.runtime.block_on(async {
        let request = world
            .http
            .post(url)
            .header("Content-Type", "application/json")
            .timeout(PATIENCE)
            .body(body);
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    })
}

/// Each request has one bad thing; `words` have to be in the answer. Where a sample beside it is good, it is kept.
fn at_the_door(world: &World) -> anyhow::Result<()> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_millis() as i64;
    let year = 365 * 86_400_000_i64;
    let beside = |bad: &str| {
        format!(
            r#"{{"resource":"web-01","interval":"1s","samples":[{bad},{{"metric":"good.metric","value":1.5}}]}}"#
        )
    };
    let cases: Vec<(&str, String, bool, &[&str])> = vec![
        (
            "cut off",
            r#"{"resource":"web-01","samples":[{"metric":"#.into(),
            false,
            &["line 1"],
        ),
        ("not JSON", "cpu 0.5".into(), false, &["line 1"]),
        (
            "bare NaN",
            beside(r#"{"metric":"a","value":NaN}"#),
            false,
            &["NaN"],
        ),
        (
            "quoted NaN",
            beside(r#"{"metric":"a","value":"NaN"}"#),
            true,
            &["value"],
        ),
        (
            "infinity",
            beside(r#"{"metric":"a","value":1e999}"#),
            true,
            &["value"],
        ),
        (
            "text for a number",
            beside(r#"{"metric":"a","value":"high"}"#),
            true,
            &["value", "number"],
        ),
        (
            "wrong unit",
            beside(r#"{"metric":"system.memory.usage","value":1,"unit":"parsec"}"#),
            true,
            &["unit"],
        ),
        (
            "a year ahead",
            beside(&format!(
                r#"{{"metric":"a","value":1,"time":{}}}"#,
                now + year
            )),
            true,
            &["time"],
        ),
        (
            "a year behind",
            beside(&format!(
                r#"{{"metric":"a","value":1,"time":{}}}"#,
                now - year
            )),
            true,
            &["time"],
        ),
        ("no metric", beside(r#"{"value":1}"#), true, &["metric"]),
        (
            "unknown field",
            beside(r#"{"metric":"a","value":1,"colour":"red"}"#),
            true,
            &["colour"],
        ),
        (
            "no resource",
            r#"{"samples":[{"metric":"a","value":1}]}"#.into(),
            false,
            &["resource"],
        ),
        (
            "no samples",
            r#"{"resource":"web-01","samples":[]}"#.into(),
            false,
            &["samples"],
        ),
    ];
    for (name, body, kept, words) in cases {
        let (status, answer) = post(world, body.into_bytes())?;
        if kept {
            let said: serde_json::Value =
                serde_json::from_str(&answer).with_context(|| format!("{name}: {answer}"))?;
            ensure!(
                said["accepted"] == 1,
                "{name}: the good sample was not kept: {status} {answer}"
            );
        } else {
            ensure!((400..500).contains(&status), "{name}: {status} {answer}");
        }
        for word in words {
            ensure!(answer.contains(word), "{name}: `{word}` is not in {answer}");
        }
    }
    // The server may answer and hang up while the body is still on its way: then the sender sees a broken pipe.
    match post(world, vec![b' '; 100 << 20]) {
        Ok((status, answer)) => ensure!(status == 413, "100 MB: {status} {answer}"),
        Err(error) => ensure!(
            error.downcast_ref::<reqwest::Error>().is_some(),
            "100 MB: {error:#}"
        ),
    }
    Ok(())
}

/// Records that no writer of ours makes, in every topic that somebody reads.
fn in_the_log(world: &World, probe: &Probe, host: &mut HostSeries) -> anyhow::Result<()> {
    let log = probe.log();
    let poison = [
        ("samples", "{\"resource\":7}", DeadReason::Body),
        ("telegram", "{}", DeadReason::UnknownSchema),
    ];
    for (schema, body, _) in poison {
        append(log, &SYSTEM_METRICS, 0, schema, 1, None, body)?;
    }
    let expected: &[(&str, &str, DeadReason)] = &[
        ("stream-processor", SYSTEM_METRICS.name, DeadReason::Body),
        (
            "stream-processor",
            SYSTEM_METRICS.name,
            DeadReason::UnknownSchema,
        ),
        ("predictor", PROCESSED_METRICS.name, DeadReason::Body),
        ("projector", ANOMALY_PREDICTIONS.name, DeadReason::Body),
        ("alerter", ANOMALY_PREDICTIONS.name, DeadReason::Body),
        ("recorder", PROCESSED_METRICS.name, DeadReason::Body),
    ];
    eventually(
        "the poison is in dead_letters with its reason",
        PATIENCE,
        || {
            // A reader drops what is not beyond the last `src`, and a tick may come first: then the next one is poison.
            for (topic, schema) in [
                (&PROCESSED_METRICS, "feature_vector"),
                (&ANOMALY_PREDICTIONS, "verdict"),
            ] {
                let src = next_src(log, topic)?;
                append(log, topic, src.partition, schema, 1, Some(src), "[not JSON")?;
            }
            std::thread::sleep(Duration::from_secs(1));
            let letters = dead_letters(log)?;
            for (stage, topic, reason) in expected {
                let found = letters
                    .iter()
                    .any(|l| l.stage == *stage && l.topic == *topic && l.reason == *reason);
                ensure!(
                    found,
                    "{stage} has set nothing aside from {topic} as {}: {letters:?}",
                    reason.as_str()
                );
            }
            Ok(true)
        },
    )?;
    good(world, host)?;
    goes_on(probe, &[])
}

/// A record of a version that does not exist yet pauses its partition, says so, and harms no other.
fn from_the_future(world: &World, probe: &Probe, host: &mut HostSeries) -> anyhow::Result<()> {
    const PAUSED: u32 = 1;
    append(
        probe.log(),
        &SYSTEM_METRICS,
        PAUSED,
        "samples",
        999,
        None,
        "{}",
    )?;
    let at = world.place_of(Service::StreamProcessor);
    eventually(
        "the stream-processor says that it is too old",
        PATIENCE,
        || {
            let url = format!("{}/ready", world.url(at));
            let answer = world
                .runtime
                .block_on(async { world.http.get(url).send().await?.text().await })?;
            Ok(answer.contains("version 999"))
        },
    )?;
    good(world, host)?;
    goes_on(probe, &[PAUSED])
}

/// Waits until every partition but these has come past where the log is now.
fn goes_on(probe: &Probe, except: &[u32]) -> anyhow::Result<()> {
    let without = |mut reached: Vec<u64>| {
        for partition in except {
            reached[*partition as usize] = 0;
        }
        reached
    };
    let marks = without(probe.roots()?);
    eventually("the other records go on", PATIENCE, || {
        Ok(lag(&marks, &probe.processed()?) == 0 && lag(&marks, &probe.judged()?) == 0)
    })
}

fn append(
    log: &dyn Log,
    topic: &'static Topic,
    partition: u32,
    schema: &str,
    version: u16,
    src: Option<Src>,
    body: &str,
) -> anyhow::Result<()> {
    let headers = Headers {
        schema: schema.to_owned(),
        version,
        id: Uuid::from_u128(7),
        src,
        traceparent: None,
    };
    let envelope = Envelope {
        key: "poison".into(),
        headers,
        body: body.as_bytes().to_vec(),
    };
    let appender = log.appender()?;
    appender.append(topic, Some(partition), None, envelope)?;
    appender.flush(PATIENCE)?;
    Ok(())
}

/// The `src` of the last record of a partition, one sub-index further.
fn next_src(log: &dyn Log, topic: &'static Topic) -> anyhow::Result<Src> {
    for records in read_topic(log, topic)? {
        if let Some(record) = records.last() {
            let pairs = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            let src = Headers::from_pairs(pairs)?
                .src
                .context("a derived record without src")?;
            return Ok(Src {
                sub: src.sub + 1,
                ..src
            });
        }
    }
    anyhow::bail!("topic {} is empty", topic.name)
}

fn dead_letters(log: &dyn Log) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for record in read_topic(log, &DEAD_LETTERS)?.into_iter().flatten() {
        let pairs = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        letters.push(DeadLetter::decode(
            &Headers::from_pairs(pairs)?,
            &record.body,
        )?);
    }
    Ok(letters)
}
