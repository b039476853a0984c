//! Anomaly rules: one alert per episode of steps that are unlike the resource's own past.

use std::collections::BTreeMap;

use forewarn_messages::{SeriesVerdict, Verdict};
use forewarn_rules::{AnomalyRule, Rule, RuleConfig};
use forewarn_types::{AlertState, EventTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::alert::{Finding, Say};
use super::{Work, words};

/// What an anomaly alert is about: the resource as a whole.
const SUBJECT: &str = "resource";
/// As many parts of a score as a person takes in.
const PARTS: usize = 5;

/// Steps above the score that belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Episode {
    /// Steps above in a row, by feature set: each set has its own.
    runs: BTreeMap<String, u32>,
    began: EventTime,
    last_above: EventTime,
    peak: f32,
}

impl Work<'_> {
    pub(super) fn judge_anomaly(&mut self, verdict: &Verdict) {
        // Unknown is never normal: only a score can begin, break or end an episode.
        let Some((score, _)) = verdict.highest() else {
            return;
        };
        for rule in self.rules.rules() {
            let RuleConfig::Anomaly(config) = rule.config() else {
                continue;
            };
            if !rule.matches(self.key, verdict.kind) {
                continue;
            }
            if f64::from(score) > config.min_score {
                self.above(rule, config, verdict, score);
            } else if self.resource.episodes.contains_key(&config.name) {
                self.below(config, verdict);
            }
        }
    }

    fn above(&mut self, rule: &Rule, config: &AnomalyRule, verdict: &Verdict, score: f32) {
        let finding = finding(config);
        let goes_on = self.goes_on(&finding);
        let episode = self
            .resource
            .episodes
            .entry(config.name.clone())
            .or_default();
        if !goes_on && episode.runs.values().all(|run| *run == 0) {
            episode.began = verdict.step_end;
            episode.peak = score;
        }
        episode.peak = episode.peak.max(score);
        episode.last_above = episode.last_above.max(verdict.step_end);
        let run = episode.runs.entry(verdict.feature_set.clone()).or_default();
        *run = run.saturating_add(1);
        if *run < config.consecutive || goes_on {
            return;
        }
        let say = Say {
            rule: config.name.clone(),
            to: AlertState::Open,
            severity: config.severity,
            step_end: verdict.step_end,
            headline: words::unusual(self.key, rule, verdict, score),
            reason: None,
            details: details(verdict, score),
            prediction: None,
            backfill: verdict.backfill,
        };
        self.say(&finding, say);
    }

    fn below(&mut self, config: &AnomalyRule, verdict: &Verdict) {
        let finding = finding(config);
        let goes_on = self.goes_on(&finding);
        let Some(episode) = self.resource.episodes.get_mut(&config.name) else {
            return;
        };
        episode.runs.remove(&verdict.feature_set);
        if !goes_on {
            if episode.runs.is_empty() {
                self.resource.episodes.remove(&config.name);
            }
            return;
        }
        if verdict.step_end.since(episode.last_above) < self.config.anomaly_quiet {
            return;
        }
        let lasted = episode.last_above.since(episode.began);
        let peak = episode.peak;
        self.resource.episodes.remove(&config.name);
        self.ceased(&finding);
        let details =
            json!({ "peak_score": words::short(peak), "lasted_seconds": lasted.as_secs() });
        self.resolve(
            &finding,
            words::usual_again(lasted, peak),
            "usual again".into(),
            details,
        );
    }
}

fn finding(config: &AnomalyRule) -> Finding {
    Finding::Rule {
        rule: config.name.clone(),
        subject: SUBJECT.to_owned(),
    }
}

fn details(verdict: &Verdict, score: f32) -> Value {
    let parts: Vec<Value> = verdict
        .parts
        .iter()
        .take(PARTS)
        .map(|part| {
            json!({
                "metric": part.metric,
                "part": words::short(part.part),
                "value": words::short(part.value),
                "expected": words::short(part.expected),
            })
        })
        .collect();
    let series = |series: &SeriesVerdict| {
        json!({
            "metric": series.metric,
            "score": words::short(series.score),
            "value": words::short(series.value),
            "expected": words::short(series.expected),
            "lower": series.lower.map(words::short),
            "upper": series.upper.map(words::short),
        })
    };
    json!({
        "score": words::short(score),
        "p": verdict.p,
        "p0": verdict.p0,
        "confidence": verdict.confidence.map(words::short),
        "verdict_id": verdict.id(),
        "parts": parts,
        "series": verdict.series.iter().take(PARTS).map(series).collect::<Vec<_>>(),
    })
}
