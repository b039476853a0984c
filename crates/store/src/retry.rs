//! How long to wait before a store is tried again: longer each time, up to a bound, and for ever.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses between attempts: from 0.1 s doubling to 10 s, each with jitter so that many services do not come at once.
/// They never end: a projection waits for its store, it does not skip.
#[derive(Debug)]
pub struct Retry(ExponentialBackoff);

const LONGEST: Duration = Duration::from_secs(10);

impl Default for Retry {
    fn default() -> Self {
        Self(
            ExponentialBuilder::new()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(LONGEST)
                .with_factor(2.0)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }
}

impl Retry {
    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }

    /// An attempt went well: the next failure starts with short pauses again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let mut retry = Retry::default();
        let pauses: Vec<Duration> = (0..1_000).map(|_| retry.pause()).collect();
        assert!(pauses[0] < Duration::from_millis(250));
        assert!(
            pauses[20..]
                .iter()
                .all(|pause| (LONGEST..=2 * LONGEST).contains(pause))
        );
    }
}
