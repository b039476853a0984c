//! Every endpoint answers what the OpenAPI document says, page by page, and refuses what it does not know.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use forewarn_api::Config;
use forewarn_store::postgres::Postgres;
use serde_json::Value;

use crate::schema::differences;
use crate::support::{HOSTILE, Pages, away, postgres, seeded};

const ALERT: &str = "00000000-0000-8000-8000-00000000000c";
const NOBODY: &str = "00000000-0000-8000-8000-00000000ffff";

/// Each path of the document that needs PostgreSQL alone, as it is asked for.
fn asked() -> Vec<(&'static str, String)> {
    let anomaly = "c4ca4238-a0b9-2382-0dcc-509a6f75849b"; // md5 of 1
    [
        ("/api/v1/health", "/api/v1/health".to_owned()),
        ("/api/v1/resources", "/api/v1/resources".to_owned()),
        (
            "/api/v1/resources/{resource}",
            "/api/v1/resources/db%2F01".to_owned(),
        ),
        ("/api/v1/anomalies", "/api/v1/anomalies".to_owned()),
        (
            "/api/v1/anomalies/{anomaly_id}",
            format!("/api/v1/anomalies/{anomaly}"),
        ),
        ("/api/v1/predictions", "/api/v1/predictions".to_owned()),
        (
            "/api/v1/predictions/{prediction_id}",
            "/api/v1/predictions/00000000-0000-8000-8000-000000000001".to_owned(),
        ),
        (
            "/api/v1/prediction-quality",
            "/api/v1/prediction-quality".to_owned(),
        ),
        ("/api/v1/alerts", "/api/v1/alerts".to_owned()),
        (
            "/api/v1/commands/{command_id}",
            "/api/v1/commands/00000000-0000-8000-8000-0000000000c0".to_owned(),
        ),
        (
            "/api/v1/alerts/{alert_id}",
            format!("/api/v1/alerts/{ALERT}"),
        ),
        (
            "/api/v1/alerts/{alert_id}/history",
            format!("/api/v1/alerts/{ALERT}/history"),
        ),
        (
            "/api/v1/alerts/{alert_id}/deliveries",
            format!("/api/v1/alerts/{ALERT}/deliveries"),
        ),
        ("/api/v1/models", "/api/v1/models".to_owned()),
        ("/api/v1/models/runs", "/api/v1/models/runs".to_owned()),
        (
            "/api/v1/models/runs/{run_id}",
            "/api/v1/models/runs/00000000-0000-8000-8000-0000000000e1".to_owned(),
        ),
        (
            "/api/v1/models/activations",
            "/api/v1/models/activations".to_owned(),
        ),
    ]
    .into()
}

/// Those that need InfluxDB: `series.rs` asks for them.
const MEASURED: [&str; 2] = ["/api/v1/resources/{resource}/series", "/api/v1/series"];

#[tokio::test]
async fn every_endpoint_answers_what_the_document_says() {
    let Some(database) = seeded("the API's endpoints").await else {
        return;
    };
    let pages = Pages::before(&database);
    let document = pages.json("/api/openapi.json").await;
    let paths = document["paths"].as_object().expect("paths");
    // Those that take commands have tests of their own.
    let known: BTreeSet<&str> = paths
        .iter()
        .filter(|(_, item)| item["get"].is_object())
        .map(|(path, _)| path.as_str())
        .collect();
    let asked = asked();
    let covered: BTreeSet<&str> = asked
        .iter()
        .map(|(path, _)| *path)
        .chain(MEASURED)
        .collect();
    assert_eq!(known, covered, "every path is asked for");

    for (path, url) in &asked {
        let answer = pages.json(url).await;
        let schema =
            &paths[*path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{path} has no schema");
        assert_eq!(
            differences(&document, schema, &answer),
            Vec::<String>::new(),
            "{url}: {answer:#}"
        );
        if let Some(items) = answer["items"].as_array() {
            assert!(!items.is_empty(), "{url} answers with something");
        }
    }
    database.drop().await;
}

#[tokio::test]
async fn every_documented_parameter_is_known_and_no_other() {
    let Some(database) = seeded("the API's parameters").await else {
        return;
    };
    let pages = Pages::before(&database);
    let document = pages.json("/api/openapi.json").await;
    let problem = &document["components"]["schemas"]["Problem"];
    for (path, item) in document["paths"].as_object().expect("paths") {
        if !item["get"].is_object() {
            continue;
        }
        let url = asked()
            .into_iter()
            .find(|(known, _)| known == path)
            .map_or_else(|| path.replace("{resource}", "web-01"), |(_, url)| url);
        for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] != "query" {
                continue;
            }
            let name = parameter["name"].as_str().expect("a name");
            let answer = pages.get(&format!("{url}?{name}=%00")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{url} {name}");
            let told = answer.json();
            let known = told["parameters"]
                .as_array()
                .expect("parameters")
                .iter()
                .all(|wrong| wrong["detail"] != "there is no such parameter here");
            assert!(known, "{url} {name}: {told}");
        }
        let answer = pages.get(&format!("{url}?severty=high")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{url}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let told = answer.json();
        assert_eq!(differences(&document, problem, &told), Vec::<String>::new());
        assert_eq!(told["type"], "urn:forewarn:problem:parameters");
        assert!(
            told["parameters"]
                .as_array()
                .is_some_and(|wrong| wrong.iter().any(|wrong| wrong["name"] == "severty")),
            "{told}"
        );
    }
    database.drop().await;
}

#[tokio::test]
async fn pages_hold_every_row_once_whatever_comes_in_between() {
    let Some(database) = seeded("pages of the API").await else {
        return;
    };
    let pages = Pages::before(&database);
    let whole = pages.json("/api/v1/anomalies?limit=1000").await;
    let whole: Vec<String> = ids(&whole, "anomaly_id");
    assert_eq!(whole.len(), 250);

    let mut found = Vec::new();
    let mut url = "/api/v1/anomalies?limit=7".to_owned();
    loop {
        let page = pages.json(&url).await;
        found.extend(ids(&page, "anomaly_id"));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        url = format!("/api/v1/anomalies?limit=7&cursor={next}");
        if found.len() == 70 {
            // Newer than all: on the first page, which has been read already.
            let sql = "INSERT INTO anomalies SELECT * FROM json_populate_record(NULL::anomalies, (
                SELECT row_to_json(a)::jsonb || jsonb_build_object('anomaly_id', gen_random_uuid(), 'ts', now())
                FROM anomalies a LIMIT 1)::json)";
            database.run(sql).await;
        }
    }
    assert_eq!(found, whole);

    for (list, key, size) in [
        ("/api/v1/resources", "resource", 4),
        ("/api/v1/predictions", "prediction_id", 2),
        ("/api/v1/alerts", "alert_id", 3),
        ("/api/v1/models", "resource", 1),
        ("/api/v1/models/runs", "run_id", 2),
        ("/api/v1/models/activations", "activation_id", 2),
        (&format!("/api/v1/alerts/{ALERT}/history"), "sequence", 2),
        (
            &format!("/api/v1/alerts/{ALERT}/deliveries"),
            "delivery_id",
            3,
        ),
    ] {
        let whole = ids(&pages.json(list).await, key);
        assert_eq!(whole.len(), size, "{list}");
        let mut found = Vec::new();
        let mut url = format!("{list}?limit=1");
        loop {
            let page = pages.json(&url).await;
            found.extend(ids(&page, key));
            match page["next"].as_str() {
                Some(next) => url = format!("{list}?limit=1&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, whole, "{list}");
    }

    let next = pages.json("/api/v1/anomalies?limit=7").await["next"].clone();
    let next = next.as_str().expect("more");
    let answer = pages
        .get(&format!("/api/v1/anomalies?severity=low&cursor={next}"))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text.contains("other filters"), "{}", answer.text);
    database.drop().await;
}

fn ids(page: &Value, key: &str) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item[key].to_string()).collect()
}

#[tokio::test]
async fn filters_choose_and_do_nothing_else() {
    let Some(database) = seeded("filters of the API").await else {
        return;
    };
    let pages = Pages::before(&database);
    for (url, size) in [
        ("/api/v1/anomalies?limit=1000&resource=db/01", 83),
        ("/api/v1/anomalies?limit=1000&severity=medium", 50),
        ("/api/v1/anomalies?limit=1000&severity=medium,low", 250),
        ("/api/v1/anomalies?limit=1000&level=series", 125),
        ("/api/v1/anomalies?limit=1000&kind=database", 0),
        (
            "/api/v1/anomalies?limit=1000&metric=cpu.utilization&min_score=3",
            51,
        ),
        // Half open: the first second holds nine, each later one ten.
        (
            "/api/v1/anomalies?since=2026-11-20T10:00:00Z&until=2026-11-20T10:00:01Z",
            9,
        ),
        (
            "/api/v1/anomalies?since=2026-11-20T10:00:01+00:00&until=2026-11-20T11:00:02%2B01:00",
            10,
        ),
        ("/api/v1/anomalies?tenant=acme", 0),
        ("/api/v1/resources?state=at_risk,critical", 2),
        ("/api/v1/resources?kind=server", 2),
        ("/api/v1/resources?tenant=acme", 1),
        ("/api/v1/predictions?state=open", 1),
        (
            "/api/v1/predictions?failure=connection_exhaustion&resource=db%2F01",
            1,
        ),
        ("/api/v1/alerts?state=predicted,open,acknowledged", 2),
        ("/api/v1/alerts?severity=high&rule=silent", 1),
        ("/api/v1/alerts?since=2020-01-01T00:00:00Z", 3),
        ("/api/v1/models?resource=web-01&feature_set=host/1", 1),
        ("/api/v1/models?resource=db/01", 0),
        ("/api/v1/models/runs?state=failed&model=isolation-forest", 1),
        ("/api/v1/models/activations?resource=db/01", 1),
        (
            "/api/v1/models/activations?resource=db&feature_set=01/database",
            0,
        ),
        ("/api/v1/models/activations?feature_set=host/1", 1),
        // Not taken for anything but a name.
        ("/api/v1/anomalies?resource='%20OR%201=1%20--", 0),
        ("/api/v1/resources?resource=%25", 0),
    ] {
        let found = pages.json(url).await;
        assert_eq!(found["items"].as_array().map(Vec::len), Some(size), "{url}");
    }
    let hostile = pages.json("/api/v1/resources?state=degraded").await;
    assert_eq!(hostile["items"][0]["resource"], HOSTILE);
    let exact = pages.json("/api/v1/anomalies?limit=1").await;
    assert_eq!(
        exact["items"][0]["p0"], 1.234_567_890_123_456e-9,
        "to the last digit"
    );
    assert_eq!(exact["items"][0]["confidence"], 0.1, "as it was stored");

    let health = pages.json("/api/v1/health").await;
    assert_eq!(health["status"], "attention");
    assert_eq!(health["stale"], Value::Null);
    assert_eq!(health["resources"]["critical"], 1);
    assert_eq!(health["active_alerts"]["high"], 1);
    assert_eq!(health["next_failure"]["resource"], "web-01");
    assert_eq!(health["lines"][0]["resource"], "db/01", "the worst first");
    let least = pages.json("/api/v1/health?limit=1").await;
    assert_eq!(least["lines_left_out"], 3);
    database.drop().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_understood_is_said_with_the_reason() {
    let Some(database) = seeded("refusals of the API").await else {
        return;
    };
    let pages = Pages::before(&database);
    for (url, status, words) in [
        ("/api/v1/alerts/x", 400, "`x` is not an id"),
        ("/api/v1/anomalies/%20", 400, "is not an id"),
        (
            "/api/v1/resources/nobody",
            404,
            "no resource `nobody` was ever judged",
        ),
        ("/api/v1/resources/a%00b", 400, "control characters"),
        ("/api/v1/nothing", 404, "nothing answers at /api/v1/nothing"),
        ("/api/docs/nothing.js", 404, "no such file"),
        (
            "/api/v1/series?resource=web-01&metric=m",
            503,
            "the metric store does not answer",
        ),
        (
            "/api/v1/series",
            400,
            "`resource`: it is missing; `metric`: it is missing",
        ),
        (
            "/api/v1/resources/web-01/series",
            503,
            "the metric store does not answer",
        ),
    ] {
        let answer = pages.get(url).await;
        assert_eq!(answer.status.as_u16(), status, "{url}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let told = answer.json();
        assert!(
            told["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(words)),
            "{told}"
        );
        assert!(
            told["remedy"]
                .as_str()
                .is_some_and(|remedy| !remedy.is_empty()),
            "{told}"
        );
    }
    for list in ["alerts", "anomalies", "predictions", "models/runs"] {
        for tail in ["", "/history", "/deliveries"] {
            let url = format!("/api/v1/{list}/{NOBODY}{tail}");
            assert_eq!(pages.get(&url).await.status, StatusCode::NOT_FOUND, "{url}");
        }
    }
    let long = format!("/api/v1/alerts?rule={}", "x".repeat(9_000));
    assert_eq!(pages.get(&long).await.status, StatusCode::URI_TOO_LONG);

    let post = Request::post("/api/v1/alerts").header("host", "localhost");
    let answer = pages
        .ask(post.body(Body::empty()).expect("a request"))
        .await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.text.contains("use GET"), "{}", answer.text);

    for host in [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
    ] {
        let foreign = Request::get("/api/v1/alerts").header("host", host);
        let answer = pages
            .ask(foreign.body(Body::empty()).expect("a request"))
            .await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!answer.text.contains("web-01"));
    }

    // Open to all, by those names alone that were given; by any while none is.
    for (hosts, evil) in [
        (vec!["api".to_owned()], StatusCode::MISDIRECTED_REQUEST),
        (Vec::new(), StatusCode::OK),
    ] {
        let open = Config {
            listen: "0.0.0.0:3000".parse().expect("an address"),
            hosts,
            ..Config::default()
        };
        let pages = Pages::of(&database.url, open, &away());
        for (host, status) in [("evil.example", evil), ("api:3000", StatusCode::OK)] {
            let request = Request::get("/api/v1/alerts").header("host", host);
            let answer = pages
                .ask(request.body(Body::empty()).expect("a request"))
                .await;
            assert_eq!(answer.status, status, "{host}");
        }
    }
    database.drop().await;
}

#[tokio::test]
async fn every_answer_is_harmless_in_a_browser() {
    let Some(database) = seeded("headers of the API").await else {
        return;
    };
    let pages = Pages::before(&database);
    for url in [
        "/",
        "/status.css",
        "/api/openapi.json",
        "/api/docs/",
        "/api/docs/swagger-ui-bundle.js",
        "/api/v1/alerts",
        "/api/v1/alerts/x",
        "/nothing",
    ] {
        let answer = pages.get(url).await;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), value, "{url}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{url}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{url}: {policy}");
        let scripts = policy.contains("script-src");
        assert_eq!(scripts, url.starts_with("/api/docs/"), "{url}: {policy}");
        assert!(!policy.contains("'unsafe-eval'"), "{url}: {policy}");
        assert!(
            !policy.contains("script-src 'self' 'unsafe-inline'"),
            "{url}: {policy}"
        );
    }
    let redirect = pages.get("/api/docs").await;
    assert_eq!(redirect.header("location"), "/api/docs/");
    database.drop().await;
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up_and_says_so() {
    let Some(database) = seeded("time limits of the API").await else {
        return;
    };
    let config = Config {
        query_timeout: Duration::from_millis(200),
        ..Config::default()
    };
    let pages = Pages::of(&database.url, config, &away());
    let other = Postgres::open(&postgres(&database.url), "test").expect("an address");
    let mut session = other.session().await.expect("a connection");
    let holder = session.begin().await.expect("a transaction");
    holder
        .batch_execute("LOCK TABLE anomalies IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("the lock");
    let answer = pages.get("/api/v1/anomalies").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["type"], "urn:forewarn:problem:too-slow");
    assert_eq!(answer.header("retry-after"), "2");
    drop(holder);
    drop(session);
    pages.json("/api/v1/anomalies?limit=1").await;
    database.drop().await;
}

#[tokio::test]
async fn more_requests_than_there_are_places_are_told_to_come_back() {
    let Some(database) = seeded("places of the API").await else {
        return;
    };
    let config = Config {
        requests_max: 1,
        ..Config::default()
    };
    let pages = Pages::of(&database.url, config, &away());
    let asked = (0..8).map(|_| pages.get("/api/v1/alerts"));
    let answers = futures::future::join_all(asked).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!(count(StatusCode::OK), 1);
    assert_eq!(count(StatusCode::SERVICE_UNAVAILABLE), 7);
    pages.json("/api/v1/alerts").await;
    database.drop().await;
}

#[tokio::test]
async fn an_answer_holds_no_more_than_it_may_and_goes_on_from_there() {
    let Some(database) = seeded("large answers of the API").await else {
        return;
    };
    let pages = Pages::before(&database);
    // A hundred kilobytes each: 1000 of them would be 25 MB.
    database
        .run("UPDATE anomalies SET summary = repeat('x', 100000)")
        .await;
    let first = pages.get("/api/v1/anomalies?limit=1000").await;
    assert!(first.text.len() < 5 << 20, "{} bytes", first.text.len());
    let first = first.json();
    let mut found = ids(&first, "anomaly_id").len();
    let mut next = first["next"].as_str().expect("there are more").to_owned();
    while found < 250 {
        let page = pages
            .json(&format!("/api/v1/anomalies?limit=1000&cursor={next}"))
            .await;
        found += ids(&page, "anomaly_id").len();
        match page["next"].as_str() {
            Some(more) => next = more.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, 250);
    database.drop().await;
}
