//! Nothing that is measured makes it panic, and it can be continued from any step.

use forewarn_forecast::{Reading, Settings, Watch};
use forewarn_types::{EventTime, StepLength};
use proptest::prelude::*;

use crate::series::{filling, reading};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_measured(
        readings in proptest::collection::vec((any::<i64>(), any::<f64>(), any::<f64>()), 0..120),
        limit in 0.01..1.0f64,
    ) {
        let mut watch = Watch::default();
        for (at, used, capacity) in readings {
            let reading = Reading { at: EventTime(at), step: StepLength::SECOND, used, capacity, limit };
            if let Some(claim) = watch.observe(&reading, &Settings::default()) {
                prop_assert!(claim.p50.is_none_or(f64::is_finite));
            }
        }
    }

    #[test]
    fn continued_from_any_step(seed in 0u64..1_000, cut in 0usize..600) {
        let levels = filling(seed, 100, 200, 0.3, 0.5);
        let mut straight = Watch::default();
        let mut resumed = Watch::default();
        for (step, level) in levels.iter().enumerate() {
            if step == cut {
                let state = postcard::to_stdvec(&resumed).expect("plain data");
                resumed = postcard::from_bytes(&state).expect("what was written");
            }
            let reading = reading(step, *level);
            let settings = Settings::default();
            prop_assert_eq!(straight.observe(&reading, &settings), resumed.observe(&reading, &settings));
        }
        prop_assert_eq!(straight, resumed);
    }
}
