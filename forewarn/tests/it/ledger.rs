//! Commands before the real API and a real ledger with something of everything.

use std::fs;

use serde_json::Value;

use crate::support::{Cli, seeded};

#[test]
fn a_ledger_is_asked_over_the_api_and_beside_it() {
    let Some((server, database)) = seeded("the command line before a ledger") else {
        return;
    };
    let cli = Cli::asking(&server.url()).with("DATABASE_URL", &database.url);

    // Something needs attention, which is no illness of Forewarn.
    let health = cli.run(&["health", "--json"]).json();
    assert_eq!(health["status"], "attention");
    cli.run(&["health", "--fail-on-attention"])
        .is(1, "critical");
    let lines = cli.run(&["health"]);
    let first = lines.out.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("db/01\tdatabase\tcritical\t"),
        "{lines:?}"
    );

    let alerts = cli.run(&["alerts", "list", "--severity", ">=high"]);
    assert_eq!(alerts.out.lines().count(), 1, "{alerts:?}");
    assert!(
        alerts.out.starts_with("high\tpredicted\tweb-01\t"),
        "{alerts:?}"
    );
    assert_eq!(
        cli.run(&["alerts", "list", "--all", "--json"]).json()["items"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    cli.run(&["alerts", "list", "--all", "--limit", "1"])
        .is(0, "more than 1");
    cli.run(&["alerts", "list", "--state", "opn"])
        .is(2, "did you mean `open`?");
    cli.run(&[
        "alerts",
        "list",
        "--rule",
        "unlike-itself",
        "--resource",
        "web-1",
    ])
    .is(6, "did you mean `web-01`?");

    let id = "00000000-0000-8000-8000-000000000001";
    for what in [id, "web-01"] {
        let explained = cli.run(&["explain", what]);
        explained.is(0, "It grows by 4.1 GB an hour.");
        explained.is(0, "93 % within 1 d");
        explained.is(0, id);
    }
    cli.run(&["explain", "00000000-0000-8000-8000-000000000002"])
        .is(0, "confirmed at");
    cli.run(&["explain", "db/01"])
        .is(6, "no failure of `db/01` is expected");
    cli.run(&["explain", "00000000-0000-8000-8000-00000000ffff"])
        .is(6, "forewarn export predictions");

    let models = cli.run(&["models", "list"]);
    assert!(
        models
            .out
            .starts_with("web-01\thost/1\tisolation-forest\taaaa"),
        "{models:?}"
    );
    cli.run(&["models", "list", "--all"]).is(0, "too few steps");
    for model in [
        "web-01",
        "aaaaaaaaaa",
        "00000000-0000-8000-8000-0000000000e1",
    ] {
        let shown = cli.run(&["models", "show", model, "--json"]).json();
        assert_eq!(
            shown["run_id"], "00000000-0000-8000-8000-0000000000e1",
            "{model}"
        );
    }
    cli.run(&["models", "show", "db/01"]).is(0, "too few steps");
    cli.run(&["models", "show", "web-1"])
        .is(6, "did you mean `web-01`?");

    let rounds = cli.run(&["monitor", "-n", "2", "--every", "10ms"]);
    assert_eq!(rounds.code, Some(0), "{rounds:?}");
    assert_eq!(rounds.out.matches("attention").count(), 2, "{rounds:?}");
    // The second look has nothing new to tell.
    assert_eq!(
        rounds
            .out
            .matches("expected  web-01: /data will be full")
            .count(),
        1,
        "{rounds:?}"
    );
    assert!(!rounds.out.contains('\x1b'), "{rounds:?}");
    let documents = cli.run(&["monitor", "-n", "2", "--every", "10ms", "--json"]);
    assert!(
        documents
            .out
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{documents:?}"
    );

    exports(&cli);
    statements(&cli);
    rollbacks(&cli);
    server.runtime.block_on(database.drop());
}

fn exports(cli: &Cli) {
    // 250 anomalies of many equal moments, none twice.
    let said = cli.run(&[
        "export",
        "anomalies",
        "--since",
        "2026-11-01T00:00:00Z",
        "-o",
        "all.jsonl",
    ]);
    said.is(0, "250 anomalies are in all.jsonl");
    assert_eq!(said.out, "");
    let text = fs::read_to_string(cli.home().join("all.jsonl")).expect("a file");
    let mut ids: Vec<String> = text
        .lines()
        .map(|line| {
            let item: Value = serde_json::from_str(line).expect("JSON");
            item["anomaly_id"].as_str().expect("an id").to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 250);
    let csv = cli.run(&["export", "alerts", "--format", "csv"]);
    assert_eq!(csv.out.lines().count(), 4, "{csv:?}");
    assert!(
        csv.out
            .starts_with("alert_id,rule,severity,state,resource,"),
        "{csv:?}"
    );
    // A quote in a name is doubled.
    assert!(
        csv.out.contains(r#""<script>alert(""1"")</script>&'x""#),
        "{csv:?}"
    );
    cli.run(&["export", "alerts", "-o", "no/such/file"])
        .is(3, "cannot be written");
    assert!(!cli.home().join("all.jsonl.part").exists());
}

fn statements(cli: &Cli) {
    let said = cli.run(&["sql", "SELECT resource, open_predictions FROM resources WHERE tenant = 'default' ORDER BY 1 LIMIT 2"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out.lines().count(), 2);
    let sql = "SELECT 1.50 AS n, true AS b, NULL AS x, '{\"a\": 1}'::jsonb AS j, 'a,b' AS t, 'NaN'::float8 AS f";
    let rows = cli.run(&["sql", sql, "--json"]);
    assert_eq!(rows.json()[0]["j"]["a"], 1);
    // Numbers keep their digits, columns their order.
    let packed: String = rows.out.split_whitespace().collect();
    assert_eq!(
        packed,
        r#"[{"n":1.50,"b":true,"x":null,"j":{"a":1},"t":"a,b","f":"NaN"}]"#
    );
    assert_eq!(
        cli.run(&["sql", sql, "--csv"]).out,
        "n,b,x,j,t,f\n1.50,t,,\"{\"\"a\"\": 1}\",\"a,b\",NaN\n"
    );
    cli.run(&["sql", "SELECT generate_series(1, 5)", "--rows", "2"])
        .is(0, "more than 2 rows");
    // Nothing is changed, by one statement or several.
    cli.run(&["sql", "DELETE FROM alerts"])
        .is(3, "read-only transaction");
    cli.run(&["sql", "COMMIT; DELETE FROM alerts"])
        .is(2, "multiple commands");
    assert_eq!(cli.run(&["sql", "SELECT count(*) FROM alerts"]).out, "3\n");
    cli.run(&["sql", "SELECT pg_sleep(10)", "--timeout", "100ms"])
        .is(4, "gave up after 100ms");
    cli.run(&["sql", "SELECT * FROM alrts"]).is(6, "alrts");
    cli.run(&["sql", "SELEC 1"]).is(2, "syntax error");
}

fn rollbacks(cli: &Cli) {
    cli.run(&["models", "rollback", "web-1"])
        .is(6, "did you mean `web-01`?");
    cli.run(&["models", "rollback", "web-01"])
        .is(6, "no other model has judged");
    cli.run(&["models", "rollback", "web-01", "--to", "bbbbbb"])
        .is(6, "begins with `bbbbbb`");
    cli.run(&["models", "rollback", "web-01", "--to", "aaaa", "--yes"])
        .is(7, "already");
    cli.run(&["models", "rollback", "web-01", "--to", "none"])
        .is(3, "--yes");
    cli.run(&["models", "rollback", "web-01", "--to", "none", "--dry-run"])
        .is(0, "would be judged by the online detector alone");
    let count = "SELECT count(*) FROM activations WHERE scope = 'default/web-01/host/1'";
    assert_eq!(cli.run(&["sql", count]).out, "1\n");
    let done = cli.run(&["models", "rollback", "web-01", "--to", "none", "--yes"]);
    done.is(
        0,
        "undo: forewarn models rollback web-01 --to aaaaaaaaaaaa --yes",
    );
    assert_eq!(cli.run(&["sql", count]).out, "2\n");
    let last = "SELECT digest IS NULL, reason FROM activations ORDER BY activation_id DESC LIMIT 1";
    assert_eq!(cli.run(&["sql", last]).out, "t\trolled back by hand\n");
    // It does not hold yet, and yet it is decided.
    let back = cli.run(&[
        "models",
        "rollback",
        "web-01",
        "--to",
        "aaaaaaaaaaaa",
        "--yes",
        "--json",
    ]);
    assert_eq!(back.json()["done"], true);
    assert_eq!(cli.run(&["sql", count]).out, "3\n");
}
