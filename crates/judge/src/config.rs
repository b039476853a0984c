//! The section `[predictor]`: how often it may be wrong, and how far it looks ahead.

use std::time::Duration;

use forewarn_detect::{AlarmBudget, Settings};
use forewarn_types::StepLength;
use serde::{Deserialize, Serialize};

/// The longest gate, in steps: a detector remembers so many values of every metric.
const CONSECUTIVE_MAX: u32 = 60;

/// How steps are judged and failures predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// False anomaly episodes that are acceptable per resource and week: the one knob of sensitivity.
    pub alarm_budget_per_week: f64,
    /// A deviation counts when it lasts this long …
    #[serde(with = "forewarn_config::duration")]
    pub lasts: Duration,
    /// … and for this many steps.
    pub consecutive: u32,
    /// Steps of a new resource before it is judged; until then its verdict is `learning`.
    pub learning_steps: u32,
    /// How far ahead failures are predicted.
    #[serde(with = "forewarn_config::duration")]
    pub horizon: Duration,
    /// The probability within the horizon at which a failure prediction opens.
    pub min_probability: f64,
    /// An open failure prediction is told again at least this often.
    #[serde(with = "forewarn_config::duration")]
    pub update_every: Duration,
    /// Resources that one partition keeps in memory; beyond, the one that has been quiet for longest starts anew.
    pub max_resources: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alarm_budget_per_week: 1.0,
            lasts: Duration::from_secs(8),
            consecutive: 2,
            learning_steps: 900,
            horizon: Duration::from_secs(86_400),
            min_probability: 0.8,
            update_every: Duration::from_secs(300),
            max_resources: 5_000,
        }
    }
}

impl Config {
    /// Every mistake, as the key within the section and what is wrong with its value.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        use forewarn_detect::budget::{MAX_PER_WEEK, MIN_PER_WEEK};
        let mut mistakes = Vec::new();
        if AlarmBudget::new(self.alarm_budget_per_week).is_none() {
            let problem = format!(
                "is out of range; {MIN_PER_WEEK} to {MAX_PER_WEEK} episodes per week make sense"
            );
            mistakes.push(("alarm_budget_per_week", problem));
        }
        if self.lasts > Duration::from_secs(u64::from(CONSECUTIVE_MAX)) {
            let problem = format!(
                "must be at most \"{CONSECUTIVE_MAX}s\": it is waited for before every alarm"
            );
            mistakes.push(("lasts", problem));
        }
        if !(1..=CONSECUTIVE_MAX).contains(&self.consecutive) {
            let problem = format!("must be 1 to {CONSECUTIVE_MAX} steps");
            mistakes.push(("consecutive", problem));
        }
        if self.learning_steps < 300 {
            mistakes.push((
                "learning_steps",
                "must be at least 300, or the usual deviation is not known".into(),
            ));
        }
        if !(0.5..1.0).contains(&self.min_probability) {
            mistakes.push(("min_probability", "must be at least 0.5 and below 1".into()));
        }
        if self.horizon.is_zero() || self.horizon > Duration::from_secs(365 * 86_400) {
            mistakes.push((
                "horizon",
                "must be between a moment and a year, such as \"1d\"".into(),
            ));
        }
        if self.update_every.is_zero() {
            mistakes.push((
                "update_every",
                "is zero; every step would repeat the prediction".into(),
            ));
        }
        if self.max_resources == 0 {
            mistakes.push(("max_resources", "is 0; nothing could be judged".into()));
        }
        mistakes
    }

    /// The detector's part. A budget out of range has been refused with [`Config::mistakes`].
    #[must_use]
    pub fn detector(&self, step: StepLength) -> Settings {
        let budget = AlarmBudget::new(self.alarm_budget_per_week)
            .or_else(|| AlarmBudget::new(1.0))
            .expect("one episode per week is in range");
        Settings {
            budget,
            consecutive: self.consecutive.max(steps_in(self.lasts, step)),
            learning_steps: self.learning_steps,
        }
    }

    /// The part of those who watch limits.
    pub(crate) fn watch(&self) -> forewarn_forecast::Settings {
        forewarn_forecast::Settings {
            horizon: self.horizon.as_secs_f64(),
            open_probability: self.min_probability,
            update_every: self.update_every.as_secs_f64(),
            ..forewarn_forecast::Settings::default()
        }
    }
}

/// How many steps `span` takes, the last one begun included.
fn steps_in(span: Duration, step: StepLength) -> u32 {
    let steps = span.as_millis().div_ceil(step.duration().as_millis());
    u32::try_from(steps).map_or(CONSECUTIVE_MAX, |steps| steps.min(CONSECUTIVE_MAX))
}
