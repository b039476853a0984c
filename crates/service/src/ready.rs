//! What has to be there before a service takes work, by name, each with the reason why it is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One condition for being ready, such as `kafka`. Clones stand for the same one.
#[derive(Clone, Debug)]
pub struct Condition {
    name: Arc<str>,
    /// Why not, or `None`.
    lacks: Arc<Mutex<Option<String>>>,
}

impl Condition {
    /// It is there.
    pub fn met(&self) {
        self.set(None);
    }

    /// It is not there, and why.
    pub fn not_met(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, lacks: Option<String>) {
        let mut state = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        // Only changes are worth a line.
        match (&*state, &lacks) {
            (Some(_), None) => tracing::info!(condition = &*self.name, "ready"),
            (None, Some(reason)) => tracing::warn!(condition = &*self.name, %reason, "not ready"),
            _ => {}
        }
        *state = lacks;
    }
}

/// All conditions of the process.
#[derive(Debug, Default)]
pub(crate) struct Conditions(Mutex<BTreeMap<Arc<str>, Condition>>);

impl Conditions {
    /// The condition of this name; at first it is not met.
    pub(crate) fn get(&self, name: &str) -> Condition {
        let mut conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Condition {
            name: name.into(),
            lacks: Arc::new(Mutex::new(Some("not there yet".to_owned()))),
        };
        conditions.entry(name.into()).or_insert_with(new).clone()
    }

    /// What is not met: names and reasons. A service that has not even said what it needs is not ready.
    pub(crate) fn lacking(&self) -> Vec<(String, String)> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if conditions.is_empty() {
            return vec![("start".to_owned(), "the service is starting".to_owned())];
        }
        let lacking = |condition: &Condition| {
            let lacks = condition
                .lacks
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Some((condition.name.to_string(), lacks.clone()?))
        };
        conditions.values().filter_map(lacking).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_everything_it_named_is_there() {
        let conditions = Conditions::default();
        assert_eq!(conditions.lacking()[0].0, "start");
        let kafka = conditions.get("kafka");
        let postgres = conditions.get("postgres");
        postgres.met();
        assert_eq!(
            conditions.lacking(),
            [("kafka".to_owned(), "not there yet".to_owned())]
        );
        conditions.get("kafka").met();
        assert!(conditions.lacking().is_empty());
        kafka.not_met("connection refused");
        assert_eq!(
            conditions.lacking(),
            [("kafka".to_owned(), "connection refused".to_owned())]
        );
    }
}
