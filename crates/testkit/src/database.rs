//! Databases of a test's own on the real server.

use std::time::Duration;

use forewarn_config::Secret;
use forewarn_store::postgres::{Config, Postgres};

use crate::servers;

/// An empty database that nobody else knows.
#[derive(Debug)]
pub struct Database {
    /// Where it is.
    pub url: String,
    server: String,
    name: String,
}

impl Database {
    /// Makes one; `None` when there is no server, after saying that `what` is left out.
    ///
    /// # Panics
    /// When the server does not let databases be made, as in every method here: a test cannot go on then.
    pub async fn create(what: &str) -> Option<Self> {
        let server = servers::postgres(what)?;
        let name = servers::unique("forewarn_test");
        run(&server, &format!("CREATE DATABASE {name}")).await;
        let (base, _) = server.rsplit_once('/').expect("an address with a database");
        Some(Self {
            url: format!("{base}/{name}"),
            server,
            name,
        })
    }

    /// The settings that lead to it.
    #[must_use]
    pub fn config(&self) -> Config {
        config(&self.url)
    }

    /// Makes the schema, and connects.
    ///
    /// # Panics
    /// When the schema cannot be made.
    pub async fn start(&self) -> Postgres {
        Postgres::start(&self.config(), "test")
            .await
            .expect("the schema can be made")
    }

    /// Runs statements.
    ///
    /// # Panics
    /// When one of them is refused.
    pub async fn run(&self, sql: &str) {
        run(&self.url, sql).await;
    }

    /// Deletes it, whoever is still connected.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn drop(self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        run(&self.server, &sql).await;
    }
}

async fn run(url: &str, sql: &str) {
    let postgres = Postgres::open(&config(url), "test").expect("a readable address");
    let session = postgres.session().await.expect("the server answers");
    session.batch_execute(sql).await.expect("sound statements");
    session.give_back();
}

fn config(url: &str) -> Config {
    Config {
        url: Secret::new(url),
        startup_wait: Duration::from_secs(10),
        ..Config::default()
    }
}
