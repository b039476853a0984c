//! The known feature sets: the compiled-in ones and those from the settings, checked all at once.

use std::collections::BTreeMap;

use forewarn_types::{Kind, StepLength, metric};

use crate::calendar::Calendar;
use crate::definition::{
    FeatureDef, FeatureSet, FeatureSetConfig, FeatureSource, LimitConfig, LimitDef, MetricConfig,
    MetricDef, Operand, OperandConfig, TagFilter, TagRule,
};
use crate::transform::{Temporal, Transform, parse_span};

const HOST: &str = include_str!("../sets/host.toml");
const APPLICATION: &str = include_str!("../sets/application.toml");
const DATABASE: &str = include_str!("../sets/database.toml");

/// More metrics than this in one set is a mistake rather than a wish.
const METRICS_MAX: usize = 500;
/// More features than this do not fit a model, nor a message.
const FEATURES_MAX: usize = 4_000;
/// Subjects (mount points, pools) are not counted here: each limit covers all of its own.
const LIMITS_MAX: usize = 100;

/// A mistake in a feature set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SetError {
    /// The key: `feature_sets[0].metrics[2].features[1]`.
    pub path: String,
    /// What is wrong, and the remedy.
    pub problem: String,
}

/// As settings want to hear it.
impl From<SetError> for (String, String) {
    fn from(error: SetError) -> Self {
        (error.path, error.problem)
    }
}

/// All feature sets that are in force.
#[derive(Clone, Debug)]
pub struct FeatureSets {
    sets: Vec<FeatureSet>,
    digest: String,
}

impl Default for FeatureSets {
    fn default() -> Self {
        Self::standard()
    }
}

impl FeatureSets {
    /// The compiled-in sets: `host/1`, `application/1`, `database/1`.
    ///
    /// # Panics
    /// Never: a test reads them.
    #[must_use]
    pub fn standard() -> Self {
        Self::from_configs(&standard_configs(), |_| "standard".to_owned())
            .expect("the compiled-in sets are valid")
    }

    /// The compiled-in sets and the user's own.
    ///
    /// # Errors
    /// Every mistake in them, each with its path.
    pub fn extended(own: Vec<FeatureSetConfig>) -> Result<Self, Vec<SetError>> {
        let mut all = standard_configs();
        let standard = all.len();
        all.extend(own);
        Self::from_configs(&all, |index| match index.checked_sub(standard) {
            Some(own) => format!("feature_sets[{own}]"),
            None => "standard".to_owned(),
        })
    }

    fn from_configs(
        configs: &[FeatureSetConfig],
        path: impl Fn(usize) -> String,
    ) -> Result<Self, Vec<SetError>> {
        let mut errors = Vec::new();
        let mut sets: Vec<FeatureSet> = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            let mut check = Check {
                path: path(index),
                errors: &mut errors,
            };
            let set = check.set(config);
            if sets.iter().any(|known| known.id == set.id) {
                check.error(
                    "name",
                    format!(
                        "feature set `{}` exists already, raise its version or rename it",
                        set.id
                    ),
                );
            }
            sets.push(set);
        }
        if errors.is_empty() {
            Ok(Self {
                sets,
                digest: digest(configs),
            })
        } else {
            Err(errors)
        }
    }

    /// The set with this id (`host/1`).
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&FeatureSet> {
        self.sets.iter().find(|set| set.id == id)
    }

    /// The sets that describe this kind of resource, in the order of their definition.
    pub fn for_kind(&self, kind: Kind) -> impl Iterator<Item = &FeatureSet> {
        self.sets.iter().filter(move |set| set.describes(kind))
    }

    /// All sets in the order of their definition.
    #[must_use]
    pub fn all(&self) -> &[FeatureSet] {
        &self.sets
    }

    /// Tells whether two programs mean the same by their features: a digest of all definitions.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn standard_configs() -> Vec<FeatureSetConfig> {
    [HOST, APPLICATION, DATABASE]
        .iter()
        .map(|text| toml::from_str(text).expect("a test reads them"))
        .collect()
}

fn digest(configs: &[FeatureSetConfig]) -> String {
    let text = serde_json::to_string(configs).expect("definitions are plain data");
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// Turns one set into what the code trusts, and collects what is wrong with it.
struct Check<'a> {
    path: String,
    errors: &'a mut Vec<SetError>,
}

impl Check<'_> {
    fn error(&mut self, key: &str, problem: impl Into<String>) {
        self.errors.push(SetError {
            path: format!("{}.{key}", self.path),
            problem: problem.into(),
        });
    }

    fn set(&mut self, config: &FeatureSetConfig) -> FeatureSet {
        if !is_word(&config.name) {
            self.error(
                "name",
                "expected lower-case letters, digits and underscores, beginning with a letter",
            );
        }
        if config.kinds.is_empty() {
            self.error("kinds", "expected at least one kind of resource");
        }
        if config.metrics.is_empty() {
            self.error("metrics", "expected at least one metric");
        }
        let step = config
            .step
            .as_ref()
            .and_then(|text| match parse_span(text) {
                Ok(millis) => StepLength::from_millis(millis),
                Err(problem) => {
                    self.error("step", problem);
                    None
                }
            });
        let mut features = Features::default();
        let mut metrics: Vec<MetricDef> = Vec::new();
        for (index, metric) in config.metrics.iter().enumerate() {
            let key = format!("metrics[{index}]");
            if metrics.iter().any(|known| known.name == metric.name) {
                self.error(
                    &format!("{key}.name"),
                    format!("metric `{}` is defined twice", metric.name),
                );
            }
            let def = self.metric(&key, index, metric, &mut features);
            metrics.push(def);
        }
        for (index, name) in config.temporal.iter().enumerate() {
            let key = format!("temporal[{index}]");
            match name.parse::<Temporal>() {
                Ok(temporal) => {
                    let feature = FeatureDef {
                        name: format!("time.{name}"),
                        source: FeatureSource::Time(temporal),
                    };
                    self.feature(&key, feature, &mut features);
                }
                Err(problem) => self.error(&key, problem),
            }
        }
        if metrics.len() > METRICS_MAX || features.list.len() > FEATURES_MAX {
            self.error(
                "metrics",
                format!("at most {METRICS_MAX} metrics and {FEATURES_MAX} features make a set"),
            );
        }
        if config.limits.len() > LIMITS_MAX {
            self.error("limits", format!("at most {LIMITS_MAX} limits make a set"));
        }
        let limits = config
            .limits
            .iter()
            .enumerate()
            .map(|(index, limit)| self.limit(index, limit))
            .collect();
        let calendar = Calendar::new(&config.calendar, |key, problem| {
            self.error(&format!("calendar.{key}"), problem)
        });
        FeatureSet {
            name: config.name.clone(),
            version: config.version,
            kinds: config.kinds.clone(),
            step,
            metrics,
            features: features.list,
            limits,
            calendar,
            id: format!("{}/{}", config.name, config.version),
        }
    }

    fn metric(
        &mut self,
        key: &str,
        index: usize,
        config: &MetricConfig,
        features: &mut Features,
    ) -> MetricDef {
        if !config.name.split('.').all(is_word) || config.name.split('.').next() == Some("time") {
            let problem = "expected words of lower-case letters, digits and underscores joined by dots, not under `time`";
            self.error(&format!("{key}.name"), problem);
        }
        if !(config.floor.is_finite() && config.floor > 0.0) {
            self.error(
                &format!("{key}.floor"),
                "expected a positive number: the smallest deviation that matters",
            );
        }
        let value_index = features.list.len();
        let define = |transform: Transform| FeatureDef {
            name: format!("{}.{transform}", config.name),
            source: FeatureSource::Metric {
                metric: index,
                transform,
            },
        };
        self.feature(&format!("{key}.name"), define(Transform::Value), features);
        for (place, name) in config.features.iter().enumerate() {
            let key = format!("{key}.features[{place}]");
            match name.parse::<Transform>() {
                Ok(Transform::Value) => self.error(&key, "every metric has `value`, leave it out"),
                Ok(transform) => self.feature(&key, define(transform), features),
                Err(problem) => self.error(&key, problem),
            }
        }
        let own = OperandConfig {
            from: config.from.clone(),
            tags: config.tags.clone(),
            combine: config.combine,
            reading: config.reading,
        };
        MetricDef {
            name: config.name.clone(),
            unit: config.unit.clone(),
            floor: config.floor,
            direction: config.direction,
            value_index,
            operand: self.operand(key, &own),
            over: config
                .over
                .as_ref()
                .map(|over| self.operand(&format!("{key}.over"), over)),
        }
    }

    fn feature(&mut self, key: &str, feature: FeatureDef, features: &mut Features) {
        match features.seen.get(&feature.name) {
            Some(first) => self.error(
                key,
                format!("feature `{}` is defined already at {first}", feature.name),
            ),
            None => {
                features.seen.insert(feature.name.clone(), key.to_owned());
                features.list.push(feature);
            }
        }
    }

    fn limit(&mut self, index: usize, config: &LimitConfig) -> LimitDef {
        let key = format!("limits[{index}]");
        if config.subject.is_empty() {
            self.error(&format!("{key}.subject"), "expected a name");
        }
        LimitDef {
            kind: config.kind,
            subject: config.subject.clone(),
            per: config.per.clone(),
            used: self.operand(&format!("{key}.used"), &config.used),
            limit: self.operand(&format!("{key}.limit"), &config.limit),
        }
    }

    fn operand(&mut self, key: &str, config: &OperandConfig) -> Operand {
        let from = metric::canonical(&config.from);
        if from.is_empty() {
            self.error(&format!("{key}.from"), "expected the name of a metric");
        }
        // Anybody may push metrics of their own, but `system.` is the collector's, and there a wrong name is a typo.
        if from.starts_with("system.") && metric::unit(from).is_none() {
            self.error(
                &format!("{key}.from"),
                format!("unknown metric `{from}`: no collector measures it"),
            );
        }
        let mut tags = Vec::new();
        for (tag, filter) in &config.tags {
            let values = match filter {
                TagFilter::One(value) => std::slice::from_ref(value),
                TagFilter::Any(values) => values.as_slice(),
            };
            let mut rule = TagRule::default();
            for value in values {
                match value.strip_prefix('!') {
                    Some(excluded) => rule.none_of.push(excluded.to_owned()),
                    None => rule.any_of.push(value.clone()),
                }
            }
            if values.is_empty() {
                self.error(
                    &format!("{key}.tags.{tag}"),
                    "expected a value, or a list with at least one",
                );
            }
            tags.push((tag.clone(), rule));
        }
        Operand {
            from: from.to_owned(),
            combine: config.combine,
            reading: config.reading,
            tags,
        }
    }
}

#[derive(Default)]
struct Features {
    list: Vec<FeatureDef>,
    /// Name of a feature, and where it was defined first.
    seen: BTreeMap<String, String>,
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
