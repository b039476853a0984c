//! Complaints that may come a thousand times a second are told once a second, with how many were left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When each kind of complaint was told last, and how many have been swallowed since.
static TOLD: Mutex<BTreeMap<&'static str, (Instant, u64)>> = Mutex::new(BTreeMap::new());

/// Runs `tell` unless `kind` was told within the last second.
pub(crate) fn warn(kind: &'static str, tell: impl FnOnce()) {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    match told.get_mut(kind) {
        Some((at, swallowed)) if now.duration_since(*at) < Duration::from_secs(1) => {
            *swallowed += 1
        }
        other => {
            let swallowed = other.map_or(0, |(_, swallowed)| *swallowed);
            told.insert(kind, (now, 0));
            drop(told);
            tell();
            if swallowed > 0 {
                tracing::warn!(kind, swallowed, "more of the same was left out");
            }
        }
    }
}
