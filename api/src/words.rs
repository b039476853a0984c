//! The closed sets of words that filters take and answers hold, for the OpenAPI document and the check of parameters.

use std::borrow::Cow;

use forewarn_store::runs;
use forewarn_types as types;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident = $words:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let words: Vec<&str> = $words;
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .enum_values(Some(words))
                        .into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )+
    };
}

/// From the least to the most severe.
pub(crate) const SEVERITIES: &[&str] = &["info", "low", "medium", "high", "critical"];
/// What an anomaly may be about.
pub(crate) const LEVELS: &[&str] = &["resource", "series"];
/// What may become of a notification.
pub(crate) const DELIVERY_STATES: &[&str] =
    &["pending", "sending", "delivered", "superseded", "failed"];

/// What may be wanted of an alert.
pub(crate) const DEEDS: &[&str] = &["acknowledge", "resolve"];
/// What may come of it.
pub(crate) const COMMAND_OUTCOMES: &[&str] = &["done", "already", "over", "unknown", "pending"];

const KINDS: [types::Kind; 13] = [
    types::Kind::Server,
    types::Kind::Container,
    types::Kind::Database,
    types::Kind::Cache,
    types::Kind::LoadBalancer,
    types::Kind::Storage,
    types::Kind::Network,
    types::Kind::Queue,
    types::Kind::Service,
    types::Kind::Application,
    types::Kind::Serverless,
    types::Kind::MlModel,
    types::Kind::Custom,
];

pub(crate) fn kinds() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.as_str()).collect()
}

pub(crate) fn failures() -> Vec<&'static str> {
    types::FailureKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .collect()
}

pub(crate) fn resource_states() -> Vec<&'static str> {
    types::ResourceState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

pub(crate) fn prediction_states() -> Vec<&'static str> {
    types::PredictionState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

/// Those that a row can have: what is pending is no alert yet.
pub(crate) fn alert_states() -> Vec<&'static str> {
    types::AlertState::ALL
        .iter()
        .filter(|state| **state != types::AlertState::Pending)
        .map(|state| state.as_str())
        .collect()
}

pub(crate) fn run_states() -> Vec<&'static str> {
    runs::RunState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

fn verdicts() -> Vec<&'static str> {
    types::VerdictState::ALL
        .iter()
        .map(|state| state.as_str())
        .collect()
}

sets! {
    /// How bad it is.
    Severity = SEVERITIES.to_vec();
    /// What a resource is.
    Kind = kinds();
    /// How something fails.
    FailureKind = failures();
    /// How a resource is doing.
    ResourceState = resource_states();
    /// What could be said about a step.
    VerdictState = verdicts();
    /// Life of a failure prediction.
    PredictionState = prediction_states();
    /// Life of an alert.
    AlertState = alert_states();
    /// What an anomaly is about.
    AnomalyLevel = LEVELS.to_vec();
    /// Life of a notification.
    DeliveryState = DELIVERY_STATES.to_vec();
    /// What is wanted of an alert.
    Deed = DEEDS.to_vec();
    /// What came of it.
    CommandOutcome = COMMAND_OUTCOMES.to_vec();
    /// Life of a training.
    RunState = run_states();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_severities_are_those_of_the_ledger() {
        let all = [
            types::Severity::Info,
            types::Severity::Low,
            types::Severity::Medium,
            types::Severity::High,
            types::Severity::Critical,
        ];
        let words: Vec<_> = all.iter().map(|severity| severity.as_str()).collect();
        assert_eq!(words, SEVERITIES);
    }
}
