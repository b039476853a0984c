//! Rules that were checked: what the predictor and the alerter trust.

use std::time::Duration;

use forewarn_features::{FeatureSet, FeatureSets};
use forewarn_types::{FailureKind, Kind, ResourceKey, Severity};

use crate::config::RuleConfig;
use crate::glob;
use crate::template::{Placeholder, Template};

/// A mistake in one rule, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}`: {field}: {problem}")]
pub struct RuleError {
    /// Name of the rule, or its place among the rules where it has none.
    pub rule: String,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

/// As settings want to hear it.
impl From<RuleError> for (String, String) {
    fn from(error: RuleError) -> Self {
        (
            format!("rules.{}.{}", error.rule, error.field),
            error.problem,
        )
    }
}

/// One checked rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    config: RuleConfig,
    summary: Option<Template>,
    value_column: String,
}

impl Rule {
    /// As the user wrote it.
    #[must_use]
    pub fn config(&self) -> &RuleConfig {
        &self.config
    }

    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.name()
    }

    /// The user's own line for people.
    #[must_use]
    pub fn summary(&self) -> Option<&Template> {
        self.summary.as_ref()
    }

    /// The feature that is compared when a threshold names a metric; made once, since it is asked for at every step.
    pub(crate) fn value_column(&self) -> &str {
        &self.value_column
    }

    /// Whether the rule is about this resource.
    #[must_use]
    pub fn matches(&self, resource: &ResourceKey, kind: Kind) -> bool {
        self.config.kind().is_none_or(|wanted| wanted == kind)
            && self
                .config
                .resource()
                .is_none_or(|pattern| glob::matches(pattern, &resource.resource))
    }
}

/// The rules in force, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    digest: String,
}

impl RuleSet {
    /// Checks rules.
    ///
    /// # Errors
    /// Every mistake in every rule.
    pub fn new(configs: Vec<RuleConfig>) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut rules: Vec<Rule> = Vec::with_capacity(configs.len());
        for (index, config) in configs.into_iter().enumerate() {
            let mut check = Check {
                rule: display_name(&config, index),
                errors: &mut errors,
            };
            check.config(&config);
            let summary = check.summary(&config);
            if rules.iter().any(|rule| rule.name() == config.name()) {
                check.fail(
                    "name",
                    "is used by an earlier rule too; names are unique".into(),
                );
            }
            let value_column = match &config {
                RuleConfig::Threshold(rule) => format!("{}.value", rule.metric),
                _ => String::new(),
            };
            rules.push(Rule {
                config,
                summary,
                value_column,
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        // The order in which rules were written means nothing, so it must not change what comes out, nor the digest.
        rules.sort_by(|a, b| a.name().cmp(b.name()));
        let configs: Vec<&RuleConfig> = rules.iter().map(Rule::config).collect();
        let canonical =
            serde_json::to_vec(&configs).expect("rules have text keys only and finite numbers");
        let digest = blake3::hash(&canonical).to_hex().to_string();
        Ok(Self { rules, digest })
    }

    /// The rules in the order of their names.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Rule> {
        let at = self
            .rules
            .binary_search_by(|rule| rule.name().cmp(name))
            .ok()?;
        Some(&self.rules[at])
    }

    /// BLAKE3 of the rules as JSON, in hex: names what was in force.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The same beside the feature sets that are in force: a rule about a metric that none of them has would never fire.
    ///
    /// # Errors
    /// Every mistake in every rule.
    pub fn for_sets(configs: Vec<RuleConfig>, sets: &FeatureSets) -> Result<Self, Vec<RuleError>> {
        let rules = Self::new(configs)?;
        let has =
            |set: &FeatureSet, name: &str| set.features.iter().any(|feature| feature.name == name);
        let unknown = rules.unknown_metrics(|name| sets.all().iter().any(|set| has(set, name)));
        if unknown.is_empty() {
            Ok(rules)
        } else {
            Err(unknown)
        }
    }

    fn unknown_metrics(&self, is_known: impl Fn(&str) -> bool) -> Vec<RuleError> {
        let thresholds = self.rules.iter().filter_map(|rule| match rule.config() {
            RuleConfig::Threshold(threshold) => Some(threshold),
            _ => None,
        });
        thresholds
            .filter(|rule| !is_known(&rule.metric) && !is_known(&format!("{}.value", rule.metric)))
            .map(|rule| RuleError {
                rule: rule.name.clone(),
                field: "metric",
                problem: format!(
                    "no feature set has `{}`: `[[feature_sets]]` can define it, and crates/features/sets has the others",
                    rule.metric
                ),
            })
            .collect()
    }
}

/// The failure that a metric is the level of: a rule about the one and a prediction of the other are about the same.
#[must_use]
pub fn failure_of(metric: &str) -> Option<FailureKind> {
    Some(match metric.strip_suffix(".value").unwrap_or(metric) {
        "filesystem.utilization" => FailureKind::DiskFull,
        "memory.utilization" => FailureKind::MemoryExhaustion,
        "file_descriptors.utilization" => FailureKind::FileDescriptorExhaustion,
        "connections.utilization" => FailureKind::ConnectionExhaustion,
        _ => return None,
    })
}

fn display_name(config: &RuleConfig, index: usize) -> String {
    if config.name().is_empty() {
        format!("#{}", index + 1)
    } else {
        config.name().chars().take(80).collect()
    }
}

/// Longest name: it stands in ids, metrics and every line.
const NAME_MAX: usize = 100;
/// Longest summary.
const SUMMARY_MAX: usize = 500;
/// Beyond this the count is a mistake, not a wish: more than a day of one-second steps.
const CONSECUTIVE_MAX: u32 = 100_000;
/// No alert should wait longer than the log is kept.
const HOLD_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// No trend supports a longer view.
const WITHIN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

struct Check<'a> {
    rule: String,
    errors: &'a mut Vec<RuleError>,
}

impl Check<'_> {
    fn fail(&mut self, field: &'static str, problem: String) {
        self.errors.push(RuleError {
            rule: self.rule.clone(),
            field,
            problem,
        });
    }

    fn config(&mut self, config: &RuleConfig) {
        let name = config.name();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            self.fail(
                "name",
                format!("is 1 to {NAME_MAX} letters, digits, `-`, `_` or `.`"),
            );
        }
        if config.resource().is_some_and(str::is_empty) {
            self.fail(
                "resource",
                "is empty and so matches nothing; leave it out for all resources".into(),
            );
        }
        match config {
            RuleConfig::Threshold(rule) => {
                if rule.metric.is_empty() {
                    self.fail(
                        "metric",
                        "is empty; name a metric such as `cpu.utilization`".into(),
                    );
                }
                if !rule.value.is_finite() {
                    self.fail("value", "is not a finite number".into());
                }
                self.consecutive(rule.consecutive);
                self.hold(rule.hold);
            }
            RuleConfig::Anomaly(rule) => {
                if !rule.min_score.is_finite() || rule.min_score < 1.0 {
                    let problem = "is at least 1, where the alarm budget ends; to hear of more, raise the budget";
                    self.fail("min_score", problem.into());
                }
                if rule.severity > Severity::Medium {
                    let problem = "is `medium` at most: unusual alone harms nobody; \
                        use a `threshold` or `failure_prediction` rule for what does";
                    self.fail("severity", problem.into());
                }
                self.consecutive(rule.consecutive);
            }
            RuleConfig::FailurePrediction(rule) => {
                if rule.within.is_zero() || rule.within > WITHIN_MAX {
                    self.fail("within", "is longer than 0 and at most 365 days".into());
                }
                if !(rule.reached > 0.0 && rule.reached <= 1.0) {
                    self.fail(
                        "reached",
                        "is a share of the capacity, above 0 and at most 1".into(),
                    );
                }
                if !(0.0..=1.0).contains(&rule.min_probability) {
                    self.fail("min_probability", "is a probability from 0 to 1".into());
                }
                if !rule.time_left.is_sorted_by(|a, b| a.within < b.within) {
                    self.fail(
                        "time_left",
                        "has its entries in the order of `within`, shortest first".into(),
                    );
                }
            }
            RuleConfig::Silence(rule) => self.hold(rule.hold),
        }
    }

    fn consecutive(&mut self, count: u32) {
        if !(1..=CONSECUTIVE_MAX).contains(&count) {
            self.fail("consecutive", format!("is 1 to {CONSECUTIVE_MAX} steps"));
        }
    }

    fn hold(&mut self, hold: Duration) {
        if hold > HOLD_MAX {
            self.fail(
                "for",
                "is at most 7 days, the time for which the log is kept".into(),
            );
        }
    }

    fn summary(&mut self, config: &RuleConfig) -> Option<Template> {
        use Placeholder as P;
        let text = config.summary()?;
        if text.len() > SUMMARY_MAX {
            self.fail("summary", format!("is at most {SUMMARY_MAX} bytes"));
            return None;
        }
        let allowed: &[P] = match config {
            RuleConfig::Threshold(_) => {
                &[P::Resource, P::Subject, P::Metric, P::Value, P::Threshold]
            }
            RuleConfig::Anomaly(_) => &[P::Resource, P::Metric, P::Value, P::Expected, P::Score],
            RuleConfig::FailurePrediction(_) => &[P::Resource, P::Subject, P::Failure, P::TimeLeft],
            RuleConfig::Silence(_) => &[P::Resource],
        };
        Template::parse(text, allowed)
            .map_err(|problem| self.fail("summary", problem))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        rules: Vec<RuleConfig>,
    }

    fn rules(text: &str) -> Result<RuleSet, Vec<String>> {
        let file: File = toml::from_str(text).map_err(|error| vec![error.message().to_owned()])?;
        RuleSet::new(file.rules).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    const SOUND: &str = r#"
        [[rules]]
        type = "threshold"
        name = "hot"
        resource = "web-*"
        kind = "server"
        metric = "cpu.utilization"
        operator = ">="
        value = 0.9
        for = "5m"
        consecutive = 3
        summary = "{resource} is hot: {value}"

        [[rules]]
        type = "anomaly"
        name = "unusual"

        [[rules]]
        type = "failure_prediction"
        name = "full"
        failures = ["disk_full"]
        within = "2h"
        time_left = [{ within = "10m", severity = "critical" }]

        [[rules]]
        type = "silence"
        name = "gone"
    "#;

    #[test]
    fn every_type_is_understood_and_the_order_does_not_matter() {
        let set = rules(SOUND).expect("they are sound");
        assert_eq!(
            set.rules().iter().map(Rule::name).collect::<Vec<_>>(),
            ["full", "gone", "hot", "unusual"]
        );
        assert!(
            set.get("hot")
                .is_some_and(|rule| rule.matches(&ResourceKey::new("web-7"), Kind::Server))
        );
        assert!(
            set.get("hot")
                .is_some_and(|rule| !rule.matches(&ResourceKey::new("db-7"), Kind::Server))
        );

        let mut parts: Vec<&str> = SOUND.split("[[rules]]").skip(1).collect();
        parts.reverse();
        let reversed: String = parts
            .iter()
            .map(|part| format!("[[rules]]{part}"))
            .collect();
        assert_eq!(
            rules(&reversed).expect("they are sound").digest(),
            set.digest()
        );
        let changed = rules(&SOUND.replace("0.9", "0.91")).expect("they are sound");
        assert_ne!(changed.digest(), set.digest());
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_rule_field_and_remedy() {
        let errors = rules(
            r#"
            [[rules]]
            type = "threshold"
            name = "bad name"
            metric = ""
            operator = ">"
            value = nan
            consecutive = 0
            for = "30d"
            summary = "{host}"

            [[rules]]
            type = "anomaly"
            name = "a"
            severity = "critical"
            min_score = 0.5

            [[rules]]
            type = "failure_prediction"
            name = "a"
            min_probability = 50.0
            time_left = [{ within = "2h", severity = "low" }, { within = "1h", severity = "high" }]
        "#,
        )
        .expect_err("they are full of mistakes");
        let expected = expect_test::expect![[r#"
            rule `bad name`: name: is 1 to 100 letters, digits, `-`, `_` or `.`
            rule `bad name`: metric: is empty; name a metric such as `cpu.utilization`
            rule `bad name`: value: is not a finite number
            rule `bad name`: consecutive: is 1 to 100000 steps
            rule `bad name`: for: is at most 7 days, the time for which the log is kept
            rule `bad name`: summary: unknown placeholder `{host}`, this type knows {resource}, {subject}, {metric}, {value}, {threshold}
            rule `a`: min_score: is at least 1, where the alarm budget ends; to hear of more, raise the budget
            rule `a`: severity: is `medium` at most: unusual alone harms nobody; use a `threshold` or `failure_prediction` rule for what does
            rule `a`: min_probability: is a probability from 0 to 1
            rule `a`: time_left: has its entries in the order of `within`, shortest first
            rule `a`: name: is used by an earlier rule too; names are unique"#]];
        expected.assert_eq(&errors.join("\n"));
    }

    #[test]
    fn a_misspelt_field_or_type_is_an_error_not_a_rule_that_never_fires() {
        let field = rules("[[rules]]\ntype = \"silence\"\nname = \"x\"\nresourse = \"web\"")
            .expect_err("misspelt");
        assert!(field[0].contains("unknown field `resourse`"), "{field:?}");
        let kind = rules("[[rules]]\ntype = \"treshold\"\nname = \"x\"").expect_err("misspelt");
        assert!(
            kind[0].contains("unknown variant `treshold`, expected one of `threshold`, `anomaly`"),
            "{kind:?}"
        );
    }

    #[test]
    fn unknown_metrics_are_found_beside_the_feature_sets() {
        let set = rules(SOUND).expect("they are sound");
        assert!(
            set.unknown_metrics(|name| name == "cpu.utilization.value")
                .is_empty()
        );
        assert_eq!(set.unknown_metrics(|_| false).len(), 1);
    }
}
