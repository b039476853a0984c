//! The parts put together as the services put them together, from the same settings.

use std::sync::Arc;

use forewarn_alerter::{Answer, Interval, MachineConfig, Message, Said, decode_command};
use forewarn_bus::{Derived, Halt, Record};
use forewarn_config::Settings;
use forewarn_features::FeatureSets;
use forewarn_judge::Judge;
use forewarn_judge::models::{Models, NoModels};
use forewarn_messages::{
    Body, Command, FailurePrediction, FeatureVector, Headers, Prediction, ProcessedMetric,
    SystemMetric, Tick, Ticked as _, Verdict,
};
use forewarn_rules::RuleSet;
use forewarn_store::ledger::Ledger;
use forewarn_store::metrics::{Lines, points};
use forewarn_stream_processor::{Processor, StepConfig};

use super::replay::{Replay, replay};
use super::roots::Roots;
use super::{Decision, Transition};
use crate::judge::Points;

/// Everything that determines what follows from a log.
#[derive(Clone, Debug)]
pub struct Pipeline {
    sets: Arc<FeatureSets>,
    rules: Arc<RuleSet>,
    processor: StepConfig,
    judge: forewarn_judge::Config,
    models: Arc<dyn Models>,
    machine: MachineConfig,
}

/// What follows from a log.
#[derive(Debug)]
pub struct Outcome {
    /// The log itself.
    pub roots: Roots,
    /// By partition: what `processed_metrics` has to hold.
    pub processed: Vec<Replay>,
    /// By partition: what `anomaly_predictions` has to hold.
    pub judged: Vec<Replay>,
    /// What becomes of alerts.
    pub transitions: Vec<Transition>,
    /// What commands come to.
    pub answers: Vec<Answer>,
}

impl Pipeline {
    /// As the services would be built from these settings.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn from_settings(settings: &mut Settings) -> anyhow::Result<Self> {
        let sets = settings.made("feature_sets", FeatureSets::extended);
        let rules = settings.made("rules", |rules| RuleSet::for_sets(rules, &sets));
        let alerter: forewarn_alerter::Config = settings.section("alerter");
        let pipeline = Self {
            sets: Arc::new(sets),
            rules: Arc::new(rules),
            processor: settings.section("stream_processor"),
            judge: settings.section("predictor"),
            models: Arc::new(NoModels),
            machine: alerter.machine(),
        };
        settings.finish()?;
        Ok(pipeline)
    }

    /// The same with trained models, as their activations say.
    #[must_use]
    pub fn with_models(self, models: Arc<dyn Models>) -> Self {
        Self { models, ..self }
    }

    /// The feature sets in force.
    #[must_use]
    pub fn sets(&self) -> &FeatureSets {
        &self.sets
    }

    /// Takes a log through everything, with no partition ever left out.
    ///
    /// # Errors
    /// [`Halt`] where a service would stop and ask for a person.
    pub fn run(&self, roots: Roots) -> Result<Outcome, Halt> {
        self.run_with(roots, Vec::new())
    }

    /// Takes a log through everything. `decisions` are those that the alerter recorded when a partition had no writer.
    ///
    /// # Errors
    /// [`Halt`] where a service would stop and ask for a person.
    pub fn run_with(&self, roots: Roots, decisions: Vec<Decision>) -> Result<Outcome, Halt> {
        let (mut processed, mut judged) = (Vec::new(), Vec::new());
        for (number, records) in (0_u32..).zip(&roots.partitions) {
            let processor = Processor::new(Arc::clone(&self.sets), self.processor.clone());
            let of_processor = replay(processor, number, records.iter().cloned())?;
            let judge = Judge::new(
                Arc::clone(&self.sets),
                Arc::clone(&self.rules),
                self.judge.clone(),
                Arc::clone(&self.models),
            );
            judged.push(replay(
                judge,
                number,
                of_processor.records::<Processor>(number),
            )?);
            processed.push(of_processor);
        }
        let alerts = self.alerts(&judged, &roots.commands, decisions);
        Ok(Outcome {
            roots,
            processed,
            judged,
            transitions: alerts.transitions,
            answers: alerts.answers,
        })
    }

    fn alerts(&self, judged: &[Replay], commands: &[Record], decisions: Vec<Decision>) -> Interval {
        let partitions = u32::try_from(judged.len()).unwrap_or(u32::MAX);
        let mut alerts = forewarn_alerter::Pipeline::replay(
            partitions,
            Arc::clone(&self.rules),
            self.machine.clone(),
            decisions,
        );
        for (partition, replay) in (0..).zip(judged) {
            for (offset, derived) in (0..).zip(&replay.derived) {
                let (log_time, src, prediction) = (derived.log_time, derived.src, decode(derived));
                let message = Message {
                    partition,
                    offset,
                    log_time,
                    src,
                    said: Said::Prediction(prediction),
                };
                alerts
                    .push(message)
                    .expect("a partition of the reference has one history");
            }
        }
        let log = commands.iter().find_map(tick).map(|tick| tick.log);
        for record in commands {
            // What cannot be read went to dead_letters; before the first tick nobody was there to read anything.
            if let Some(log) = log
                && let Ok(message) = decode_command(record, log, partitions)
            {
                alerts
                    .push(message)
                    .expect("commands of the reference have one history");
            }
        }
        // The alerter ticks on while this reads, and passes what it is held up by here for want of a tick.
        alerts.no_more_commands();
        alerts.turn(usize::MAX);
        alerts.take_interval()
    }
}

impl Outcome {
    /// Every feature vector, partition by partition.
    pub fn vectors(&self) -> impl Iterator<Item = FeatureVector> + '_ {
        bodies::<ProcessedMetric>(&self.processed).filter_map(|(_, body)| match body {
            ProcessedMetric::Vector(vector) => Some(vector),
            _ => None,
        })
    }

    /// Everything that was predicted, partition by partition.
    pub fn predictions(&self) -> impl Iterator<Item = Prediction> + '_ {
        bodies::<Prediction>(&self.judged).map(|(_, prediction)| prediction)
    }

    /// Every verdict, partition by partition.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> + '_ {
        self.predictions()
            .filter_map(|prediction| match prediction {
                Prediction::Verdict(verdict) => Some(verdict),
                _ => None,
            })
    }

    /// Every failure prediction with its updates and its end, partition by partition.
    pub fn failures(&self) -> impl Iterator<Item = FailurePrediction> + '_ {
        self.predictions()
            .filter_map(|prediction| match prediction {
                Prediction::Failure(failure) => Some(failure),
                _ => None,
            })
    }

    /// What the projector's tables have to hold.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for (derived, prediction) in bodies::<Prediction>(&self.judged) {
            ledger.apply(derived.src, derived.log_time, &prediction);
        }
        ledger
    }

    /// What InfluxDB's raw bucket has to hold.
    ///
    /// # Panics
    /// When a vector is of a feature set that is not among `sets`.
    #[must_use]
    pub fn points(&self, sets: &FeatureSets) -> Points {
        let mut found = Points::default();
        let mut add = |fill: &mut dyn FnMut(&mut Lines)| {
            let mut lines = Lines::default();
            fill(&mut lines);
            found.add_lines(&lines);
        };
        for record in self.roots.partitions.iter().flatten() {
            let pairs = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            let body = Headers::from_pairs(pairs)
                .and_then(|headers| SystemMetric::decode(&headers, &record.body));
            // What cannot be read went to dead_letters.
            if let Ok(body) = body {
                add(&mut |lines| points::of_system_metric(&body, lines));
            }
        }
        for (_, body) in bodies::<ProcessedMetric>(&self.processed) {
            add(&mut |lines| {
                points::of_processed_metric(&body, sets, lines)
                    .expect("the sets are those of the run")
            });
        }
        for (_, body) in bodies::<Prediction>(&self.judged) {
            add(&mut |lines| points::of_prediction(&body, lines));
        }
        found
    }
}

fn bodies<B: Body>(replays: &[Replay]) -> impl Iterator<Item = (&Derived, B)> + '_ {
    replays
        .iter()
        .flat_map(|replay| &replay.derived)
        .map(|derived| (derived, decode(derived)))
}

fn tick(record: &Record) -> Option<Tick> {
    let headers = record.headers().ok()?;
    record.body::<Command>(&headers).ok()?.tick()
}

fn decode<B: Body>(derived: &Derived) -> B {
    let envelope = &derived.envelope;
    B::decode(&envelope.headers, &envelope.body).expect("what a stage has sealed can be read")
}
