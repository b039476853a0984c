//! What can go wrong here, told as `application/problem+json`: the kinds of it, and how the OpenAPI document describes it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use forewarn_store::postgres::{ClientError, Error as PostgresError, describe, error::SqlState};
use serde::Serialize;
use utoipa::ToSchema;

/// What an error's body says.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(
    dead_code,
    reason = "it describes; forewarn_service::Problem writes, and the tests compare"
)]
pub(crate) struct Document {
    /// Which kind of error, as a name that does not change: `urn:forewarn:problem:not-found`.
    #[schema(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time.
    detail: String,
    /// What to do about it; left out when there is nothing to do but to wait.
    #[schema(required = false)]
    remedy: String,
    /// Each query parameter that is wrong; only for `urn:forewarn:problem:parameters`.
    #[schema(required = false)]
    parameters: Vec<WrongParameter>,
    /// Which command it is about; only where one was given.
    #[schema(required = false)]
    command_id: uuid::Uuid,
}

/// One query parameter or part of the path that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct WrongParameter {
    /// Its name.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) detail: String,
    /// What would be right.
    pub(crate) remedy: String,
}

/// An answer that is an error: the document that every service has, in the kinds of this one.
#[derive(Debug)]
pub(crate) struct Problem(forewarn_service::Problem);

impl Problem {
    pub(crate) fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self(forewarn_service::Problem::new(status, name, title))
    }

    /// What is wrong this time.
    pub(crate) fn detail(self, detail: impl Into<String>) -> Self {
        Self(self.0.detail(detail))
    }

    /// What the one who asks can do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self(self.0.remedy(remedy))
    }

    /// A further member of the document.
    pub(crate) fn with(self, name: &str, value: &impl Serialize) -> Self {
        Self(self.0.with(name, value))
    }

    /// The same request may succeed in a moment.
    pub(crate) fn later(name: &'static str, title: &'static str) -> Self {
        let problem = forewarn_service::Problem::new(StatusCode::SERVICE_UNAVAILABLE, name, title);
        Self(problem.header(header::RETRY_AFTER, "2"))
    }

    /// Parameters that are wrong, all of them at once.
    pub(crate) fn parameters(wrong: Vec<WrongParameter>) -> Self {
        let names: Vec<_> = wrong
            .iter()
            .map(|wrong| format!("`{}`: {}", wrong.name, wrong.detail))
            .collect();
        let remedies: Vec<_> = wrong.iter().map(|wrong| wrong.remedy.as_str()).collect();
        let problem = Self::new(
            StatusCode::BAD_REQUEST,
            "parameters",
            "a parameter is not understood",
        )
        .detail(names.join("; "))
        .remedy(remedies.join("; "));
        Self(problem.0.with("parameters", &wrong))
    }

    /// There is no such thing; `what` says which, as a sentence's beginning.
    pub(crate) fn not_found(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "what was asked for is not here",
        )
        .detail(detail)
        .remedy(remedy)
    }

    /// PostgreSQL does not answer, or not as it should. Its words go into the log only.
    pub(crate) fn ledger(error: &PostgresError) -> Self {
        match error {
            PostgresError::Statement(error) => Self::from(error),
            other => {
                tracing::warn!(error = %other, "the ledger cannot be read");
                Self::later("ledger-away", "the ledger cannot be read now")
                    .detail("PostgreSQL does not answer")
                    .remedy("ask again in a moment; /ready says when it is back")
            }
        }
    }

    /// A defect of this program.
    pub(crate) fn internal(what: &str) -> Self {
        tracing::error!(what, "a defect");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the answer could not be made",
        )
        .detail("a defect of this program; its log says more")
    }
}

impl From<&ClientError> for Problem {
    fn from(error: &ClientError) -> Self {
        let words = describe(error);
        match error.code() {
            Some(code) if *code == SqlState::QUERY_CANCELED => {
                tracing::warn!(error = %words, "a query took too long");
                Self::later("too-slow", "the ledger took too long")
                    .detail("the query was given up after `api.query_timeout`")
                    .remedy("ask for less: a shorter time, one resource, a smaller limit")
            }
            Some(code)
                if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) =>
            {
                tracing::warn!(error = %words, "the schema is not there yet");
                Self::later("schema", "the ledger is not made yet")
                    .detail("PostgreSQL lacks a table or column that this program reads")
                    .remedy("start the services that write to it, of this version: they make it")
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                tracing::error!(error = %words, "the user of `postgres.url` may not read the ledger");
                Self::later("ledger-denied", "the ledger may not be read")
                    .detail("PostgreSQL does not let this service read the tables")
                    .remedy("grant the role forewarn_ro to the user of `postgres.url`")
            }
            // In words: a restart, too many clients, a defect. Without: the connection broke.
            _ => {
                tracing::warn!(error = %words, "the ledger cannot be read");
                Self::later("ledger-away", "the ledger cannot be read now")
                    .detail("PostgreSQL does not answer as it should; this service's log says more")
                    .remedy("ask again in a moment")
            }
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self::from(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
