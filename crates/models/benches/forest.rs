//! How fast the isolation forest is, on one thread: `cargo bench -p forewarn-models`.
//!
//! 100 trees of 256 rows: scores of 50,000 rows, of one row at a time, and growing. With
//! `FOREWARN_BENCH_PYTHON` set, scikit-learn does the same on the same rows, turn and turn about, so that a busy machine
//! is as busy for both. Scoring is compared on the very same trees: scikit-learn grows them, we take them over, and a
//! thousand scores have to agree before any time is printed.

#![allow(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use forewarn_models::forest::{Forest, Given, Settings, Tree};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const ROWS: usize = 50_000;
const SINGLES: usize = 5_000;
/// A week of minutes: what a forest is commonly grown on.
const WEEK: usize = 7 * 24 * 60;
const RUNS: usize = 7;

fn main() {
    println!(
        "100 trees x 256; scores of {ROWS} rows, fit on {WEEK} (a week of minutes) and on all; one thread each \
         (scikit-learn: n_jobs=1), processor time, medians of {RUNS}, turn and turn about"
    );
    let python = std::env::var("FOREWARN_BENCH_PYTHON")
        .ok()
        .filter(|path| !path.is_empty());
    if python.is_none() {
        println!("left out: scikit-learn (set FOREWARN_BENCH_PYTHON to compare)");
    }
    for (columns, suffix) in [(43, ""), (84, "_84")] {
        let rows = table(columns);
        let peer = python
            .as_deref()
            .map(|python| Peer::start(python, &rows, columns));
        measure(&rows, columns, suffix, peer);
    }
    askew();
}

/// A reproducible random walk with noise per column, with a burst now and then.
fn table(columns: usize) -> Vec<f32> {
    let mut state = 42_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut level = vec![100.0; columns];
    let mut rows = Vec::with_capacity(ROWS * columns);
    for _ in 0..ROWS {
        let burst = if uniform() < 0.002 { 20.0 } else { 0.0 };
        for level in &mut level {
            *level += 0.1 * (uniform() - 0.5);
            let noise = uniform() + uniform() + uniform() - 1.5;
            rows.push((*level + 4.0 * noise + burst * uniform()) as f32);
        }
    }
    rows
}

#[derive(Default)]
struct Times {
    bulk: Vec<Duration>,
    single: Vec<Duration>,
    fit: Vec<Duration>,
    fit_week: Vec<Duration>,
}

fn measure(rows: &[f32], columns: usize, suffix: &str, mut peer: Option<Peer>) {
    let settings = Settings::default();
    let own = Forest::fit(rows, columns, settings).expect("rows to grow on");
    let about = peer.as_mut().map(|peer| peer.ask::<About>("about"));
    let forest = about
        .as_ref()
        .map_or_else(|| own.clone(), |about| about.forest(rows, columns));

    let (mut ours, mut theirs, mut of_own) = (Times::default(), Times::default(), Vec::new());
    for _ in 0..RUNS {
        ours.bulk.push(timed(|| forest.scores(rows)));
        of_own.push(timed(|| own.scores(rows)));
        let singles = timed(|| {
            let singles = rows.chunks_exact(columns).take(SINGLES);
            singles.map(|row| forest.score(black_box(row))).sum::<f64>()
        });
        ours.single.push(singles / SINGLES as u32);
        ours.fit
            .push(timed(|| Forest::fit(rows, columns, settings)));
        let week = &rows[..WEEK * columns];
        ours.fit_week
            .push(timed(|| Forest::fit(week, columns, settings)));
        if let Some(peer) = &mut peer {
            theirs.bulk.push(peer.time("bulk"));
            theirs.single.push(peer.time("single"));
            theirs.fit.push(peer.time("fit"));
            theirs.fit_week.push(peer.time("fit_week"));
        }
    }

    let rate = |time: Duration| format!("{:.2} M rows/s", ROWS as f64 / time.as_secs_f64() / 1e6);
    let micros = |time: Duration| format!("{:.2} us per row", time.as_secs_f64() * 1e6);
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let whose = about.map_or_else(String::new, |about| {
        format!("scikit-learn {}", about.version)
    });
    let line = |what: &str,
                ours: Vec<Duration>,
                theirs: Vec<Duration>,
                show: &dyn Fn(Duration) -> String| {
        let ours = middle(ours);
        if theirs.is_empty() {
            println!(
                "isolation_forest_{what}{suffix}: {columns} columns: {}",
                show(ours)
            );
            return;
        }
        let theirs = middle(theirs);
        println!(
            "isolation_forest_{what}{suffix} ratio {:.1} ({columns} columns: {}, {whose} {})",
            theirs.as_secs_f64() / ours.as_secs_f64(),
            show(ours),
            show(theirs)
        );
    };
    line("score_bulk", ours.bulk, theirs.bulk, &rate);
    line("score_single", ours.single, theirs.single, &micros);
    line("fit", ours.fit_week, theirs.fit_week, &millis);
    line("fit_of_all_rows", ours.fit, theirs.fit, &millis);
    let stored = postcard::to_stdvec(&own).expect("plain data").len();
    println!(
        "a forest of our own, {columns} columns: {}, {} bytes in memory, {stored} bytes stored",
        rate(middle(of_own)),
        own.bytes()
    );
}

/// What askew cuts cost: along 2 columns, and along all.
fn askew() {
    let columns = 43;
    let rows = table(columns);
    for extension in [1, 42] {
        let settings = Settings {
            extension,
            ..Settings::default()
        };
        let forest = Forest::fit(&rows, columns, settings).expect("rows to grow on");
        let fit = middle(
            (0..RUNS)
                .map(|_| timed(|| Forest::fit(&rows, columns, settings)))
                .collect(),
        );
        let bulk = middle((0..RUNS).map(|_| timed(|| forest.scores(&rows))).collect());
        println!(
            "askew, along {} of {columns} columns: {:.2} M rows/s, grown in {:.1} ms",
            extension + 1,
            ROWS as f64 / bulk.as_secs_f64() / 1e6,
            fit.as_secs_f64() * 1e3
        );
    }
}

/// scikit-learn, which waits for commands. Each goes to a process that has done the same before, to warm up.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, rows: &[f32], columns: usize) -> Self {
        let path = std::env::temp_dir().join(format!("forewarn-bench-{}.f32", std::process::id()));
        let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(&path, bytes).expect("the folder for temporary files takes some megabytes");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/bench_forest.py");
        let mut peer = Self::spawn(python, script, &path, columns);
        // It has read the rows when it has an answer.
        peer.time("bulk");
        std::fs::remove_file(&path).ok();
        peer
    }

    fn spawn(python: &str, script: &str, path: &Path, columns: usize) -> Self {
        let mut child = Command::new(python)
            .env("OMP_NUM_THREADS", "1")
            .args([script.as_ref(), path.as_os_str()])
            .arg(columns.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("FOREWARN_BENCH_PYTHON names a Python");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            input,
            output,
        }
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> T {
        writeln!(self.input, "{command}").expect("scikit-learn listens");
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("scikit-learn answers");
        serde_json::from_str(&line).expect("the peer has the packages of scripts/requirements.txt")
    }

    fn time(&mut self, command: &str) -> Duration {
        Duration::from_secs_f64(self.ask(command))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[derive(Deserialize)]
struct About {
    version: String,
    trees: Vec<Nodes>,
    scores: Vec<f64>,
}

/// A tree of scikit-learn. Children of a leaf are -1.
#[derive(Deserialize)]
struct Nodes {
    left: Vec<i64>,
    right: Vec<i64>,
    column: Vec<i64>,
    threshold: Vec<f64>,
    rows: Vec<usize>,
}

impl About {
    /// Their forest, after a look whether it scores as theirs does.
    fn forest(&self, rows: &[f32], columns: usize) -> Forest {
        let trees = self.trees.iter().map(Nodes::tree).collect();
        let forest = Forest::from_trees(vec![0.0; columns], 256, trees).expect("a forest");
        for (row, score) in rows.chunks_exact(columns).zip(&self.scores) {
            let found = forest.score(row);
            assert!((found - score).abs() <= 1e-8, "{found} is not {score}");
        }
        forest
    }
}

impl Nodes {
    fn tree(&self) -> Tree {
        let node = |at: usize| match self.left[at] {
            -1 => Given::Leaf {
                rows: self.rows[at],
            },
            left => Given::Cut {
                column: self.column[at] as usize,
                threshold: self.threshold[at],
                left: left as usize,
                right: self.right[at] as usize,
            },
        };
        let nodes: Vec<Given> = (0..self.left.len()).map(node).collect();
        Tree::from_nodes(&nodes).expect("scikit-learn grows trees")
    }
}

/// The processor time of this process that something takes: what others do on the machine is not in it.
fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let begun = processor_time();
    black_box(run());
    processor_time() - begun
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("time passes forwards");
    Duration::new(
        seconds,
        u32::try_from(time.tv_nsec).expect("less than a second"),
    )
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
