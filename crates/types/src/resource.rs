//! What Forewarn watches: a resource, its tenant and its kind.

use serde::{Deserialize, Serialize};

/// The tenant of everything until tenants are configured; part of every id from the first day.
pub const DEFAULT_TENANT: &str = "default";

/// Names one watched thing: the unit of order in the log (its Kafka key) and of judgement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The owner; `default` unless tenants are configured.
    pub tenant: String,
    /// The name, unique within the tenant: `web-01`.
    pub resource: String,
}

impl ResourceKey {
    /// A resource of the default tenant.
    #[must_use]
    pub fn new(resource: impl Into<String>) -> Self {
        Self {
            tenant: DEFAULT_TENANT.into(),
            resource: resource.into(),
        }
    }

    /// The key under which the log keeps this resource's records in order.
    #[must_use]
    pub fn log_key(&self) -> String {
        if self.tenant == DEFAULT_TENANT {
            self.resource.clone()
        } else {
            // A unit separator can be in neither name: both are checked at the door.
            format!("{}\u{1f}{}", self.tenant, self.resource)
        }
    }
}

/// What sort of thing a resource is; chooses the feature set that judges it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the variants are the words themselves")]
pub enum Kind {
    #[default]
    Server,
    Container,
    Database,
    Cache,
    LoadBalancer,
    Storage,
    Network,
    Queue,
    Service,
    Application,
    Serverless,
    MlModel,
    Custom,
}

impl Kind {
    /// The word used in messages, SQL and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Container => "container",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::LoadBalancer => "load_balancer",
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Queue => "queue",
            Self::Service => "service",
            Self::Application => "application",
            Self::Serverless => "serverless",
            Self::MlModel => "ml_model",
            Self::Custom => "custom",
        }
    }
}
