//! Making the topics that are missing, and refusing those that are not as the pipeline needs them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use forewarn_messages::{Partitions, TOPICS, Topic};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::reading::Readers;
use super::{Cluster, refused};
use crate::BusError;

type Admin = AdminClient<DefaultClientContext>;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(20);

/// How long a new topic may take until every broker that is asked knows it.
const SPREAD: Duration = Duration::from_secs(30);

const TIMESTAMP_TYPE: &str = "message.timestamp.type";

pub(super) fn ensure(
    cluster: &Cluster,
    readers: &Readers,
    partitions: u32,
) -> Result<(), BusError> {
    let deadline = Instant::now() + cluster.config.startup_wait;
    let metadata = wait_for_servers(cluster, readers, deadline)?;
    let missing: Vec<_> = TOPICS
        .iter()
        .copied()
        .filter(|topic| count(cluster, &metadata, topic) == 0)
        .collect();
    let admin = Admin::from_config(&cluster.client()).map_err(refused)?;
    if !missing.is_empty() {
        create(cluster, &admin, &missing, partitions, deadline)?;
    }
    let metadata = wait_for_topics(cluster, readers)?;
    for topic in TOPICS.iter().copied() {
        let found = count(cluster, &metadata, topic);
        let wanted = topic.partitions.count(partitions);
        if found != wanted as usize {
            let remedy = match topic.partitions {
                Partitions::One => "delete it".to_owned(),
                Partitions::AsInput | Partitions::ByKey => {
                    format!("set [log] partitions = {found}")
                }
            };
            let problem = format!(
                "has {found} partitions but needs {wanted}; {remedy}, or use another topic_prefix: the history of a topic \
                 cannot be spread anew"
            );
            return Err(BusError::Topic {
                topic: topic.name,
                problem,
            });
        }
    }
    check_time_stamping(cluster, &admin)
}

/// Deletes the topics of this prefix; those that are not there are as they should be.
pub(super) fn delete(cluster: &Cluster) -> Result<(), BusError> {
    let admin = Admin::from_config(&cluster.client()).map_err(refused)?;
    let names: Vec<_> = TOPICS.iter().map(|topic| cluster.name(topic)).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let options = AdminOptions::new().operation_timeout(Some(REQUEST));
    for result in block_on(admin.delete_topics(&names, &options)).map_err(refused)? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((name, code)) => {
                return Err(refused(format!("topic `{name}` is not deleted: {code}")));
            }
        }
    }
    Ok(())
}

fn wait_for_servers(
    cluster: &Cluster,
    readers: &Readers,
    deadline: Instant,
) -> Result<Metadata, BusError> {
    let mut said = None::<Instant>;
    loop {
        let problem = match readers.metadata() {
            Ok(metadata) if !metadata.brokers().is_empty() => return Ok(metadata),
            Ok(_) => "no broker is up".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(cluster.unreachable(problem));
        }
        if said.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            said = Some(Instant::now());
            tracing::warn!(
                servers = cluster.config.servers,
                problem,
                "waiting for the log"
            );
        }
        sleep(Duration::from_millis(250));
    }
}

/// How many partitions a topic has; none when it does not exist.
fn count(cluster: &Cluster, metadata: &Metadata, topic: &Topic) -> usize {
    let name = cluster.name(topic);
    metadata
        .topics()
        .iter()
        .find(|found| found.name() == name)
        .map_or(0, |found| found.partitions().len())
}

fn create(
    cluster: &Cluster,
    admin: &Admin,
    missing: &[&'static Topic],
    partitions: u32,
    deadline: Instant,
) -> Result<(), BusError> {
    let retention = cluster.config.retention.as_millis().to_string();
    // One broker of three may fail and appending goes on, with each record still on two.
    let in_sync = if cluster.config.replication_factor >= 3 {
        "2"
    } else {
        "1"
    };
    let mut left = missing.to_vec();
    while !left.is_empty() {
        let names: Vec<_> = left.iter().map(|topic| cluster.name(topic)).collect();
        let topics: Vec<_> = left
            .iter()
            .zip(&names)
            .map(|(topic, name)| {
                let replication =
                    TopicReplication::Fixed(i32::from(cluster.config.replication_factor));
                NewTopic::new(
                    name,
                    i32::try_from(topic.partitions.count(partitions)).unwrap_or(i32::MAX),
                    replication,
                )
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention)
                .set("min.insync.replicas", in_sync)
                .set("unclean.leader.election.enable", "false")
                .set("max.message.bytes", MESSAGE_BYTES_MAX)
                .set(TIMESTAMP_TYPE, stamping(topic))
                // A derived record carries the log time of its cause; it is taken even if a broker's clock was set back.
                .set("message.timestamp.after.max.ms", "9223372036854775807")
            })
            .collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST))
            .operation_timeout(Some(REQUEST));
        let outcome = block_on(admin.create_topics(&topics, &options));
        let passing = match outcome {
            Ok(results) => {
                let mut passing = None;
                for result in results {
                    match result {
                        Ok(name) => tracing::info!(topic = name, "made topic"),
                        // Another service was faster.
                        Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                        Err((name, code)) => {
                            let topic = left
                                .iter()
                                .find(|topic| cluster.name(topic) == name)
                                .copied();
                            match topic {
                                Some(topic) if !mends_itself(code) => {
                                    return Err(not_made(cluster, topic, code));
                                }
                                _ => passing = Some(code.to_string()),
                            }
                        }
                    }
                }
                passing
            }
            Err(KafkaError::AdminOp(code)) if !mends_itself(code) => return Err(refused(code)),
            Err(error @ KafkaError::AdminOpCreation(_)) => return Err(refused(error)),
            Err(error) => Some(error.to_string()),
        };
        let Some(problem) = passing else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(cluster.unreachable(problem));
        }
        // Those that were made meanwhile are answered with "exists".
        left = missing.to_vec();
        sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// What Kafka takes by default, made explicit so that it and the client's limit (1,000,000) agree.
const MESSAGE_BYTES_MAX: &str = "1048588";

const fn stamping(topic: &Topic) -> &'static str {
    if topic.stamped_by_log {
        "LogAppendTime"
    } else {
        "CreateTime"
    }
}

const fn mends_itself(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, CoordinatorLoadInProgress,
        NotController, OperationTimedOut, RequestTimedOut, ThrottlingQuotaExceeded,
    };
    matches!(
        code,
        AllBrokersDown
            | BrokerNotAvailable
            | BrokerTransportFailure
            | CoordinatorLoadInProgress
            | NotController
            | OperationTimedOut
            | RequestTimedOut
            | ThrottlingQuotaExceeded
    )
}

fn not_made(cluster: &Cluster, topic: &'static Topic, code: RDKafkaErrorCode) -> BusError {
    let remedy = match code {
        RDKafkaErrorCode::InvalidReplicationFactor => format!(
            "; the cluster has fewer brokers than [log] replication_factor = {}",
            cluster.config.replication_factor
        ),
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "; allow this user to create topics, or make it beforehand".to_owned()
        }
        _ => String::new(),
    };
    BusError::Topic {
        topic: topic.name,
        problem: format!("could not be made: {code}{remedy}"),
    }
}

/// Waits until every topic is known and every partition has a leader.
fn wait_for_topics(cluster: &Cluster, readers: &Readers) -> Result<Metadata, BusError> {
    let deadline = Instant::now() + SPREAD;
    loop {
        let problem = match readers.metadata() {
            Ok(metadata) => {
                let ready = |topic: &&Topic| {
                    let name = cluster.name(topic);
                    let found = metadata.topics().iter().find(|found| found.name() == name);
                    found.is_some_and(|found| {
                        !found.partitions().is_empty()
                            && found.partitions().iter().all(|p| p.leader() >= 0)
                    })
                };
                match TOPICS.iter().find(|topic| !ready(topic)) {
                    None => return Ok(metadata),
                    Some(topic) => {
                        format!("topic `{}` has partitions without a leader", topic.name)
                    }
                }
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(cluster.unreachable(problem));
        }
        sleep(Duration::from_millis(100));
    }
}

fn check_time_stamping(cluster: &Cluster, admin: &Admin) -> Result<(), BusError> {
    let names: Vec<_> = TOPICS.iter().map(|topic| cluster.name(topic)).collect();
    let resources: Vec<_> = names
        .iter()
        .map(|name| ResourceSpecifier::Topic(name))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let mut asked = 0;
    let answers = loop {
        match block_on(admin.describe_configs(&resources, &options)) {
            Ok(answers) => break answers,
            Err(error) if asked == super::QUESTIONS => return Err(cluster.unreachable(error)),
            Err(_) => sleep(Duration::from_millis(500)),
        }
        asked += 1;
    };
    // Answers come in the order of the questions.
    for (topic, answer) in TOPICS.iter().copied().zip(answers) {
        let answer = answer.map_err(|code| {
            let problem =
                format!("its settings cannot be read: {code}; allow this user to describe it");
            BusError::Topic {
                topic: topic.name,
                problem,
            }
        })?;
        let found = answer
            .get(TIMESTAMP_TYPE)
            .and_then(|entry| entry.value.clone())
            .unwrap_or_default();
        if found != stamping(topic) {
            let problem = format!(
                "has {TIMESTAMP_TYPE}={found} but needs {}: the log's time would be lost; set it on the topic, or use \
                 another topic_prefix",
                stamping(topic)
            );
            return Err(BusError::Topic {
                topic: topic.name,
                problem,
            });
        }
    }
    Ok(())
}
