//! What only the metric store inside the process does: closing hours, letting go, and coming back after any end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use forewarn_store::embedded::{Config, EmbeddedMetrics};
use forewarn_store::metrics::{
    Aggregate, LEVELS, Lines, MetricStore as _, Resolution, Span, WriteError,
};
use forewarn_types::ResourceKey;

use crate::metrics::{RAW, now, read, sample};

const FOLDER: &str = "FOREWARN_STORE_TEST_EMBEDDED";
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Where these tests begin: an hour, long enough ago for every level.
const BEGIN: i64 = 470_000 * HOUR;

fn config(folder: &Path) -> Config {
    Config {
        path: folder.join("metrics"),
        ..Config::default()
    }
}

/// A store whose clock is driven.
struct Driven {
    store: EmbeddedMetrics,
    clock: Arc<AtomicI64>,
    web: ResourceKey,
}

impl Driven {
    fn open(config: &Config, at: i64) -> Self {
        let clock = Arc::new(AtomicI64::new(at));
        let shown = Arc::clone(&clock);
        let store = EmbeddedMetrics::open_with_clock(
            config,
            Arc::new(move || shown.load(Ordering::SeqCst)),
        )
        .expect("a folder of our own");
        Self {
            store,
            clock,
            web: ResourceKey::new("web-01"),
        }
    }

    fn at(&self, at: i64) {
        self.clock.store(at, Ordering::SeqCst);
        self.store.tidy().expect("tidied");
    }

    async fn write(&self, points: impl IntoIterator<Item = (i64, f64)>) {
        let mut lines = Lines::default();
        for (at, value) in points {
            sample(&mut lines, &self.web, "m", &[], at, value);
        }
        self.store.write(&lines).await.expect("written");
    }

    async fn points(&self, resolution: Resolution) -> Vec<(i64, f64)> {
        let span = Span {
            start: BEGIN - 400 * DAY,
            stop: BEGIN + 400 * DAY,
        };
        let found = read(&self.store, &self.web, "m", span, resolution).await;
        found
            .into_iter()
            .next()
            .map(|one| one.points)
            .unwrap_or_default()
    }

    async fn levels(&self) -> Vec<Vec<(i64, f64)>> {
        let mut all = Vec::new();
        for level in &LEVELS {
            for aggregate in Aggregate::ALL {
                let resolution = Resolution {
                    level: Some(level),
                    step: None,
                    aggregate,
                };
                all.push(self.points(resolution).await);
            }
        }
        all
    }
}

/// Two and a half hours of a series every ten seconds or so, with a gap.
fn wave() -> BTreeMap<i64, f64> {
    (0..900)
        .filter(|i| !(200..260).contains(i))
        .map(|i| (BEGIN + i * 10_000 + i % 7, (i as f64 / 50.0).sin()))
        .collect()
}

/// The windows of every level as they are defined, the slow way.
fn windows(points: &BTreeMap<i64, f64>) -> Vec<Vec<(i64, f64)>> {
    let mut finer: BTreeMap<i64, [f64; 3]> = points.iter().map(|(at, v)| (*at, [*v; 3])).collect();
    let mut all = Vec::new();
    for level in &LEVELS {
        let mut parts: BTreeMap<i64, Vec<[f64; 3]>> = BTreeMap::new();
        for (at, window) in &finer {
            parts
                .entry(at - at.rem_euclid(level.window))
                .or_default()
                .push(*window);
        }
        finer = parts
            .into_iter()
            .map(|(at, parts)| {
                let mean = parts.iter().map(|part| part[0]).sum::<f64>() / parts.len() as f64;
                let least = parts.iter().map(|part| part[1]).fold(f64::MAX, f64::min);
                let most = parts.iter().map(|part| part[2]).fold(f64::MIN, f64::max);
                (at, [mean, least, most])
            })
            .collect();
        for place in 0..3 {
            all.push(
                finer
                    .iter()
                    .map(|(at, window)| (*at, window[place]))
                    .collect(),
            );
        }
    }
    all
}

#[tokio::test]
async fn closing_changes_nothing_that_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let driven = Driven::open(&config(folder.path()), BEGIN);
    let mut wave = wave();
    driven.write(wave.clone()).await;
    let points = |wave: &BTreeMap<i64, f64>| wave.clone().into_iter().collect::<Vec<_>>();
    for hours in [0, 2, 3, 5] {
        driven.at(BEGIN + hours * HOUR + 20 * 60_000);
        assert_eq!(
            driven.points(RAW).await,
            points(&wave),
            "after {hours} hours"
        );
        assert_eq!(driven.levels().await, windows(&wave), "after {hours} hours");
    }
    // What comes late, or is put right, is worked into closed hours.
    let late = [
        (BEGIN + 2_100_000, 9.0),
        (BEGIN + 5, -9.0),
        (BEGIN + HOUR + 7, 0.5),
    ];
    driven.write(late).await;
    wave.extend(late);
    assert_eq!(driven.points(RAW).await, points(&wave));
    assert_eq!(driven.levels().await, windows(&wave));
    drop(driven);
    let again = Driven::open(&config(folder.path()), BEGIN + 6 * HOUR);
    assert_eq!(again.points(RAW).await, points(&wave));
    assert_eq!(again.levels().await, windows(&wave));
}

#[tokio::test]
async fn what_is_imported_is_as_if_it_had_been_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let driven = Driven::open(&config(folder.path()), BEGIN + HOUR);
    let mut wave = wave();
    let points: Vec<(i64, f64)> = wave.clone().into_iter().collect();
    driven
        .store
        .import("m,resource=web-01", "value", &points)
        .expect("imported");
    driven.store.sync().expect("synced");
    assert_eq!(driven.points(RAW).await, points);
    assert_eq!(driven.levels().await, windows(&wave));
    // Life goes on in an hour that is open.
    let live = [(BEGIN + 3 * HOUR - 5, 4.0), (BEGIN + 3 * HOUR + 5, 5.0)];
    driven.write(live).await;
    wave.extend(live);
    for hours in [1, 3, 5] {
        driven.at(BEGIN + hours * HOUR);
        let points: Vec<(i64, f64)> = wave.clone().into_iter().collect();
        assert_eq!(driven.points(RAW).await, points, "after {hours} hours");
        assert_eq!(driven.levels().await, windows(&wave), "after {hours} hours");
    }
}

#[tokio::test]
async fn what_came_late_into_an_hour_that_is_being_closed_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let driven = Driven::open(&config(folder.path()), BEGIN);
    driven.write([(BEGIN, 1.0), (BEGIN + 1_000, 1.0)]).await;
    drop(driven);
    // At the next start the hour is past, and its rows are still there.
    let driven = Driven::open(&config(folder.path()), BEGIN + 2 * HOUR);
    driven.write([(BEGIN, 2.0)]).await;
    let wanted = [(BEGIN, 2.0), (BEGIN + 1_000, 1.0)];
    assert_eq!(driven.points(RAW).await, wanted);
    driven.at(BEGIN + 2 * HOUR);
    assert_eq!(driven.points(RAW).await, wanted);
}

#[tokio::test]
async fn what_is_too_old_goes_and_its_aggregates_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        retention_10s: Duration::from_secs(30 * 86_400),
        ..config(folder.path())
    };
    let driven = Driven::open(&config, BEGIN);
    driven.write(wave()).await;
    driven.at(BEGIN + 6 * DAY);
    assert_eq!(driven.points(RAW).await.len(), 840);
    driven.at(BEGIN + 9 * DAY);
    assert_eq!(driven.points(RAW).await, []);
    assert_eq!(driven.levels().await, windows(&wave()));
    driven.at(BEGIN + 90 * DAY);
    let levels = driven.levels().await;
    assert!(
        levels[..3].iter().all(Vec::is_empty),
        "of ten seconds there are none"
    );
    assert_eq!(levels[3..], windows(&wave())[3..]);
    driven.at(BEGIN + 3_000 * DAY);
    assert!(driven.levels().await.iter().all(Vec::is_empty));
}

#[tokio::test]
async fn a_second_process_is_told_whose_folder_it_is_and_a_full_disk_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = EmbeddedMetrics::open(&config(folder.path())).expect("a folder of our own");
    let problem = EmbeddedMetrics::open(&config(folder.path())).expect_err("it is taken");
    assert!(
        problem.to_string().contains("belongs to another process"),
        "{problem}"
    );
    drop(first);
    let greedy = Config {
        free_bytes_min: usize::MAX,
        ..config(folder.path())
    };
    let driven = Driven::open(&greedy, BEGIN);
    let mut lines = Lines::default();
    sample(&mut lines, &driven.web, "m", &[], BEGIN, 1.0);
    let refused = driven.store.write(&lines).await;
    match refused {
        Err(WriteError::Later { why, .. }) => assert!(why.contains("make room"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Runs this test binary as a writer that can be killed.
struct Writer(Child);

impl Writer {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "embedded::write_and_tell", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be started");
        Self(child)
    }

    /// The moments that it has been told are written, until `count` of them.
    fn kill_after(mut self, count: usize) -> Vec<i64> {
        let out = self.0.stdout.take().expect("a pipe");
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        let told = lines.filter_map(|line| line.strip_prefix("written ")?.parse().ok());
        let told: Vec<i64> = told.take(count).collect();
        self.0.kill().expect("it runs");
        self.0.wait().expect("it has gone");
        told
    }
}

/// Not a test of its own: what [`Writer`] runs.
#[tokio::test]
async fn write_and_tell() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let store = EmbeddedMetrics::open(&config(Path::new(&folder))).expect("a folder of our own");
    let web = ResourceKey::new("web-01");
    let (begin, mut out) = (now(), std::io::stdout());
    for i in 0.. {
        // An open hour and two closed ones in turn, and series that are new.
        let at = begin + i - [0, 5 * HOUR, 30 * HOUR][i as usize % 3];
        let mut lines = Lines::default();
        sample(
            &mut lines,
            &web,
            "m",
            &[("n", &(i / 50).to_string())],
            at,
            at as f64,
        );
        store.write(&lines).await.expect("written");
        writeln!(out, "written {at}").expect("somebody listens");
    }
}

#[tokio::test]
async fn killed_at_any_moment_it_has_every_point_that_it_said_it_had() {
    let kills = std::env::var("FOREWARN_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    let folder = tempfile::tempdir().expect("a folder");
    let mut told = Vec::new();
    for round in 0..kills.unwrap_or(8_usize) {
        told.extend(Writer::start(folder.path()).kill_after(20 + round * 7 % 90));
    }
    let store = EmbeddedMetrics::open(&config(folder.path())).expect("it opens by itself");
    let span = Span {
        start: now() - 40 * HOUR,
        stop: now() + HOUR,
    };
    let web = ResourceKey::new("web-01");
    let mut found = std::collections::BTreeSet::new();
    let selection = forewarn_store::metrics::Selection {
        resource: web,
        data: forewarn_store::metrics::Data::Samples,
        metric: None,
        tags: Vec::new(),
    };
    let limits = forewarn_store::metrics::SeriesLimits {
        series: 1_000,
        points: 1_000_000,
        time: Duration::from_secs(60),
    };
    for series in store
        .series(&selection, span, RAW, &limits)
        .await
        .expect("readable")
    {
        for (at, value) in series.points {
            assert_eq!(at as f64, value, "a point is what was written");
            found.insert(at);
        }
    }
    let missing: Vec<&i64> = told.iter().filter(|at| !found.contains(at)).collect();
    assert!(
        missing.is_empty(),
        "{} of {} are missing",
        missing.len(),
        told.len()
    );
}
