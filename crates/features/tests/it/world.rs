//! A resource whose samples are written by hand, and its vectors as lines of text.

use std::fmt::Write as _;
use std::sync::Arc;

use forewarn_features::{Engine, FeatureSetConfig, FeatureSets, StepRules, Steps};
use forewarn_messages::{BatchSample, FeatureVector, SampleBatch};
use forewarn_types::{EventTime, Kind, LogTime, MetricType, ResourceKey, StepLength, Tags};

/// Metrics `a` and `b` as they come, `c` as a rate of two devices, `m` as the greatest of its series.
pub(crate) const SMALL: &str = r#"
    name = "small"
    version = 1
    kinds = ["custom"]
    [[metrics]]
    name = "a"
    from = "a"
    unit = "1"
    floor = 0.001
    features = ["lag_1", "mean_3", "age"]
    [[metrics]]
    name = "b"
    from = "b"
    unit = "1"
    floor = 0.001
    [[metrics]]
    name = "c"
    from = "c"
    as = "rate"
    unit = "1/s"
    floor = 0.001
"#;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) steps: Option<Steps>,
    pub(crate) set: usize,
    pub(crate) log_time: i64,
    pub(crate) source: &'static str,
    pub(crate) interval: u32,
    pub(crate) features: Vec<&'static str>,
}

impl World {
    pub(crate) fn new(set: &str) -> Self {
        let config: FeatureSetConfig = toml::from_str(set).expect("a set");
        let sets =
            FeatureSets::extended(vec![config]).unwrap_or_else(|errors| panic!("{errors:?}"));
        let set = sets.all().len() - 1;
        Self {
            engine: Engine::new(Arc::new(sets), StepRules::default()),
            steps: None,
            set,
            log_time: 0,
            source: "host",
            interval: 1_000,
            features: vec!["a.value", "b.value"],
        }
    }

    pub(crate) fn batch(&self, samples: &[(&str, i64, f64)]) -> SampleBatch {
        SampleBatch {
            resource: ResourceKey::new("web-01"),
            kind: Kind::Custom,
            source: self.source.into(),
            interval: StepLength::from_millis(self.interval).expect("within range"),
            backfill: false,
            time: EventTime(samples.first().map_or(0, |sample| sample.1)),
            samples: samples
                .iter()
                .map(|(name, time, value)| sample(name, *time, *value))
                .collect(),
        }
    }

    pub(crate) fn apply(&mut self, batch: &SampleBatch) -> Vec<FeatureVector> {
        let engine = &mut self.engine;
        let steps = self
            .steps
            .get_or_insert_with(|| Steps::new(engine, self.set, batch));
        let mut out = Vec::new();
        steps.apply(engine, batch, LogTime(self.log_time), &mut out);
        out
    }

    /// Sends one batch and tells which vectors came of it.
    pub(crate) fn send(&mut self, samples: &[(&str, i64, f64)]) -> String {
        let batch = self.batch(samples);
        let vectors = self.apply(&batch);
        let what: Vec<_> = samples
            .iter()
            .map(|(name, time, value)| format!("{name}@{time}={value}"))
            .collect();
        let mut text = format!("{} ->", what.join(" "));
        for vector in &vectors {
            write!(text, " {}", self.show(vector)).expect("text takes every write");
        }
        text
    }

    pub(crate) fn show(&self, vector: &FeatureVector) -> String {
        let set = &self.engine.sets().all()[self.set];
        let mut text = format!("[{}", vector.step_end);
        if vector.step.millis() != 1_000 {
            write!(text, "/{}", vector.step.millis()).expect("text takes every write");
        }
        for name in &self.features {
            let value = vector.values[set.index_of(name).expect("a feature of the set")];
            let value = value.map_or("-".to_owned(), |value| value.to_string());
            write!(
                text,
                " {}={value}",
                name.strip_suffix(".value").unwrap_or(name)
            )
            .expect("text takes every write");
        }
        if vector.incomplete {
            text.push_str(" incomplete");
        }
        if vector.late > 0 {
            write!(text, " late={}", vector.late).expect("text takes every write");
        }
        text + "]"
    }
}

/// `c{d1}` is metric `c` with the tag `device` = `d1`.
pub(crate) fn sample(name: &str, time: i64, value: f64) -> BatchSample {
    let (metric, device) = name.split_once('{').unwrap_or((name, ""));
    let mut tags = Tags::new();
    if let Some(device) = device.strip_suffix('}') {
        tags.insert("device".into(), device.into());
    }
    BatchSample {
        metric: metric.into(),
        tags,
        metric_type: MetricType::Gauge,
        time: Some(EventTime(time)),
        value,
    }
}
