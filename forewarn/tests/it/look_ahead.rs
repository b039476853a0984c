//! `query` and `predict` before a server that answers as the API documents.

use std::fs;

use expect_test::expect;
use forewarn_store::Timestamp;
use serde_json::{Value, json};

use crate::support::{Cli, Server, json, problem, told};

/// A climb by a hundredth a step of ten seconds, give or take a little that repeats, up to just now.
fn climb(mount: &str, slope: f64) -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after the epoch");
    let end = now.as_secs() as i64 / 10 * 10;
    let points: Vec<Value> = (0..90_i64)
        .map(|k| {
            let at = Timestamp::from_micros((end - (89 - k) * 10) * 1_000_000);
            let value = 0.3 + slope * k as f64 + 0.001 * (k * 7 % 5) as f64;
            json!({ "ts": at, "value": value })
        })
        .collect();
    json!({ "tags": { "system.filesystem.mountpoint": mount }, "points": points })
}

fn series(metric: &str, series: Vec<Value>) -> Value {
    json!({
        "resource": "web-01", "metric": metric, "unit": "1", "since": "2026-11-21T11:00:00+00:00",
        "until": "2026-11-21T12:00:00+00:00", "step_seconds": 10.0, "source": "raw", "series": series
    })
}

fn server() -> Server {
    told(|asked| {
        let few = json!({ "tags": {"cpu.mode": "user"}, "points": [
            {"ts": "2026-11-21T11:00:00+00:00", "value": 0.25}, {"ts": "2026-11-21T11:00:10+00:00", "value": 0.5}
        ] });
        match asked {
            asked if asked.contains("/resources/web-01/series") => json(
                200,
                &json!({"items": [{"metric": "system.cpu.utilization"}, {"metric": "orders"}], "next": null}),
            ),
            asked if asked.contains("/resources?") => json(
                200,
                &json!({"items": [{"resource": "web-01", "kind": "server"}], "next": null}),
            ),
            asked if asked.contains("system.filesystem.utilization") => json(
                200,
                &series(
                    "system.filesystem.utilization",
                    vec![climb("/quiet", 0.0), climb("/data", 0.005)],
                ),
            ),
            asked if asked.contains("data=features") && asked.contains("cpu.utilization") => {
                json(200, &series("cpu.utilization", vec![climb("x", 0.0)]))
            }
            asked if asked.contains("metric=cpu_usage") => {
                json(200, &series("system.cpu.utilization", vec![few]))
            }
            _ => problem(404, "not-found", "no such metric", "see /api/v1"),
        }
    })
}

#[test]
fn points_are_rows_in_every_form() {
    let server = server();
    let cli = Cli::asking(&server.url());
    let said = cli.run(&["query", "web-01", "cpu_usage", "--since", "-1h"]);
    expect![[r#"
        2026-11-21T11:00:00+00:00	cpu.mode=user	0.25
        2026-11-21T11:00:10+00:00	cpu.mode=user	0.5
    "#]]
    .assert_eq(&said.out);
    assert_eq!(
        said.err,
        "system.cpu.utilization of web-01, steps of 10 s from raw\n"
    );
    assert_eq!(cli.run(&["-q", "query", "web-01", "cpu_usage"]).err, "");
    let csv = cli.run(&["query", "web-01", "cpu_usage", "--csv"]);
    assert!(
        csv.out
            .starts_with("TIME,TAGS,VALUE\n2026-11-21T11:00:00+00:00,cpu.mode=user,0.25\n"),
        "{csv:?}"
    );
    let document = cli.run(&["query", "web-01", "cpu_usage", "--json"]).json();
    assert_eq!(document["series"][0]["points"][1]["value"], 0.5);
    let all = cli.run(&["query", "max(cpu_usage) by host"]);
    expect![[r#"
        2026-11-21T11:00:00+00:00	web-01	0.25
        2026-11-21T11:00:10+00:00	web-01	0.5
    "#]]
    .assert_eq(&all.out);
    cli.run(&["query", "web-01", "cpu_usge"])
        .is(6, "did you mean `cpu_usage`?");
    cli.run(&["query", "web-01", "ordrs"])
        .is(6, "did you mean `orders`?");
    cli.run(&["query", "sum(cpu_usage)"])
        .is(2, "mean, min or max");
}

#[test]
fn what_climbs_crosses_its_limit_and_what_does_not_does_not() {
    let server = server();
    let cli = Cli::asking(&server.url());
    let said = cli.run(&[
        "predict",
        "web-01",
        "disk_usage",
        "--json",
        "--plot",
        "disk.svg",
    ]);
    let document = said.json();
    assert_eq!(document["metric"], "system.filesystem.utilization");
    let items = document["items"].as_array().expect("a list");
    // The one that crosses comes first. At 0.745 by 0.0005 a second it has 410 seconds to 0.95.
    let first = &items[0];
    assert_eq!(first["tags"], "system.filesystem.mountpoint=/data");
    assert_eq!(first["limit"]["by"], "rule running-out");
    let instant = |key: &str| -> Timestamp { first[key].as_str().expect(key).parse().expect(key) };
    let left = (instant("p50_at").micros() - instant("as_of").micros()) / 1_000_000;
    assert!((380..440).contains(&left), "{left}");
    assert!(instant("p10_at") < instant("p50_at"));
    assert!(first["probability"].as_f64() > Some(0.9), "{first}");
    let quiet = &items[1];
    assert_eq!(quiet["p50_at"], Value::Null);
    assert_eq!(
        quiet["reason"],
        "no trend since its last great fall; a longer --window may show one"
    );
    let drawing = fs::read_to_string(cli.home().join("disk.svg")).expect("a drawing");
    assert!(drawing.starts_with("<svg") && drawing.ends_with("</svg>\n"));
    for part in [
        "/data",
        "limit 95.0 % (rule running-out)",
        "prefers-color-scheme:dark",
        "class=\"cone\"",
    ] {
        assert!(drawing.contains(part), "{part}");
    }
    assert!(said.err.contains("disk.svg"), "{said:?}");
    // A familiar name of something that is judged leads to the feature, and its rule.
    let cpu = cli
        .run(&["predict", "web-01", "cpu_usage", "--json"])
        .json();
    assert_eq!(
        (&cpu["data"], &cpu["metric"]),
        (&json!("features"), &json!("cpu.utilization"))
    );
    assert_eq!(
        cpu["items"][0]["limit"],
        json!({"value": 0.95, "by": "rule cpu-saturated"})
    );
    let own = cli
        .run(&[
            "predict",
            "web-01",
            "disk_usage",
            "--limit",
            "0.8",
            "--json",
        ])
        .json();
    assert_eq!(own["items"][0]["limit"]["by"], "--limit");
    cli.run(&["predict", "web-01", "disk_usage", "--plot", "no/such.svg"])
        .is(3, "cannot be written");
}
