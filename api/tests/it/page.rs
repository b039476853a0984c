//! The status page: what it says in each situation, and that nobody's name is a program.

use axum::http::StatusCode;
use forewarn_api::Config;

use crate::support::{Pages, away, migrated, seeded};

#[tokio::test]
async fn it_says_what_is_wrong_first_and_escapes_every_name() {
    let Some(database) = seeded("the status page").await else {
        return;
    };
    let pages = Pages::before(&database);
    let answer = pages.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    // A slash is escaped too.
    let page = &answer.text.replace("&#x2f;", "/");
    let mut before = 0;
    for words in [
        "2 alerts need attention, 1 failure is expected in 42 min, 1 resource is critical.",
        "Alerts that need attention",
        "/data will be full in about 42 min",
        "Failures that are expected",
        "in 42 min",
        "Delete or move what is not needed.",
        "Resources",
        "at its limit: pool (connection exhaustion)",
        "How good the predictions have been",
        "1 came true, 1 open",
        "Models",
        "isolation-forest",
    ] {
        let at = page[before..].find(words);
        assert!(at.is_some(), "`{words}` is missing, or too early:\n{page}");
        before += at.expect("checked");
    }
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("<img"), "{page}");
    assert!(
        page.contains("&lt;script&gt;alert(&quot;1&quot;)"),
        "{page}"
    );
    assert!(page.contains("/api/v1/resources/%3Cscript%3E"), "{page}");
    assert!(!page.contains("This may be out of date"), "{page}");
    assert!(
        !page.contains("style="),
        "the policy allows no inline styles: {page}"
    );
    let refreshed = pages.get("/?refresh=30").await.text;
    assert!(refreshed.contains(r#"http-equiv="refresh" content="30""#));
    for nonsense in ["0", "99999", "x", "30%22%3E%3Cscript%3E"] {
        let page = pages.get(&format!("/?refresh={nonsense}")).await.text;
        assert!(!page.contains("http-equiv"), "{nonsense}: {page}");
    }
    database.drop().await;
}

#[tokio::test]
async fn it_says_when_there_is_nothing_yet_and_when_what_there_is_is_old() {
    let Some(database) = migrated("the status page without data").await else {
        return;
    };
    let pages = Pages::before(&database);
    let empty = pages.get("/").await.text;
    assert!(empty.contains("Nothing has been judged yet."), "{empty}");
    assert!(empty.contains("some seconds after"), "{empty}");
    assert!(!empty.contains("<table>"), "{empty}");

    database.run(include_str!("seed.sql")).await;
    database
        .run("UPDATE alerter_state SET logged_at = now() - interval '14 min'")
        .await;
    let old = pages.get("/").await.text;
    assert!(old.contains("This may be out of date"), "{old}");
    assert!(
        old.contains("Nothing newer than 14 min ago has been judged"),
        "{old}"
    );
    assert_eq!(pages.json("/api/v1/health").await["status"], "stale");

    database
        .run(
            "UPDATE alerter_state SET logged_at = now(); \
             UPDATE alerts SET state = 'resolved'; UPDATE predictions SET state = 'withdrawn'; \
             UPDATE resources SET state = 'learning', eta_seconds = 600, open_predictions = 0",
        )
        .await;
    let learning = pages.get("/").await.text;
    assert!(
        learning
            .contains("Nothing needs attention. 4 resources are still learning what is normal."),
        "{learning}"
    );
    assert!(
        learning.contains("for about another 10 min of data"),
        "{learning}"
    );

    database.run("UPDATE resources SET state = 'healthy'").await;
    let well = pages.get("/").await.text;
    assert!(
        well.contains("Nothing needs attention: 4 resources watched."),
        "{well}"
    );
    database.drop().await;
}

#[tokio::test]
async fn without_a_database_it_is_a_page_that_says_so() {
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let pages = Pages::of(nowhere, Config::default(), &away());
    let answer = pages.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.text.contains("The ledger cannot be read now."),
        "{}",
        answer.text
    );
    let answer = pages.get("/api/v1/alerts").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["type"], "urn:forewarn:problem:ledger-away");
}
