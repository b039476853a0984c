//! Answering with the one thing that a path names by its id: such endpoints differ in their words and statement only.

use axum::Json;
use axum::http::Uri;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::App;
use crate::params::{self, NoQuery, Params};
use crate::problem::Problem;

/// How things of one kind are found by their ids.
pub(crate) struct ById {
    /// Its word for people: `alert`.
    pub(crate) kind: &'static str,
    /// What the path calls the id.
    pub(crate) parameter: &'static str,
    /// The list of those that there are.
    pub(crate) list: &'static str,
    /// The statement that reads one, whose only parameter is the id.
    pub(crate) sql: &'static str,
}

impl ById {
    /// The thing whose id `text` is, for an endpoint that takes no query parameters.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &self,
        app: &App,
        uri: &Uri,
        text: &str,
    ) -> Result<Json<T>, Problem> {
        Params::of::<NoQuery>(uri).finish()?;
        let id = self.id(text)?;
        let found = app.ledger().one(self.sql, &[&id]).await?;
        found.map(Json).ok_or_else(|| self.missing(id))
    }

    /// The id in the path.
    pub(crate) fn id(&self, text: &str) -> Result<Uuid, Problem> {
        params::id(self.parameter, text)
    }

    /// There is none of this id.
    pub(crate) fn missing(&self, id: Uuid) -> Problem {
        Problem::not_found(
            format!("there is no {} {id}", self.kind),
            format!("see {} for those that are kept", self.list),
        )
    }
}
