//! What it costs to train a model for one resource: a day of 1-s steps of the standard host vector.

use std::time::Instant;

use anyhow::Context;
use forewarn_detect::training::{History, Settings, train};
use forewarn_detect::{AlarmBudget, columns_of};
use forewarn_features::FeatureSets;
use forewarn_judge::metrics_of;
use forewarn_models::ForestSettings;
use forewarn_testkit::generate::Draw;
use forewarn_types::{EventTime, Kind, StepLength};

use crate::report::quantile;

const STEPS: i64 = 86_400;
const RUNS: usize = 5;

/// Trains on seeded noise, a few times.
pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    let sets = FeatureSets::standard();
    let set = sets
        .for_kind(Kind::Server)
        .next()
        .context("servers have a feature set")?;
    let metrics = metrics_of(set);
    let mut draw = Draw::new(1, "training");
    let mut history = History::new(metrics.len());
    for step in 1..=STEPS {
        let values: Vec<f32> = metrics
            .iter()
            .map(|metric| (metric.floor * draw.uniform(5.0, 10.0)) as f32)
            .collect();
        history.push(EventTime(step * 1_000), &values);
    }
    let settings = Settings {
        forest: ForestSettings::default(),
        detector: forewarn_detect::Settings {
            budget: AlarmBudget::DEFAULT,
            consecutive: 8,
            learning_steps: 900,
        },
        held_out: 0.3,
        quarantine: true,
        least_steps: 7_200,
    };
    let before = resident()?;
    // From here on the peak is this benchmark's.
    std::fs::write("/proc/self/clear_refs", "5").context("reset the peak of memory")?;
    let mut seconds = Vec::new();
    let mut bytes = 0;
    for _ in 0..RUNS {
        let begun = Instant::now();
        let trained = train(&history, &metrics, StepLength::SECOND, &[], &settings)?;
        seconds.push(begun.elapsed().as_secs_f64());
        bytes = trained.model.forest.bytes();
    }
    seconds.sort_by(f64::total_cmp);
    let peak = status("VmHWM")?.saturating_sub(before);
    Ok(vec![format!(
        "training: 24 h of 1-s steps, {} metrics ({} columns), quarantine, forest, calibration and trial in {:.2} s \
         (median of {RUNS}, one thread), {} MB of memory at the peak; the forest takes {} KB",
        metrics.len(),
        columns_of(metrics.len()),
        quantile(&seconds, 0.5),
        peak / 1_024,
        bytes / 1_024,
    )])
}

fn resident() -> anyhow::Result<u64> {
    status("VmRSS")
}

/// A figure of this process in KiB.
fn status(name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = line.and_then(|rest| rest.split_whitespace().next());
    figure
        .and_then(|figure| figure.parse().ok())
        .with_context(|| format!("/proc/self/status has no {name}"))
}
