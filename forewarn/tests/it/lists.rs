//! Lists over several pages: all of them or a failure, and never a file that looks whole and is not.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Cli, Server, json, problem, told};

/// Three pages of two alerts; the last one fails in `/broken`.
fn server() -> Server {
    told(|asked| {
        let page = (1..=2)
            .find(|page| asked.contains(&format!("cursor=after{page}")))
            .unwrap_or(0);
        if page == 2 && asked.contains("/broken/") {
            return problem(
                503,
                "ledger-away",
                "PostgreSQL does not answer",
                "ask again in a moment",
            );
        }
        let limit = if asked.contains("limit=1&") || asked.ends_with("limit=1") {
            1
        } else {
            2
        };
        let items: Vec<Value> = (0..limit)
            .map(|k| {
                json!({
                    "alert_id": format!("a{page}{k}"), "rule": "r", "severity": "low", "state": "open", "resource": "x",
                    "title": "t", "began_at": "2026-11-21T12:00:00+00:00", "opened_at": null
                })
            })
            .collect();
        let next = (page < 2).then(|| format!("after{}", page + 1));
        json(200, &json!({ "items": items, "next": next }))
    })
}

#[test]
fn a_list_goes_on_until_there_is_enough() {
    let server = server();
    let cli = Cli::asking(&server.url());
    let ids = |args: &[&str]| -> Vec<String> {
        let said = cli
            .run(&[&["alerts", "list", "--json"], args].concat())
            .json();
        let items = said["items"].as_array().expect("a list").clone();
        let id = |item: &Value| item["alert_id"].as_str().expect("an id").to_owned();
        items.iter().map(id).collect()
    };
    assert_eq!(ids(&[]), ["a00", "a01", "a10", "a11", "a20", "a21"]);
    assert_eq!(ids(&["--limit", "3"]), ["a00", "a01", "a10"]);
    cli.run(&["alerts", "list", "--limit", "2"])
        .is(0, "there are more than 2");
}

#[test]
fn an_export_is_whole_or_not_there() {
    let server = server();
    let cli = Cli::asking(&server.url());
    cli.run(&["export", "alerts", "-o", "all.jsonl"])
        .is(0, "6 alerts are in all.jsonl");
    let text = fs::read_to_string(cli.home().join("all.jsonl")).expect("a file");
    assert_eq!(text.lines().count(), 6);
    let csv = cli.run(&["export", "alerts", "--format", "csv"]);
    assert_eq!(csv.out.lines().count(), 7, "{csv:?}");

    let broken = Cli::asking(&format!("{}/broken", server.url()));
    broken
        .run(&["export", "alerts", "-o", "all.jsonl"])
        .is(4, "PostgreSQL does not answer");
    let left: Vec<_> = fs::read_dir(broken.home()).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
}
