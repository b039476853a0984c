//! Databases and buckets of a test's own, gone when it ends.

use std::time::Duration;

use forewarn_config::Secret;
use forewarn_store::postgres::{Config, Postgres};
use forewarn_testkit::servers;

/// A database of its own on the real server.
pub(crate) struct Database {
    pub(crate) config: Config,
    /// The same address, for other clients.
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    /// `None` when there is no server, after saying that `what` is left out.
    pub(crate) async fn create(what: &str) -> Option<Self> {
        let server = servers::postgres(what)?;
        let name = servers::unique("forewarn_test");
        let admin = Postgres::open(&config(&server), "test").expect("a readable address");
        let session = admin.session().await.expect("the server answers");
        session
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("the user may create databases");
        session.give_back();
        let (base, _) = server.rsplit_once('/').expect("an address with a database");
        let url = format!("{base}/{name}");
        Some(Self {
            config: config(&url),
            url,
            server,
            name,
        })
    }

    pub(crate) async fn start(&self) -> Postgres {
        Postgres::start(&self.config, "test")
            .await
            .expect("the schema can be made")
    }

    pub(crate) async fn drop(self) {
        let admin = Postgres::open(&config(&self.server), "test").expect("a readable address");
        let session = admin.session().await.expect("the server answers");
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        session
            .batch_execute(&sql)
            .await
            .expect("the database can be dropped");
        session.give_back();
    }
}

fn config(url: &str) -> Config {
    Config {
        url: Secret::new(url),
        startup_wait: Duration::from_secs(10),
        ..Config::default()
    }
}
