//! `topics`: what stands in the log, straight from it.
//!
//! The log inside a process belongs to that process while it runs: then nobody else can read it, and this says so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use forewarn_bus::embedded::EmbeddedLog;
use forewarn_bus::{BusError, KafkaLog, Log as BusLog, Place, Record};
use forewarn_config::nearest;
use forewarn_messages::{TOPICS, Topic};
use forewarn_store::Timestamp;
use serde_json::{Map, Value, json};

use super::Cx;
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table};
use super::settings::{LogSettings, SettingsArgs, log, wrong};
use super::times::{Moment, moment, now};
use crate::config::Log;

/// How often `--follow` looks whether there is more.
const LOOK: Duration = Duration::from_millis(500);

/// Records that are looked through from the end of a partition at most, to find those that were asked for.
const LOOKED_MAX: u64 = 100_000;

/// The topics of the log
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Topics {
    /// List the topics, and how much of them is kept
    List(List),
    /// Show the last records of a topic, one a line as JSON
    Tail(Tail),
}

/// List the topics, and how much of them is kept
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Show the last records of a topic, one a line as JSON
///
/// Ticks, which only say that time goes on, are left out unless asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Tail {
    /// Which topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// How many records at most
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    records: u32,
    /// Only records that the log took at this moment or later: -1m, 1h, 2026-01-31T12:00:00Z
    #[arg(long, value_parser = moment, allow_hyphen_values = true, value_name = "WHEN")]
    from: Option<Moment>,
    /// Only records with this key, such as the name of a resource
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Ticks as well
    #[arg(long)]
    ticks: bool,
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Topics {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Self::List(list) => list.run(cx).await,
            Self::Tail(tail) => tail.run(cx).await,
        }
    }
}

impl List {
    async fn run(self, cx: &Cx) -> Outcome {
        let log = open(cx, &self.settings, false).await?;
        let rows = blocking(move || {
            TOPICS
                .iter()
                .map(|topic| kept(log.as_ref(), topic).map(|kept| (*topic, kept)))
                .collect::<Result<Vec<_>, BusError>>()
        })
        .await?;
        if cx.out.form() == Form::Json {
            let items: Vec<Value> = rows
                .iter()
                .map(|(topic, (partitions, records))| {
                    json!({ "topic": topic.name, "partitions": partitions, "records": records, "key": topic.key, "about": topic.about })
                })
                .collect();
            cx.out.document(&json!({ "items": items }))?;
            return Ok(Answer::Yes);
        }
        let mut table = Table::new(["TOPIC", "PARTITIONS", "RECORDS", "KEY", "HOLDS"])
            .right([1, 2])
            .longest(4);
        for (topic, (partitions, records)) in rows {
            table.row([
                Cell::new(topic.name),
                Cell::new(partitions.to_string()),
                Cell::new(records.to_string()),
                Cell::new(topic.key),
                Cell::new(topic.about),
            ]);
        }
        cx.out.table(&table)?;
        Ok(Answer::Yes)
    }
}

fn kept(log: &dyn BusLog, topic: &'static Topic) -> Result<(u32, u64), BusError> {
    let partitions = log.partitions(topic)?;
    let mut records = 0;
    for partition in 0..partitions {
        let bounds = log.bounds(Place { topic, partition })?;
        records += bounds.end.saturating_sub(bounds.start);
    }
    Ok((partitions, records))
}

impl Tail {
    async fn run(self, cx: &Cx) -> Outcome {
        let topic = *TOPICS
            .iter()
            .find(|topic| topic.name == self.topic)
            .ok_or_else(|| {
                let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
                let what = format!("there is no topic `{}`", self.topic);
                match nearest(&self.topic, names.iter().copied()) {
                    Some(name) => Failure::not_found(what, format!("did you mean `{name}`?")),
                    None => Failure::not_found(what, format!("there are {}", names.join(", "))),
                }
            })?;
        let log = open(cx, &self.settings, self.follow).await?;
        let from = self.from.map(|from| from.from(now()));
        let key = self.key.clone();
        let (most, ticks) = (self.records as usize, self.ticks);
        let wanted = move |record: &Record| {
            (ticks || schema(record) != Some("tick"))
                && from.is_none_or(|from| Timestamp::from(record.log_time) >= from)
                && key.as_ref().is_none_or(|key| record.key == key.as_bytes())
        };
        let reader = Arc::clone(&log);
        let filter = wanted.clone();
        let (last, ends) = blocking(move || last(reader.as_ref(), topic, most, &filter)).await?;
        for record in &last {
            cx.out.record(&shown(record))?;
        }
        if self.follow {
            return follow(cx, log, topic, ends, wanted).await;
        }
        if last.is_empty() {
            cx.out.say("no such record is kept");
        }
        Ok(Answer::Yes)
    }
}

/// Goes on with what comes; it ends with Ctrl-C alone.
async fn follow(
    cx: &Cx,
    log: Arc<dyn BusLog>,
    topic: &'static Topic,
    mut begins: Vec<u64>,
    wanted: impl Fn(&Record) -> bool + Clone + Send + 'static,
) -> Outcome {
    loop {
        tokio::time::sleep(LOOK).await;
        let (reader, filter) = (Arc::clone(&log), wanted.clone());
        let (records, ends) =
            blocking(move || since(reader.as_ref(), topic, &begins, &filter)).await?;
        for record in &records {
            cx.out.record(&shown(record))?;
        }
        begins = ends;
    }
}

/// The last records of a topic in the order in which the log took them, and where its partitions end.
fn last(
    log: &dyn BusLog,
    topic: &'static Topic,
    most: usize,
    wanted: &dyn Fn(&Record) -> bool,
) -> Result<(Vec<Record>, Vec<u64>), BusError> {
    let mut all = Vec::new();
    let mut ends = Vec::new();
    for partition in 0..log.partitions(topic)? {
        let place = Place { topic, partition };
        let bounds = log.bounds(place)?;
        ends.push(bounds.end);
        let mut found = VecDeque::new();
        let begin = bounds.start.max(bounds.end.saturating_sub(LOOKED_MAX));
        log.read(place, begin..bounds.end, &mut |record| {
            if wanted(&record) {
                if found.len() == most {
                    found.pop_front();
                }
                found.push_back(record);
            }
            true
        })?;
        all.extend(found);
    }
    all.sort_by_key(|record: &Record| (record.log_time, record.place, record.offset));
    let skip = all.len().saturating_sub(most);
    Ok((all.split_off(skip), ends))
}

/// What has come since.
fn since(
    log: &dyn BusLog,
    topic: &'static Topic,
    begins: &[u64],
    wanted: &dyn Fn(&Record) -> bool,
) -> Result<(Vec<Record>, Vec<u64>), BusError> {
    let mut all = Vec::new();
    let mut ends = Vec::new();
    for (partition, begin) in (0..).zip(begins) {
        let place = Place { topic, partition };
        // What came in a rush is shown in parts.
        let end = log.bounds(place)?.end.min(begin + LOOKED_MAX);
        log.read(place, *begin..end, &mut |record| {
            if wanted(&record) {
                all.push(record);
            }
            true
        })?;
        ends.push(end.max(*begin));
    }
    all.sort_by_key(|record: &Record| (record.log_time, record.place, record.offset));
    Ok((all, ends))
}

fn schema(record: &Record) -> Option<&str> {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "schema")?;
    std::str::from_utf8(value).ok()
}

/// A record for people and programs: a body that is JSON is shown as such.
fn shown(record: &Record) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(text(value))))
        .collect();
    json!({
        "topic": record.place.topic.name,
        "partition": record.place.partition,
        "offset": record.offset,
        "log_time": Timestamp::from(record.log_time),
        "key": text(&record.key),
        "headers": headers,
        "body": serde_json::from_slice(&record.body).unwrap_or_else(|_| Value::from(text(&record.body))),
    })
}

async fn open(cx: &Cx, own: &SettingsArgs, follow: bool) -> Result<Arc<dyn BusLog>, Failure> {
    let mut settings = cx.settings(own)?;
    // Kafka's address, given by whatever way, means Kafka; else it is what `[forewarn]` says.
    let given = settings.origin("log.servers") != forewarn_config::Origin::Default;
    let LogSettings {
        config,
        kafka,
        embedded,
    } = log(&mut settings);
    settings.finish().map_err(|errors| wrong(&errors))?;
    if config.log == Log::Kafka || given {
        return blocking(move || {
            let log: Arc<dyn BusLog> = Arc::new(KafkaLog::connect(&kafka)?);
            Ok(log)
        })
        .await;
    }
    let path = embedded.path.display().to_string();
    if !embedded.path.is_dir() {
        return Err(Failure::not_found(
            format!("there is no log in {path}"),
            "name its folder with --set embedded.path=…, or Kafka's servers with --set log.servers=…",
        ));
    }
    if follow {
        return Err(Failure::new(
            Code::Refused,
            "the log in a folder can be read only while no process has it open, so nothing comes that could be followed",
            "`forewarn monitor` follows what is found; with Kafka topics can be followed",
        ));
    }
    blocking(move || {
        let log: Arc<dyn BusLog> = Arc::new(EmbeddedLog::open(&embedded)?);
        Ok(log)
    })
    .await
    .map_err(|failure| {
        if failure.what().contains("belongs to another process") {
            Failure::new(
                Code::Refused,
                format!("the log in {path} is open in a process that runs, and nobody else can read it"),
                "stop that process to look into its log; what it has found is in `forewarn sql` and `forewarn monitor`",
            )
        } else {
            failure
        }
    })
}

/// Away from the runtime's own thread, which has Ctrl-C to listen to.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(Code::Internal, error.to_string(), ""))?;
    done.map_err(|error| match error {
        BusError::Unreachable { .. } => Failure::new(
            Code::Unreachable,
            error.to_string(),
            "start Kafka, or name its servers with KAFKA_BOOTSTRAP_SERVERS or --set log.servers=…",
        ),
        BusError::Topic { .. } => Failure::not_found(
            error.to_string(),
            "the services make the topics when they start",
        ),
        BusError::Client(_) => Failure::new(
            Code::Unreachable,
            error.to_string(),
            "see the log of the process",
        ),
    })
}
