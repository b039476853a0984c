//! Measurements out of the real InfluxDB: what is there, as fine as it can be had, and no more than an answer holds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use forewarn_api::Config;
use forewarn_config::Secret;
use forewarn_store::influxdb::{Config as InfluxConfig, InfluxDb};
use forewarn_store::metrics::{Lines, MetricStore as _, points};
use forewarn_testkit::servers;

use crate::schema::differences;
use crate::support::{Pages, seeded};

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("not so late")
}

fn config(what: &str) -> Option<InfluxConfig> {
    let (url, token) = servers::influxdb(what)?;
    Some(InfluxConfig {
        url,
        token: Secret::new(token),
        bucket: servers::unique("test"),
        startup_wait: Duration::from_secs(10),
        ..InfluxConfig::default()
    })
}

/// Ten minutes of two series of a metric, one of another, features and scores; and other people's.
fn lines(start: i64) -> Lines {
    let mut lines = Lines::default();
    let mut point = |measurement: &str, tags: &[(&str, &str)], field: &str, at: i64, value: f64| {
        lines.begin(&points::measurement(measurement));
        for (key, value) in tags {
            lines.tag(key, value);
        }
        lines.float(field, value);
        lines.end(start + at * 1_000);
    };
    for second in 0..600 {
        let value = second as f64;
        for mode in ["user", "system"] {
            let tags = [("resource", "web-01"), ("cpu.mode", mode)];
            point("system.cpu.utilization", &tags, "value", second, value);
        }
        let mine = [("resource", "web-01"), ("tag.tenant", "x")];
        point("orders", &mine, "value", second, 2.0);
        point("orders", &[("resource", "web-02")], "value", second, 9.0);
        let foreign = [("resource", "web-01"), ("tenant", "acme")];
        point("system.cpu.utilization", &foreign, "value", second, 7.0);
        // A metric of somebody's that bears our name.
        point("features", &[("resource", "web-01")], "value", second, 1.0);
    }
    for (measurement, field, value) in [
        ("features", "cpu.utilization.value", 0.5),
        ("scores", "score", 1.5),
    ] {
        lines.begin(measurement);
        lines.tag("resource", "web-01");
        lines.tag("feature_set", "host/1");
        lines.float(field, value);
        lines.text("state", "scored");
        lines.end(start);
    }
    lines
}

#[tokio::test]
async fn measurements_are_listed_and_read() {
    let what = "the API's series";
    let (Some(config), Some(database)) = (config(what), seeded(what).await) else {
        return;
    };
    let influxdb = InfluxDb::start(&config).await.expect("set up");
    // Whole minutes, so that steps begin where the data do.
    let start = now().div_euclid(60_000) * 60_000 - 600_000;
    let written = influxdb.write(&lines(start)).await.expect("written");
    assert_eq!(written.refused, []);
    let pages = Pages::of(&database.url, Config::default(), &config);
    let document = pages.json("/api/openapi.json").await;
    let schema = |path: &str| {
        document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            .clone()
    };

    let list = pages.json("/api/v1/resources/web-01/series").await;
    let listed = schema("/api/v1/resources/{resource}/series");
    assert_eq!(differences(&document, &listed, &list), Vec::<String>::new());
    let names: Vec<String> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| format!("{} {} {}", item["metric"], item["tags"], item["last_value"]))
        .collect();
    assert_eq!(
        names,
        [
            r#""features" {} 1.0"#,
            r#""orders" {"tenant":"x"} 2.0"#,
            r#""system.cpu.utilization" {"cpu.mode":"system"} 599.0"#,
            r#""system.cpu.utilization" {"cpu.mode":"user"} 599.0"#,
        ]
    );
    assert_eq!(list["items"][2]["unit"], "1");
    let mut paged = Vec::new();
    let mut url = "/api/v1/resources/web-01/series?limit=1".to_owned();
    loop {
        let page = pages.json(&url).await;
        paged.extend(page["items"].as_array().expect("items").clone());
        match page["next"].as_str() {
            Some(next) => url = format!("/api/v1/resources/web-01/series?limit=1&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(&paged, list["items"].as_array().expect("items"));
    for (data, metric) in [("features", "cpu.utilization"), ("scores", "score")] {
        let url = format!("/api/v1/resources/web-01/series?data={data}");
        assert_eq!(pages.json(&url).await["items"][0]["metric"], metric);
    }

    let (since, until) = (instant(start), instant(start + 600_000));
    let base = format!("/api/v1/series?resource=web-01&since={since}&until={until}");
    let raw = pages
        .json(&format!("{base}&metric=cpu_usage&tag=cpu.mode=user"))
        .await;
    let read = schema("/api/v1/series");
    assert_eq!(differences(&document, &read, &raw), Vec::<String>::new());
    assert_eq!(raw["metric"], "system.cpu.utilization");
    assert_eq!(
        (&raw["source"], &raw["step_seconds"]),
        (&"raw".into(), &2.0.into())
    );
    assert_eq!(
        raw["series"][0]["points"].as_array().map(Vec::len),
        Some(300)
    );

    for (aggregate, first, last) in [
        ("mean", 29.5, 569.5),
        ("min", 0.0, 540.0),
        ("max", 59.0, 599.0),
    ] {
        let url = format!("{base}&metric=system.cpu.utilization&step=1m&aggregate={aggregate}");
        let found = pages.json(&url).await;
        let series = found["series"].as_array().expect("series");
        assert_eq!(series.len(), 2, "not another tenant's: {found}");
        let points = series[1]["points"].as_array().expect("points");
        assert_eq!(series[1]["tags"]["cpu.mode"], "user");
        assert_eq!(points.len(), 10);
        assert_eq!(points[0]["value"], first, "{aggregate}");
        assert_eq!(points[9]["value"], last, "{aggregate}");
        assert_eq!(points[0]["ts"], instant(start).replace('Z', "+00:00"));
    }
    let short = format!(
        "/api/v1/series?resource=web-01&metric=orders&since={since}&until={}",
        instant(start + 5_000)
    );
    let short = pages.json(&short).await;
    assert_eq!(short["step_seconds"], serde_json::Value::Null);
    assert_eq!(
        short["series"][0]["points"].as_array().map(Vec::len),
        Some(5)
    );
    let score = pages.json(&format!("{base}&data=scores")).await;
    assert_eq!(score["series"][0]["points"][0]["value"], 1.5);
    let feature = pages
        .json(&format!("{base}&data=features&metric=cpu.utilization"))
        .await;
    assert_eq!(feature["series"][0]["points"][0]["value"], 0.5);

    for (url, status, words) in [
        (
            format!("{base}&metric=system.cpu.utilisation"),
            404,
            "did you mean `system.cpu.utilization`?",
        ),
        (
            "/api/v1/series?resource=nobody&metric=m".to_owned(),
            404,
            "nothing is known of a resource `nobody`",
        ),
        (
            "/api/v1/resources/nobody/series".to_owned(),
            404,
            "nothing is known of a resource `nobody`",
        ),
        (
            format!("{base}&metric=m&tag=cpu.mode"),
            400,
            "`cpu.mode` is not a tag",
        ),
        (
            "/api/v1/series?resource=web-01&metric=orders&since=2026-01-01T00:00:00Z&step=1s"
                .to_owned(),
            400,
            "more than 2000 such steps",
        ),
        // Hostile names are names.
        (
            format!("{base}&metric=%22)%20%7C%3E%20drop()"),
            404,
            "has no metric",
        ),
    ] {
        let answer = pages.get(&url).await;
        assert_eq!(answer.status.as_u16(), status, "{url}: {}", answer.text);
        assert!(answer.text.contains(words), "{url}: {}", answer.text);
    }
    // There, but not then.
    let quiet = format!(
        "/api/v1/series?resource=web-01&metric=orders&since={}&until={}",
        instant(start - 20_000),
        instant(start - 10_000)
    );
    assert_eq!(pages.json(&quiet).await["series"], serde_json::json!([]));
    // Known, and nothing measured lately.
    let empty = pages.json("/api/v1/resources/db%2F01/series").await;
    assert_eq!(empty["items"], serde_json::json!([]));

    influxdb.tear_down().await.expect("cleaned up");
    database.drop().await;
}

#[tokio::test]
async fn more_than_an_answer_holds_is_refused_with_how_to_ask_for_less() {
    let what = "the API's limits of series";
    let (Some(config), Some(database)) = (config(what), seeded(what).await) else {
        return;
    };
    let influxdb = InfluxDb::start(&config).await.expect("set up");
    let start = now().div_euclid(60_000) * 60_000 - 600_000;
    let mut lines = Lines::default();
    for series in 0..600 {
        lines.begin("wide");
        lines.tag("resource", "web-01");
        lines.tag("id", &series.to_string());
        lines.float("value", 1.0);
        lines.end(start);
    }
    assert_eq!(influxdb.write(&lines).await.expect("written").refused, []);
    let pages = Pages::of(&database.url, Config::default(), &config);
    let url = "/api/v1/series?resource=web-01&metric=wide";
    let answer = pages.get(url).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains("choose series with `tag`"),
        "{}",
        answer.text
    );
    let one = pages.json(&format!("{url}&tag=id=7")).await;
    assert_eq!(one["series"][0]["tags"]["id"], "7");
    influxdb.tear_down().await.expect("cleaned up");
    database.drop().await;
}

/// As a query takes it.
fn instant(millis: i64) -> String {
    forewarn_store::Timestamp::from_micros(millis * 1_000)
        .to_string()
        .replace("+00:00", "Z")
}
