//! How fast samples become features, on one thread: `cargo bench -p forewarn-features`.
//!
//! First every transform of F1 for 40 metrics over 10,000 steps: a table of numbers in, a table of features out, as for
//! the peers. With `FOREWARN_BENCH_PYTHON` set, `scripts/bench_features.py` computes the same table with pandas and
//! with polars, the last rows are compared, and the ratios are printed. Then the same numbers as samples, through the
//! whole of step closing. Then the time that a batch of the standard host vector takes.

#![allow(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use forewarn_features::{
    Engine, FeatureSet, FeatureSetConfig, FeatureSets, StepRules, Steps, Transforms,
};
use forewarn_messages::{BatchSample, FeatureVector, SampleBatch};
use forewarn_types::{EventTime, Kind, LogTime, MetricType, ResourceKey, StepLength, Tags, metric};

const METRICS: usize = 40;
const STEPS: usize = 10_000;
const RUNS: usize = 7;

const TRANSFORMS: [&str; 27] = [
    "diff",
    "rate_of_change",
    "lag_1",
    "lag_2",
    "lag_3",
    "mean_3",
    "std_3",
    "min_3",
    "max_3",
    "median_3",
    "mean_5",
    "std_5",
    "min_5",
    "max_5",
    "median_5",
    "mean_10",
    "std_10",
    "min_10",
    "max_10",
    "median_10",
    "slope_10",
    "zscore_10",
    "ewma_10",
    "mean_1m",
    "std_1m",
    "min_1m",
    "max_1m",
];

fn main() {
    let table = numbers();
    let (sets, index) = sets();
    let set = &sets.all()[index];
    let features = METRICS * (TRANSFORMS.len() + 1) * STEPS;
    let rate = |time: Duration| features as f64 / time.as_secs_f64() / 1e6;
    let mut out = vec![0.0; set.features.len() * STEPS];
    let python = std::env::var("FOREWARN_BENCH_PYTHON").ok();
    // Turn and turn about, so that a busy machine is as busy for everybody.
    let (mut ours, mut pandas, mut polars) = (Vec::new(), Vec::new(), Vec::new());
    every_transform(set, &table, &mut out);
    for _ in 0..RUNS {
        ours.push(every_transform(set, &table, &mut out));
        if let Some(python) = &python {
            let [of_pandas, of_polars] =
                peers(python, &table, &out[set.features.len() * (STEPS - 1)..]);
            pandas.push(of_pandas);
            polars.push(of_polars);
        }
    }
    let ours = middle(ours);
    println!(
        "features: {METRICS} metrics x {} features x {STEPS} steps in {ours:.1?}: {:.0} M features/s \
         (median of {RUNS}, processor time, one thread)",
        TRANSFORMS.len() + 1,
        rate(ours),
    );
    if python.is_some() {
        let (pandas, polars) = (middle(pandas), middle(polars));
        println!(
            "pandas {:.1} M features/s, polars {:.1} M features/s",
            rate(pandas),
            rate(polars)
        );
        let ratio = |peer: Duration| peer.as_secs_f64() / ours.as_secs_f64();
        println!(
            "features ratio vs pandas {:.1}, vs polars {:.1}",
            ratio(pandas),
            ratio(polars)
        );
    } else {
        println!("left out: pandas and polars (set FOREWARN_BENCH_PYTHON to compare)");
    }
    let closing = median(|| through_closing(&sets, index, &table));
    println!(
        "with step closing, from samples to vectors: {:.0} M features/s, {:.1} M samples/s",
        rate(closing),
        (METRICS * STEPS) as f64 / closing.as_secs_f64() / 1e6,
    );
    for devices in [0, 5, 50] {
        host(devices);
    }
}

/// A reproducible random walk with noise per metric.
fn numbers() -> Vec<[f64; METRICS]> {
    let mut state = 42_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut level = [100.0; METRICS];
    (0..STEPS)
        .map(|_| {
            std::array::from_fn(|metric| {
                level[metric] += uniform() - 0.5;
                level[metric] + 4.0 * uniform()
            })
        })
        .collect()
}

/// The standard sets and one with every transform of every metric; its place among them.
fn sets() -> (Arc<FeatureSets>, usize) {
    let mut text = "name = \"bench\"\nversion = 1\nkinds = [\"custom\"]\n".to_owned();
    for metric in 0..METRICS {
        text += &format!(
            "[[metrics]]\nname = \"m{metric}\"\nfrom = \"m{metric}\"\nunit = \"1\"\nfloor = 0.001\n\
             features = {TRANSFORMS:?}\n"
        );
    }
    let config: FeatureSetConfig = toml::from_str(&text).expect("a valid set");
    let sets = FeatureSets::extended(vec![config]).expect("a valid set");
    let index = sets.all().len() - 1;
    (Arc::new(sets), index)
}

fn every_transform(set: &FeatureSet, table: &[[f64; METRICS]], out: &mut [f64]) -> Duration {
    let begun = processor_time();
    let mut transforms = Transforms::new(set, StepLength::SECOND);
    for ((second, row), out) in (1..)
        .zip(table)
        .zip(out.chunks_exact_mut(set.features.len()))
    {
        for (place, value) in out
            .iter_mut()
            .zip(transforms.push(EventTime(second * 1_000), row))
        {
            *place = value;
        }
    }
    processor_time() - begun
}

fn through_closing(sets: &Arc<FeatureSets>, index: usize, table: &[[f64; METRICS]]) -> Duration {
    let mut engine = Engine::new(Arc::clone(sets), StepRules::default());
    let mut batch = batch(
        (0..METRICS)
            .map(|metric| sample(&format!("m{metric}"), &[]))
            .collect(),
    );
    let mut steps = Steps::new(&mut engine, index, &batch);
    let (mut out, mut made) = (Vec::new(), 0);
    let begun = processor_time();
    for (second, row) in (0..).zip(table) {
        batch.time = EventTime(second * 1_000);
        for (sample, value) in batch.samples.iter_mut().zip(row) {
            sample.value = *value;
        }
        steps.apply(&mut engine, &batch, LogTime(0), &mut out);
        made += out.len();
        out.clear();
    }
    let time = processor_time() - begun;
    assert_eq!(made, STEPS, "every step has its vector");
    time
}

/// The time of a batch of the standard host vector with so many more disks and interfaces.
fn host(devices: usize) {
    let mut samples = vec![
        sample(metric::MEMORY_UTILIZATION, &[]),
        sample(metric::MEMORY_LIMIT, &[]),
        sample(metric::LOAD_1M, &[]),
        sample(metric::CONTEXT_SWITCHES, &[]),
        sample(metric::PAGING_UTILIZATION, &[]),
        sample(metric::PROCESS_COUNT, &[]),
        sample(metric::PROCESS_CREATED, &[]),
        sample(metric::FILE_DESCRIPTOR_COUNT, &[]),
        sample(metric::FILE_DESCRIPTOR_LIMIT, &[]),
    ];
    let each = |name: &str, key: &str, values: &[&str]| -> Vec<BatchSample> {
        values
            .iter()
            .map(|value| sample(name, &[(key, value)]))
            .collect()
    };
    let modes = [
        "user",
        "system",
        "iowait",
        "idle",
        "steal",
        "nice",
        "interrupt",
    ];
    samples.extend(each(metric::CPU_UTILIZATION, "cpu.mode", &modes));
    samples.extend(each(
        metric::MEMORY_USAGE,
        "system.memory.state",
        &["used", "free", "cached", "buffers"],
    ));
    samples.extend(each(
        metric::PAGING_FAULTS,
        "system.paging.fault.type",
        &["minor", "major"],
    ));
    samples.extend(each(
        metric::PRESSURE_STALL_TIME,
        "system.pressure.resource",
        &["cpu", "memory", "io"],
    ));
    let states = ["established", "time_wait", "other"];
    samples.extend(each(
        metric::NETWORK_CONNECTIONS,
        "network.connection.state",
        &states,
    ));
    for device in 0..=devices {
        let disk = ("system.device", format!("sd{device}"));
        let interface = ("network.interface.name", format!("eth{device}"));
        for direction in ["read", "write"] {
            for name in [metric::DISK_IO, metric::DISK_OPERATIONS] {
                samples.push(sample(
                    name,
                    &[(disk.0, &disk.1), ("disk.io.direction", direction)],
                ));
            }
        }
        samples.push(sample(metric::DISK_IO_TIME, &[(disk.0, &disk.1)]));
        for direction in ["receive", "transmit"] {
            for name in [
                metric::NETWORK_IO,
                metric::NETWORK_PACKETS,
                metric::NETWORK_ERRORS,
            ] {
                samples.push(sample(
                    name,
                    &[
                        (interface.0, &interface.1),
                        ("network.io.direction", direction),
                    ],
                ));
            }
        }
    }
    let mut engine = Engine::new(Arc::new(FeatureSets::standard()), StepRules::default());
    let mut batch = batch(samples);
    let mut steps = Steps::new(&mut engine, 0, &batch);
    let mut out: Vec<FeatureVector> = Vec::new();
    let mut second = 0;
    let mut run = || {
        let begun = processor_time();
        for _ in 0..STEPS {
            second += 1;
            batch.time = EventTime(second * 1_000);
            for (place, sample) in (0..).zip(&mut batch.samples) {
                sample.value = f64::from(place) + (second % 97) as f64 * 0.01 + second as f64;
            }
            steps.apply(&mut engine, &batch, LogTime(0), &mut out);
            out.clear();
        }
        processor_time() - begun
    };
    let time = median(&mut run);
    println!(
        "host/1: {} samples in {:.1} us per batch ({:.1} M samples/s), {} bytes of state per series",
        batch.samples.len(),
        time.as_secs_f64() * 1e6 / STEPS as f64,
        (batch.samples.len() * STEPS) as f64 / time.as_secs_f64() / 1e6,
        steps.bytes() / steps.series(),
    );
}

fn sample(name: &str, tags: &[(&str, &str)]) -> BatchSample {
    let tags: Tags = tags
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    BatchSample {
        metric: name.to_owned(),
        tags,
        metric_type: MetricType::Gauge,
        time: None,
        value: 0.0,
    }
}

fn batch(samples: Vec<BatchSample>) -> SampleBatch {
    SampleBatch {
        resource: ResourceKey::new("bench"),
        kind: Kind::Custom,
        source: "host".into(),
        interval: StepLength::SECOND,
        backfill: false,
        time: EventTime(0),
        samples,
    }
}

/// Time that this process has had a processor: what others do on the machine is not in it, for the peers neither.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("time passes forwards");
    Duration::new(
        seconds,
        u32::try_from(time.tv_nsec).expect("less than a second"),
    )
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    middle((0..RUNS).map(|_| run()).collect())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Times of pandas and polars for the same table, after a look whether they computed the same. Each run of theirs has
/// had one before it, to warm up.
fn peers(python: &str, table: &[[f64; METRICS]], last: &[f64]) -> [Duration; 2] {
    let path = std::env::temp_dir().join(format!("forewarn-bench-{}.f64", std::process::id()));
    let mut file = std::fs::File::create(&path).expect("the folder for temporary files takes one");
    let bytes: Vec<u8> = table
        .iter()
        .flatten()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    file.write_all(&bytes)
        .expect("there is room for three megabytes");
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../scripts/bench_features.py"
    );
    let mut command = Command::new(python);
    // One thread against one thread.
    command
        .env("POLARS_MAX_THREADS", "1")
        .env("OMP_NUM_THREADS", "1")
        .arg(script)
        .arg(&path);
    command.args([METRICS.to_string(), "2".to_owned(), TRANSFORMS.join(",")]);
    let output = command
        .output()
        .expect("FOREWARN_BENCH_PYTHON names a Python");
    std::fs::remove_file(&path).ok();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the peers failed: {problem}");
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the script writes JSON");
    ["pandas", "polars"].map(|peer| {
        let found = answer[peer]["last"].as_array().expect("the last row");
        assert_eq!(found.len(), last.len(), "{peer} computes as many features");
        for (place, (theirs, ours)) in found.iter().zip(last).enumerate() {
            let theirs = theirs.as_f64().expect("a number");
            let near = (theirs - ours).abs() <= 1e-6 * theirs.abs().max(1.0);
            assert!(
                near,
                "{peer} differs at feature {place}: {theirs}, not {ours}"
            );
        }
        Duration::from_secs_f64(answer[peer]["seconds"].as_f64().expect("a time"))
    })
}
