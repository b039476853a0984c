//! Topics are made once, by whoever comes first, and refused when they are not as the pipeline needs them.

use std::time::Duration;

use forewarn_bus::{BusError, Config, KafkaLog, Log};
use forewarn_messages::{ANOMALY_PREDICTIONS, PROCESSED_METRICS, SYSTEM_METRICS, TOPICS};
use futures::executor::block_on;
use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};

use crate::world::World;

fn problem(error: BusError) -> (&'static str, String) {
    match error {
        BusError::Topic { topic, problem } => (topic, problem),
        other => panic!("expected a problem with a topic, got {other}"),
    }
}

#[test]
fn services_that_start_together_make_the_topics_together() {
    let Some(world) = World::bare("making topics", 3) else {
        return;
    };
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let log = KafkaLog::connect(world.config()).unwrap();
            std::thread::spawn(move || log.ensure_topics(3))
        })
        .collect();
    for start in starts {
        start.join().unwrap().unwrap();
    }
    for topic in TOPICS {
        let wanted = topic.partitions.count(3);
        assert_eq!(
            world.log.partitions(topic).unwrap(),
            wanted,
            "{}",
            topic.name
        );
    }
    let name = world.name(&SYSTEM_METRICS);
    let answers = block_on(
        world
            .admin()
            .describe_configs(&[ResourceSpecifier::Topic(&name)], &AdminOptions::new()),
    );
    let answer = answers.unwrap().remove(0).unwrap();
    let value = |key: &str| answer.get(key).unwrap().value.clone().unwrap();
    assert_eq!(value("message.timestamp.type"), "LogAppendTime");
    assert_eq!(value("retention.ms"), "604800000");
    assert_eq!(value("cleanup.policy"), "delete");
}

#[test]
fn another_number_of_partitions_is_refused_with_the_remedy() {
    World::each("refusing partitions", 2, |world| {
        let (_, problem) = problem(world.log.ensure_topics(5).unwrap_err());
        assert!(
            problem.contains("has 2 partitions but needs 5") && problem.contains("partitions = 2"),
            "{problem}"
        );
    });
}

#[test]
fn another_time_stamping_is_refused_with_the_remedy() {
    let Some(world) = World::bare("refusing time stamps", 1) else {
        return;
    };
    for (topic, stamping) in [
        (&PROCESSED_METRICS, "LogAppendTime"),
        (&ANOMALY_PREDICTIONS, "CreateTime"),
    ] {
        let name = world.name(topic);
        let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1))
            .set("message.timestamp.type", stamping);
        block_on(world.admin().create_topics(&[new], &AdminOptions::new())).unwrap();
    }
    let (topic, problem) = problem(world.log.ensure_topics(1).unwrap_err());
    assert_eq!(topic, "processed_metrics");
    assert!(problem.contains("needs CreateTime"), "{problem}");
}

#[test]
fn more_replicas_than_brokers_are_refused_with_the_remedy() {
    let Some(world) = World::bare("refusing replicas", 1) else {
        return;
    };
    let log = KafkaLog::connect(&Config {
        replication_factor: 99,
        ..world.config().clone()
    })
    .unwrap();
    let (_, problem) = problem(log.ensure_topics(1).unwrap_err());
    assert!(problem.contains("replication_factor = 99"), "{problem}");
}

#[test]
fn a_topic_that_does_not_exist_is_named_and_not_made_by_asking() {
    let Some(world) = World::bare("missing topics", 1) else {
        return;
    };
    for _ in 0..2 {
        let (topic, _) = problem(world.log.partitions(&SYSTEM_METRICS).unwrap_err());
        assert_eq!(topic, "system_metrics");
    }
}

#[test]
fn servers_that_never_come_are_named_after_the_wait() {
    let config = Config {
        // Discard, where nobody listens.
        servers: "127.0.0.1:9".into(),
        startup_wait: Duration::from_millis(300),
        ..Config::default()
    };
    let error = KafkaLog::connect(&config)
        .unwrap()
        .ensure_topics(1)
        .unwrap_err();
    assert!(
        matches!(&error, BusError::Unreachable { servers, .. } if servers == "127.0.0.1:9"),
        "{error}"
    );
}
