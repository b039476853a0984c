//! Points that may be written twice, refused lines that are found, buckets and tasks that are made once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forewarn_config::Secret;
use forewarn_store::influxdb::{Config, Error, InfluxDb};
use forewarn_store::metrics::{
    Field, LEVELS, Lines, MetricStore as _, Point, Span, WriteError, Written, line,
};
use forewarn_testkit::servers;

fn config(what: &str) -> Option<Config> {
    let (url, token) = servers::influxdb(what)?;
    Some(Config {
        url,
        token: Secret::new(token),
        bucket: servers::unique("test"),
        startup_wait: Duration::from_secs(10),
        batch_lines: 100,
        ..Config::default()
    })
}

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}

fn lines(count: i64, start: i64, value: impl Fn(i64) -> f64) -> Lines {
    let mut lines = Lines::default();
    for i in 0..count {
        lines.begin(&line::encode("m ,=\\"));
        lines.tag("resource", &line::encode("web \"01\"\\"));
        lines.tag(
            &line::encode("k=,\n"),
            &line::encode(["", "a b", "50%", "é,="][i as usize % 4]),
        );
        lines.float("value", value(i));
        lines.end(start + i * 1_000);
    }
    lines
}

async fn all(influxdb: &InfluxDb, start: i64) -> Vec<Point> {
    let mut points = Vec::new();
    let span = Span {
        start: start - 1_000_000,
        stop: start + 10_000_000,
    };
    influxdb
        .all_points(&influxdb.raw_bucket(), span, &mut |point| {
            points.push(point)
        })
        .await
        .expect("a readable answer");
    points.sort_by_key(|point| point.time);
    points
}

#[tokio::test]
async fn writing_twice_is_writing_once_and_numbers_keep_their_last_bit() {
    let Some(config) = config("InfluxDB writes") else {
        return;
    };
    let influxdb = InfluxDb::start(&config).await.expect("set up");
    let start = now() - 1_000_000;
    let odd = [
        0.1,
        -0.0,
        5e-324,
        1.797_693_134_862_315_7e308,
        1e16,
        -123_456.789_012_345_67,
        1.0,
    ];
    let lines = lines(250, start, |i| odd[i as usize % odd.len()]);
    for _ in 0..2 {
        assert_eq!(
            influxdb.write(&lines).await.expect("written"),
            Written::default()
        );
    }
    let expected: Vec<Point> = lines
        .iter()
        .map(|text| line::parse(text).expect("our own line"))
        .collect();
    assert_eq!(all(&influxdb, start).await, expected);
    influxdb.tear_down().await.expect("cleaned up");
}

#[tokio::test]
async fn a_refused_line_is_found_and_the_rest_is_written() {
    let Some(config) = config("InfluxDB refusals") else {
        return;
    };
    let influxdb = InfluxDb::start(&config).await.expect("set up");
    let start = now() - 1_000_000;
    assert!(
        influxdb
            .write(&lines(1, start, |_| 1.0))
            .await
            .expect("written")
            .refused
            .is_empty()
    );
    let mut batch = lines(150, start, |_| 2.0);
    // A text where the field holds numbers: a conflict of types.
    batch.begin(&line::encode("m ,=\\"));
    batch.tag("resource", "x");
    batch.text("value", "not a number");
    batch.end(start + 500_000);
    // A time beyond what InfluxDB can count in nanoseconds.
    batch.begin("far");
    batch.float("value", 1.0);
    batch.end(i64::MAX / 2);
    batch.begin("after");
    batch.float("value", 3.0);
    batch.end(start + 600_000);

    let refused = influxdb
        .write(&batch)
        .await
        .expect("the server answers")
        .refused;
    assert_eq!(
        refused
            .iter()
            .map(|refused| refused.line)
            .collect::<Vec<_>>(),
        [150, 151]
    );
    assert!(
        refused[0].message.contains("type"),
        "{}",
        refused[0].message
    );
    let points = all(&influxdb, start).await;
    assert_eq!(points.len(), 151);
    assert_eq!(
        points[0].fields["value"],
        Field::Float(2.0),
        "the later record wins"
    );
    assert_eq!(points[150].measurement, "after");
    influxdb.tear_down().await.expect("cleaned up");
}

#[tokio::test]
async fn points_older_than_the_bucket_keeps_are_no_fault() {
    let Some(config) = config("InfluxDB retention") else {
        return;
    };
    let retention_raw = Duration::from_secs(3_600);
    let influxdb = InfluxDb::start(&Config {
        retention_raw,
        ..config
    })
    .await
    .expect("set up");
    let start = now() - 1_000_000;
    let mut batch = lines(150, start - 7 * 24 * 3_600_000, |_| 1.0);
    batch.begin("new");
    batch.float("value", 2.0);
    batch.end(start);
    let written = influxdb.write(&batch).await.expect("the server answers");
    assert_eq!(
        written,
        Written {
            refused: Vec::new(),
            expired: 150
        }
    );
    let points = all(&influxdb, start).await;
    assert_eq!(points.len(), 1, "what is new beside them is written");
    // A line that is to blame is still found among them.
    batch.begin("new");
    batch.text("value", "not a number");
    batch.end(start);
    let written = influxdb.write(&batch).await.expect("the server answers");
    assert_eq!(
        written
            .refused
            .iter()
            .map(|refused| refused.line)
            .collect::<Vec<_>>(),
        [151]
    );
    assert_eq!(written.expired, 150);
    influxdb.tear_down().await.expect("cleaned up");
}

#[tokio::test]
async fn a_wrong_token_or_a_missing_server_blames_no_line() {
    let Some(config) = config("InfluxDB faults") else {
        return;
    };
    let lines = lines(2, now(), |_| 1.0);
    let denied = InfluxDb::open(&Config {
        token: Secret::new("wrong"),
        ..config.clone()
    })
    .expect("an address");
    assert!(matches!(
        denied.write(&lines).await,
        Err(WriteError::Denied { status: 401, .. })
    ));
    assert!(matches!(denied.set_up().await, Err(Error::Denied { .. })));
    let nowhere = InfluxDb::open(&config).expect("an address");
    assert!(
        matches!(
            nowhere.write(&lines).await,
            Err(WriteError::Denied { status: 404, .. })
        ),
        "no such bucket"
    );
    let away = InfluxDb::open(&Config {
        url: "http://127.0.0.1:1".into(),
        ..config.clone()
    })
    .expect("an address");
    assert!(matches!(
        away.write(&lines).await,
        Err(WriteError::Later { .. })
    ));
    let other = InfluxDb::open(&Config {
        org: "nobody".into(),
        ..config
    })
    .expect("an address");
    assert!(matches!(other.set_up().await, Err(Error::Org(_))));
}

#[tokio::test]
async fn services_that_start_together_make_buckets_and_tasks_once() {
    let Some(config) = config("InfluxDB set-up") else {
        return;
    };
    let starts = (0..4).map(|_| InfluxDb::start(&config));
    for outcome in futures::future::join_all(starts).await {
        outcome.expect("each finds it made");
    }
    // A longer retention is taken over, a shorter one is not.
    for (raw, expected) in [(8, 8), (3, 8)] {
        let retention_raw = Duration::from_secs(raw * 24 * 3600);
        let influxdb = InfluxDb::start(&Config {
            retention_raw,
            ..config.clone()
        })
        .await
        .expect("set up");
        let found = get(
            &config,
            &format!("/api/v2/buckets?name={}", influxdb.raw_bucket()),
        )
        .await;
        assert_eq!(
            found["buckets"][0]["retentionRules"][0]["everySeconds"],
            expected * 24 * 3600
        );
    }
    let tasks = get(&config, "/api/v2/tasks?limit=500").await;
    let ours = tasks["tasks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|task| {
            task["name"]
                .as_str()
                .is_some_and(|name| name.starts_with(&format!("{}:", config.bucket)))
        });
    assert_eq!(ours.count(), LEVELS.len());
    InfluxDb::open(&config)
        .expect("an address")
        .tear_down()
        .await
        .expect("cleaned up");
}

#[tokio::test]
async fn aggregates_are_made_of_whole_windows() {
    let Some(config) = config("InfluxDB downsampling") else {
        return;
    };
    let influxdb = InfluxDb::start(&config).await.expect("set up");
    // Two minutes of a ramp, over before the last whole minute began.
    let start = now().div_euclid(60_000) * 60_000 - 240_000;
    let mut lines = Lines::default();
    for i in 0..120 {
        lines.begin("ramp");
        lines.tag("resource", "web-01");
        lines.float("value", f64::from(i));
        lines.text("state", "scored");
        lines.end(start + i64::from(i) * 1_000);
    }
    assert!(
        influxdb
            .write(&lines)
            .await
            .expect("written")
            .refused
            .is_empty()
    );
    for level in &LEVELS[..2] {
        run_task(
            &config,
            &format!("{}: {} aggregates", config.bucket, level.name),
        )
        .await;
    }
    for (level, window) in LEVELS[..2].iter().zip([10, 60]) {
        let mut points = Vec::new();
        let span = Span {
            start,
            stop: start + 120_000,
        };
        let bucket = influxdb.level_bucket(level);
        influxdb
            .points(&bucket, "ramp", span, &mut |point| points.push(point))
            .await
            .expect("readable");
        assert_eq!(points.len(), 3 * 120 / window, "{}", level.name);
        for point in points {
            let first = ((point.time - start) / 1_000) as f64;
            let last = first + window as f64 - 1.0;
            let expected = match point.tags["aggregate"].as_str() {
                "mean" => (first + last) / 2.0,
                "min" => first,
                "max" => last,
                other => panic!("an aggregate `{other}`"),
            };
            assert_eq!(
                point.fields["value"],
                Field::Float(expected),
                "{} at {first}",
                level.name
            );
        }
    }
    influxdb.tear_down().await.expect("cleaned up");
}

/// Runs a task now and waits until it has succeeded.
async fn run_task(config: &Config, name: &str) {
    let tasks = get(config, "/api/v2/tasks?limit=500").await;
    let task = tasks["tasks"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|task| task["name"] == name)
        .expect("the task");
    let task = task["id"].as_str().expect("an id");
    let client = forewarn_store::http::client(Duration::from_secs(10))
        .build()
        .expect("a client");
    let run: serde_json::Value = client
        .post(format!("{}/api/v2/tasks/{task}/runs", config.url))
        .header("Authorization", format!("Token {}", config.token.reveal()))
        .header("Content-Type", "application/json")
        .body("{}")
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a run");
    let run = run["id"]
        .as_str()
        .unwrap_or_else(|| panic!("a run, not {run}"));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let state = get(config, &format!("/api/v2/tasks/{task}/runs/{run}")).await;
        match state["status"].as_str() {
            Some("success") => return,
            Some("failed" | "canceled") => {
                panic!(
                    "{name}: {}",
                    get(config, &format!("/api/v2/tasks/{task}/runs/{run}/logs")).await
                )
            }
            _ => assert!(
                tokio::time::Instant::now() < deadline,
                "{name} does not end: {state}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn get(config: &Config, path: &str) -> serde_json::Value {
    let client = forewarn_store::http::client(Duration::from_secs(10))
        .build()
        .expect("a client");
    client
        .get(format!("{}{path}", config.url))
        .header("Authorization", format!("Token {}", config.token.reveal()))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON")
}
