//! What happens in a demonstration, and in which order: models are made of the past, then one fault after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forewarn_bus::Appender;
use forewarn_ingestion::sources::simulated::Simulator;
use forewarn_messages::{Body as _, COMMANDS, Command, TrainCommand};
use forewarn_simulate::{FaultKind, Label};
use forewarn_store::Timestamp;
use forewarn_store::postgres::Postgres;
use forewarn_types::EventTime;
use tokio::runtime::Handle;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use uuid::Uuid;

use super::Config;
use crate::front::Happening;

/// How often the ledger is asked how far the training is.
const ASK: Duration = Duration::from_millis(500);

/// After so long the first fault comes without models of its own.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whoever judges a resource for the first time tells the ledger of it a moment later.
const SETTLE: Duration = Duration::from_secs(2);

/// What goes wrong after the first fault, in turn.
const FAULTS: [FaultKind; 6] = [
    FaultKind::MemoryLeak,
    FaultKind::DiskFill,
    FaultKind::CpuRunaway,
    FaultKind::ConnectionExhaustion,
    FaultKind::LatencyCreep,
    FaultKind::FileDescriptorLeak,
];

/// How far it is.
#[derive(Debug)]
enum Scene {
    /// The past is written, and everybody is judged.
    Past,
    /// Since then; models are to be ordered.
    Settling(Instant),
    /// Models are ordered.
    Training { command: Uuid, asked: Instant },
    /// The next fault comes then.
    Waiting(Instant),
    /// Something goes wrong.
    Fault,
}

/// The course of a demonstration.
pub(crate) struct Script {
    config: Config,
    simulator: Simulator,
    labels: Receiver<Label>,
    appender: Arc<dyn Appender>,
    postgres: Postgres,
    runtime: Handle,
    since_ms: i64,
    begun: Instant,
    scene: Scene,
    faults: usize,
}

impl Script {
    /// `since_ms` is where the past begins; without one the models are there already.
    pub(crate) fn new(
        demo: &super::Demo,
        appender: Arc<dyn Appender>,
        postgres: Postgres,
        runtime: Handle,
    ) -> Self {
        let scene = if demo.is_new {
            Scene::Past
        } else {
            Scene::Waiting(Instant::now() + demo.config.after)
        };
        Self {
            config: demo.config.clone(),
            simulator: demo.simulator.clone(),
            labels: demo.simulator.listen(),
            appender,
            postgres,
            runtime,
            since_ms: demo.since(),
            begun: Instant::now(),
            scene,
            faults: 0,
        }
    }

    /// Does what is due, and tells what happened. `is_past_written` and `judged` (how many resources were) are what it
    /// waits for first.
    pub(crate) fn turn(
        &mut self,
        is_past_written: bool,
        is_everybody_judged: bool,
        tell: &mut dyn FnMut(Happening),
    ) -> anyhow::Result<()> {
        self.listen(tell);
        match &self.scene {
            Scene::Past if is_past_written && is_everybody_judged => {
                self.scene = Scene::Settling(Instant::now());
            }
            Scene::Settling(since) if since.elapsed() >= SETTLE => self.order()?,
            Scene::Training { command, asked } if asked.elapsed() >= ASK => {
                let command = *command;
                match self.models(command)? {
                    Training::Done { models, wait } => {
                        tell(Happening::Models {
                            trained: models,
                            seconds: self.begun.elapsed().as_secs_f64(),
                        });
                        self.scene = Scene::Waiting(Instant::now() + wait + self.config.after);
                    }
                    Training::Refused if self.begun.elapsed() < PATIENCE => {
                        self.scene = Scene::Settling(Instant::now());
                    }
                    Training::Refused => self.go_on_without(),
                    Training::Waiting if self.begun.elapsed() >= PATIENCE => self.go_on_without(),
                    Training::Waiting => {
                        self.scene = Scene::Training {
                            command,
                            asked: Instant::now(),
                        };
                    }
                }
            }
            Scene::Waiting(until) if Instant::now() >= *until => self.inject()?,
            _ => {}
        }
        Ok(())
    }

    fn go_on_without(&mut self) {
        tracing::warn!(
            "the fleet has no models of its own yet; going on with the online detectors"
        );
        self.scene = Scene::Waiting(Instant::now() + self.config.after);
    }

    fn listen(&mut self, tell: &mut dyn FnMut(Happening)) {
        loop {
            match self.labels.try_recv() {
                Ok(label) => self.label(&label, tell),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn label(&mut self, label: &Label, tell: &mut dyn FnMut(Happening)) {
        let resource = label.resource.clone();
        let fault = label.fault.name().to_owned();
        if label.end.is_some() {
            tell(Happening::FaultEnded { resource, fault });
            // The consequences of a fault end by themselves.
            if matches!(self.scene, Scene::Fault) && label.cause.is_none() {
                self.scene = Scene::Waiting(Instant::now() + self.config.every);
            }
        } else if let Some(breach) = label.breach {
            tell(Happening::Breach {
                resource,
                fault,
                subject: label.subject.clone(),
                at: instant(breach),
            });
        } else {
            tell(Happening::Fault {
                resource,
                fault,
                subject: label.subject.clone(),
                at: instant(label.onset),
            });
        }
    }

    /// Orders models for the whole fleet, of its whole past.
    fn order(&mut self) -> anyhow::Result<()> {
        let command = Uuid::new_v4();
        let names = self.simulator.resources().into_iter().map(|one| one.name);
        let train = Command::Train(TrainCommand {
            command_id: command,
            tenant: "default".to_owned(),
            actor: "demonstration".to_owned(),
            resources: Some(names.collect()),
            since_ms: Some(self.since_ms),
        });
        self.appender
            .append(&COMMANDS, None, None, train.seal(None, None))?;
        self.scene = Scene::Training {
            command,
            asked: Instant::now(),
        };
        Ok(())
    }

    /// What became of the order.
    fn models(&self, command: Uuid) -> anyhow::Result<Training> {
        const SQL: &str = "SELECT o.state, \
             (SELECT count(*) FROM model_runs r WHERE r.command_id = o.command_id AND r.state = 'champion'), \
             coalesce((SELECT extract(epoch FROM max(a.from_log_time) - clock_timestamp()) \
                       FROM activations a JOIN model_runs r USING (digest) WHERE r.command_id = o.command_id), 0)::double precision \
             FROM training_orders o WHERE o.command_id = $1";
        self.runtime.block_on(async {
            let session = self.postgres.session().await?;
            let row = session.query_opt(SQL, &[&command]).await?;
            session.give_back();
            Ok(
                row.map_or(Training::Waiting, |row| match row.get::<_, &str>(0) {
                    "waiting" => Training::Waiting,
                    "refused" => Training::Refused,
                    _ => Training::Done {
                        models: row.get(1),
                        wait: Duration::try_from_secs_f64(row.get(2)).unwrap_or_default(),
                    },
                }),
            )
        })
    }

    /// Lets the next thing go wrong.
    fn inject(&mut self) -> anyhow::Result<()> {
        let fault = match self.faults {
            0 => self.config.fault,
            later => {
                let mut others = FAULTS
                    .iter()
                    .filter(|one| **one != self.config.fault)
                    .cycle();
                *others.nth(later - 1).unwrap_or(&self.config.fault)
            }
        };
        self.faults += 1;
        self.simulator
            .inject(&forewarn_simulate::Order::new(fault))?;
        self.scene = Scene::Fault;
        Ok(())
    }
}

fn instant(at: EventTime) -> String {
    Timestamp::from_micros(at.millis().saturating_mul(1_000)).to_string()
}

/// How far the training is.
enum Training {
    Waiting,
    Refused,
    Done {
        models: i64,
        /// Until they judge.
        wait: Duration,
    },
}
