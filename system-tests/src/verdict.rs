//! The judge's word at the end of a run: every store against the reference.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use forewarn_judge::models::Table;
use forewarn_messages::{ANOMALY_PREDICTIONS, PROCESSED_METRICS, SampleBatch};
use forewarn_store::activations;
use forewarn_store::ledger::sql;
use forewarn_store::metrics::Span;
use forewarn_testkit::generate::Recording;
use forewarn_testkit::judge::{self, LoggedSamples, Points, Report};
use forewarn_testkit::ledger;
use forewarn_testkit::reference::{Outcome, Pipeline, Roots, read_topic};

use crate::probe::{Probe, eventually};
use crate::{STOP_LIMIT, Service, World, sender};

/// What was found, store by store.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The differences.
    pub report: Report,
    /// Records that stages appended a second time after a crash.
    pub repetitions: u64,
    /// Samples in the log, each counted once.
    pub samples: u64,
    /// What the reference derived, so that a run in which nothing happened does not pass for one that went well.
    pub content: Content,
}

/// How much of what matters was in the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Feature vectors.
    pub vectors: u64,
    /// Anomalous steps.
    pub anomalies: u64,
    /// Failure predictions.
    pub predictions: u64,
    /// Transitions of alerts.
    pub transitions: u64,
}

impl Verdict {
    /// Whether every store equals the reference.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.report.is_clean()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Content {
            vectors,
            anomalies,
            predictions,
            transitions,
        } = self.content;
        writeln!(
            f,
            "{} samples, {vectors} vectors, {anomalies} anomalous steps, {predictions} failure predictions, {transitions} alert transitions",
            self.samples
        )?;
        writeln!(
            f,
            "{} records were appended again after a crash",
            self.repetitions
        )?;
        write!(f, "compared with the reference:\n{}", self.report)
    }
}

/// Waits until everything is done, ends the log by stopping ingestion, and compares every store with the reference.
///
/// # Errors
/// When the system does not come to rest within `patience`, or a store cannot be read.
pub fn reach(
    world: &mut World,
    probe: &Probe,
    recording: &Recording,
    ledger_path: &Path,
    patience: Duration,
) -> anyhow::Result<Verdict> {
    let pipeline = pipeline(world, probe)?;
    // Everything that the samples cause is derived once the stages have come past the last of them; ticks carry them on.
    let marks = probe.roots()?;
    eventually(
        "the stages come to the end of the samples",
        patience,
        || {
            world.supervise()?;
            Ok(crate::probe::lag(&marks, &probe.processed()?) == 0
                && crate::probe::lag(&marks, &probe.judged()?) == 0)
        },
    )?;
    // The recorder lives in ingestion, so InfluxDB comes first.
    let wanted = pipeline
        .run(Roots::of_log(probe.log())?)?
        .points(pipeline.sets());
    let mut report = influxdb(world, &wanted, patience)?;
    for at in 0..world.processes.len() {
        if world.processes[at].service == Service::Ingestion {
            world.processes[at].stop(STOP_LIMIT)?;
        }
    }
    // From here on the log is what it is.
    let ends = probe.roots()?;
    eventually("the stages come to the end of the log", patience, || {
        world.supervise()?;
        Ok(probe.processed()? == ends && probe.judged()? == ends)
    })?;
    let mut verdict = at_rest(world, probe, recording, ledger_path, patience)?;
    report.add(std::mem::take(&mut verdict.report));
    verdict.report = report;
    Ok(verdict)
}

/// Compares log and ledger with the reference, when nobody appends any more.
///
/// # Errors
/// When a store cannot be read, or the stages have not come to the end of the log.
pub fn at_rest(
    world: &mut World,
    probe: &Probe,
    recording: &Recording,
    ledger_path: &Path,
    patience: Duration,
) -> anyhow::Result<Verdict> {
    let ends = probe.roots()?;
    for (who, reached) in [
        ("stream-processor", probe.processed()?),
        ("predictor", probe.judged()?),
    ] {
        anyhow::ensure!(reached == ends, "{who} stands at {reached:?} of {ends:?}");
    }
    let mut report = Report::default();
    // A model may have been refused until now.
    let pipeline = self::pipeline(world, probe)?;
    let roots = Roots::of_log(probe.log())?;
    let logged = LoggedSamples::of(&roots);
    let expected = pipeline.run_with(
        roots,
        world.runtime.block_on(judge::decisions(probe.postgres()))?,
    )?;
    report.add(acknowledged(recording, &logged, ledger_path)?);
    let mut verdict = Verdict {
        samples: logged.len() as u64,
        content: content(&expected),
        ..Verdict::default()
    };
    for (topic, replays) in [
        (&PROCESSED_METRICS, &expected.processed),
        (&ANOMALY_PREDICTIONS, &expected.judged),
    ] {
        for ((records, replay), end) in read_topic(probe.log(), topic)?
            .iter()
            .zip(replays)
            .zip(&ends)
        {
            let (found, repetitions) = judge::topic_partition(&replay.derived, records, *end);
            report.add(found);
            verdict.repetitions += repetitions;
        }
    }
    report.add(postgres(world, probe, &expected, patience)?);
    verdict.report = report;
    Ok(verdict)
}

/// The reference with the activations as they are, and their models.
///
/// # Errors
/// When the ledger or a model cannot be read.
pub fn pipeline(world: &World, probe: &Probe) -> anyhow::Result<Pipeline> {
    let pipeline = Pipeline::from_settings(&mut world.settings()?)?;
    let shelf = world.shelf()?;
    let table = world.runtime.block_on(async {
        let session = probe.postgres().session().await?;
        let reading = activations::read(&*session, 0).await?;
        session.give_back();
        let activations = reading.rows.into_iter().collect();
        Table::load(activations, &shelf, pipeline.sets()).await
    })?;
    Ok(pipeline.with_models(Arc::new(table)))
}

fn content(expected: &Outcome) -> Content {
    Content {
        vectors: expected.vectors().count() as u64,
        anomalies: expected
            .verdicts()
            .filter(|verdict| verdict.is_anomaly())
            .count() as u64,
        predictions: expected
            .failures()
            .map(|failure| failure.prediction_id())
            .collect::<std::collections::BTreeSet<_>>()
            .len() as u64,
        transitions: expected.transitions.len() as u64,
    }
}

fn acknowledged(
    recording: &Recording,
    logged: &LoggedSamples,
    path: &Path,
) -> anyhow::Result<Report> {
    let hosts = sender::by_host(recording);
    let sent: Vec<(String, Vec<&SampleBatch>)> = hosts
        .iter()
        .map(|(host, batches)| {
            (
                host.clone(),
                batches.iter().map(|sent| &sent.batch).collect(),
            )
        })
        .collect();
    let ranges: BTreeMap<_, _> = ledger::read(path).context("read the ledger")?;
    Ok(logged.hold(&sent, &ranges))
}

/// Reads InfluxDB until it holds what it must, or patience ends; the last comparison counts.
///
/// # Errors
/// When InfluxDB cannot be asked, or nothing is wanted.
pub fn influxdb(world: &mut World, wanted: &Points, patience: Duration) -> anyhow::Result<Report> {
    let store = world.influxdb()?;
    let (first, last) = wanted.span().context("the reference has no points")?;
    let mut report = Report::default();
    // A difference at the deadline is reported as what it is.
    let _ = eventually("InfluxDB holds what it must", patience, || {
        world.supervise()?;
        let mut found = Points::default();
        let span = Span {
            start: first - 60_000,
            stop: last + 60_000,
        };
        world
            .runtime
            .block_on(store.all_points(&store.raw_bucket(), span, &mut |point| found.add(point)))?;
        report = judge::points(wanted, &found);
        Ok(report.is_clean())
    });
    Ok(report)
}

/// As [`influxdb`], for the store inside the process, which is at rest. It keeps numbers only.
///
/// # Errors
/// When it cannot be read.
pub fn embedded_metrics(world: &World, mut wanted: Points) -> anyhow::Result<Report> {
    wanted.drop_texts();
    let mut found = Points::default();
    let store = world.embedded_metrics()?;
    store.all_points(&mut |point| found.add(point))?;
    Ok(judge::points(&wanted, &found))
}

/// As [`influxdb`], for the tables of the projector and of the alerter.
fn postgres(
    world: &mut World,
    probe: &Probe,
    expected: &Outcome,
    patience: Duration,
) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let (rows, transitions) = (
        expected.ledger().canonical(),
        judge::expected_alerts(&expected.transitions, &expected.answers),
    );
    let _ = eventually("PostgreSQL holds what it must", patience, || {
        world.supervise()?;
        report = world.runtime.block_on(async {
            let mut session = probe.postgres().session().await?;
            // Nothing is written: the transaction is rolled back when it goes out of scope.
            let found = sql::dump(&session.begin().await?).await?;
            let mut report = judge::lines(&rows, &found.canonical());
            report.add(judge::lines(
                &transitions,
                &judge::dump_alerts(&session).await?,
            ));
            report.add(world.receiver.compare(&session).await?);
            session.give_back();
            anyhow::Ok(report)
        })?;
        Ok(report.is_clean())
    });
    Ok(report)
}
