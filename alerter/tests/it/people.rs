//! What people decide, through the real program: whenever it is killed between a command and its commit, the command is
//! carried out once, and everybody gets the answer that the log alone determines.

use std::time::{SystemTime, UNIX_EPOCH};

use forewarn_alerter::rows::{self, CommandRow, HistoryRow};
use forewarn_alerter::{Message, Pipeline, decode_command};
use forewarn_bus::{Log as _, Place, Record};
use forewarn_messages::{
    ANOMALY_PREDICTIONS, AlertCommand, Body as _, COMMANDS, Command, TrainCommand,
};
use uuid::Uuid;

use crate::alerter::{PARTITIONS, World};
use crate::binary::{Program, settings};
use crate::support::{change, machine, rules, sealed, tick, wait};

/// Messages of a system that lives now, since commands are stamped by the log.
struct Living {
    world: World,
    sent: Vec<Message>,
    commands: u128,
    next: u64,
}

impl Living {
    /// One message per partition, of this moment; conditions begin and cease unless it is quiet.
    async fn beat(&mut self, is_quiet: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as i64);
        let appender = self.world.kafka.appender().expect("an appender");
        for partition in 0..PARTITIONS {
            let resource = format!("web-{partition}{}", self.next % 3);
            let message = if is_quiet {
                tick(partition, self.next, now)
            } else {
                let holds = (self.next / 3).is_multiple_of(2);
                change(partition, self.next, now, &resource, holds)
            };
            let time = Some(message.log_time);
            appender
                .append(
                    &ANOMALY_PREDICTIONS,
                    Some(partition),
                    time,
                    sealed(&message),
                )
                .expect("there is room");
            self.sent.push(message);
        }
        self.next += 1;
        self.world.flush(appender).await;
    }

    async fn send(&self, commands: &[Command]) {
        let appender = self.world.kafka.appender().expect("an appender");
        for command in commands {
            appender
                .append(&COMMANDS, None, None, command.seal(None, None))
                .expect("there is room");
        }
        self.world.flush(appender).await;
    }

    fn about(&mut self, alert_id: Uuid) -> AlertCommand {
        self.commands += 1;
        AlertCommand {
            command_id: Uuid::from_u128(self.commands),
            tenant: "default".into(),
            alert_id,
            actor: "ada".into(),
            message: (self.commands.is_multiple_of(2)).then(|| "looking".to_owned()),
        }
    }

    async fn alerts(&self, state: &str) -> Vec<Uuid> {
        let sql = "SELECT state || ' ' || alert_id FROM alerts ORDER BY changed_at DESC, alert_id";
        let lines = self.world.database.lines(sql).await;
        let of_state = lines.iter().filter_map(|line| line.split_once(' '));
        of_state
            .filter(|(found, _)| *found == state)
            .map(|(_, id)| id.parse().expect("an id"))
            .collect()
    }

    async fn count(&self, of: &str) -> usize {
        let sql = format!("SELECT ({of})::text");
        let lines = self.world.database.lines(&sql).await;
        lines
            .first()
            .and_then(|line| line.parse().ok())
            .unwrap_or_default()
    }

    /// What the ledger has to hold, by the log.
    async fn expected(&self) -> (Vec<HistoryRow>, Vec<CommandRow>) {
        let kafka = std::sync::Arc::clone(&self.world.kafka);
        let records = tokio::task::spawn_blocking(move || {
            let place = Place {
                topic: &COMMANDS,
                partition: 0,
            };
            let mut records: Vec<Record> = Vec::new();
            let bounds = kafka.bounds(place).expect("Kafka answers");
            kafka
                .read(place, bounds, &mut |record| {
                    records.push(record);
                    true
                })
                .expect("Kafka answers");
            let log = forewarn_bus::log_id(kafka.as_ref(), place).expect("Kafka answers");
            (records, log.expect("the alerter has ticked"))
        });
        let (records, log) = records.await.expect("it does not panic");
        let mut pipeline = Pipeline::new(PARTITIONS, rules(), machine());
        for message in &self.sent {
            pipeline.push(message.clone()).expect("it is one log");
        }
        for record in &records {
            let message = decode_command(record, log, PARTITIONS).expect("it can be read");
            pipeline.push(message).expect("it is one log");
        }
        pipeline.no_more_commands();
        pipeline.turn(usize::MAX);
        let interval = pipeline.take_interval();
        let commands = rows::commands(&interval.answers, &interval.transitions);
        (
            interval.transitions.iter().map(HistoryRow::from).collect(),
            commands.into_values().collect(),
        )
    }

    async fn answers(&self) -> Vec<CommandRow> {
        let sql = "SELECT row_to_json(c)::text FROM alert_commands c ORDER BY command_id";
        let lines = self.world.database.lines(sql).await;
        lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("it is such a row"))
            .collect()
    }
}

const EPOCH: &str = "SELECT coalesce(max(epoch), 0) FROM alerter_state";
const ANSWERED: &str = "SELECT count(*) FROM alert_commands";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_between_command_and_commit_it_carries_out_each_command_once() {
    let Some(world) = World::new("kill -9 of the alerter with commands").await else {
        return;
    };
    let path = settings(&world);
    let mut living = Living {
        world,
        sent: Vec::new(),
        commands: 0,
        next: 0,
    };
    // What is for the trainer is none of the alerter's business, of whatever version it is.
    let mut foreign = Command::Train(TrainCommand {
        command_id: Uuid::from_u128(u128::MAX),
        tenant: "default".into(),
        actor: "ada".into(),
        resources: None,
        since_ms: None,
    })
    .seal(None, None);
    foreign.headers.version = 9;
    let appender = living.world.kafka.appender().expect("an appender");
    appender
        .append(&COMMANDS, None, None, foreign)
        .expect("there is room");
    living.world.flush(appender).await;

    for _ in 0..5 {
        living.beat(false).await;
    }
    for round in 0..8_u32 {
        let (epoch, answered) = (living.count(EPOCH).await, living.count(ANSWERED).await);
        let mut program = Program::start(&path);
        // In every other round it has hardly begun when it ends.
        wait("the alerter to begin", async || {
            living.count(EPOCH).await > epoch
        })
        .await;
        living.beat(false).await;
        let mut commands = Vec::new();
        for alert in living.alerts("open").await.into_iter().take(4) {
            let command = living.about(alert);
            commands.push(Command::Acknowledge(command.clone()));
            commands.push(Command::Acknowledge(command));
            commands.push(Command::Acknowledge(living.about(alert)));
        }
        for alert in living.alerts("acknowledged").await.into_iter().take(1) {
            commands.push(Command::Resolve(living.about(alert)));
        }
        for alert in living.alerts("resolved").await.into_iter().take(1) {
            commands.push(Command::Acknowledge(living.about(alert)));
            commands.push(Command::Resolve(living.about(alert)));
        }
        commands.push(Command::Acknowledge(living.about(Uuid::nil())));
        living.send(&commands).await;
        living.beat(round % 3 == 0).await;
        if round % 2 == 1 {
            wait("an answer", async || {
                living.count(ANSWERED).await > answered
            })
            .await;
        }
        assert!(program.is_running(), "it ended by itself");
        drop(program);
    }

    let mut program = Program::start(&path);
    let sent = living.commands as usize;
    while living.count(ANSWERED).await < sent {
        assert!(program.is_running(), "it ended by itself");
        living.beat(true).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let (history, answers) = living.expected().await;
    wait("the alerter to catch up", async || {
        living.world.history().await.len() >= history.len()
    })
    .await;
    assert_eq!(living.world.history().await, history);
    assert_eq!(living.answers().await, answers);
    for outcome in ["done", "already", "over", "unknown"] {
        assert!(
            answers.iter().any(|answer| answer.outcome == outcome),
            "nothing was {outcome}: {answers:?}"
        );
    }
    let told = "SELECT count(*) FROM deliveries";
    assert_eq!(
        living.count(told).await,
        history.iter().filter(|row| row.notify).count()
    );
    wait("everything to be published", async || {
        living
            .count("SELECT count(*) FROM alert_history WHERE NOT published")
            .await
            == 0
    })
    .await;
    let dead = living.world.dead_letters().await;
    assert_eq!(dead, 0);
    drop(program);
    std::fs::remove_file(path.with_extension("log")).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    living.world.end().await;
}
