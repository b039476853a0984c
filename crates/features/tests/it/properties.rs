//! What holds for whatever arrives: order within the delay, late samples, snapshots, and nonsense.

use forewarn_features::Steps;
use forewarn_messages::{FeatureVector, SampleBatch};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::world::{SMALL, World, sample};

/// Every kind of transform, over steps and over minutes.
const EVERYTHING: &str = r#"
    name = "everything"
    version = 1
    kinds = ["custom"]
    temporal = ["hour_sin"]
    [[metrics]]
    name = "a"
    from = "a"
    unit = "1"
    floor = 0.001
    features = ["diff", "lag_2", "mean_5", "std_10", "median_5", "median_30", "min_1m", "slope_10", "ewma_7",
        "mean_5m", "std_15m", "max_1h", "median_5m", "slope_15m", "zscore_5m", "age"]
    [[metrics]]
    name = "c"
    from = "c"
    as = "rate"
    unit = "1/s"
    floor = 0.001
    features = ["mean_10", "max_15m"]
    [[limits]]
    kind = "disk_full"
    subject = "disk"
    per = "device"
    used = { from = "a" }
    limit = { from = "c" }
"#;

fn run(world: &mut World, batches: &[SampleBatch]) -> Vec<FeatureVector> {
    batches
        .iter()
        .flat_map(|batch| world.apply(batch))
        .collect()
}

// A seed that failed becomes a named test, so no file of seeds is kept.
proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_within_the_allowed_delay_does_not_matter(
        jitter in prop::collection::vec(0_i64..29_999, 120),
        dropped in prop::collection::vec(0_usize..120, 0..12),
    ) {
        // Two series in messages of their own, pushed every ten seconds and delayed by up to thirty.
        let world = || {
            let mut world = World::new(SMALL);
            (world.source, world.interval) = ("push", 10_000);
            world.features = vec!["a.value", "a.mean_3", "a.lag_1", "c.value"];
            world
        };
        let maker = world();
        let messages: Vec<(i64, SampleBatch)> = (0..120_i64)
            // The first steps are whole, so that both series are known: a series nobody knows is not waited for.
            .filter(|i| *i < 12 || !dropped.contains(&(*i as usize)))
            .map(|i| {
                let (name, t) = (["a", "c"][i as usize % 2], i / 2 * 10_000 + 3_000);
                (t + jitter[i as usize], maker.batch(&[(name, t, i as f64)]))
            })
            .collect();
        let end: Vec<SampleBatch> =
            (60..68).map(|i| maker.batch(&[("a", i * 10_000, 1.0), ("c", i * 10_000, 1.0)])).collect();
        let mut shuffled = messages.clone();
        shuffled.sort_by_key(|(arrival, _)| *arrival);
        let deliver = |messages: Vec<(i64, SampleBatch)>| {
            let batches: Vec<SampleBatch> = messages.into_iter().map(|(_, batch)| batch).chain(end.clone()).collect();
            run(&mut world(), &batches)
        };
        let (expected, found) = (deliver(messages), deliver(shuffled));
        prop_assert!(expected.len() > 50);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_late_sample_leaves_later_vectors_as_if_it_had_come_in_time(
        seed in any::<u64>(),
        late_at in 70_usize..170,
        behind in 1_usize..60,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut counter = 0.0;
        let maker = World::new(SMALL);
        let batches: Vec<SampleBatch> = (0..260_i64)
            .map(|second| {
                counter += rng.random_range(0.0..10.0);
                let a = rng.random_range(-5.0..5.0);
                maker.batch(&[("a", second * 1_000 + 7, a), ("c", second * 1_000 + 9, counter)])
            })
            .collect();
        let mut disordered = batches.clone();
        let late = disordered.remove(late_at);
        disordered.insert(late_at + behind, late);
        let expected = run(&mut World::new(EVERYTHING), &batches);
        let mut world = World::new(EVERYTHING);
        let found = run(&mut world, &disordered);
        // From the vector after the late arrival on; the gap may have held up one or two before.
        let from = batches[late_at + behind].time.millis() + 3_000;
        let after = |vectors: &[FeatureVector]| -> Vec<FeatureVector> {
            vectors.iter().filter(|v| v.step_end.millis() > from).cloned().collect()
        };
        let (expected, found) = (after(&expected), after(&found));
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(found.step_end, expected.step_end);
            for (i, pair) in found.values.iter().zip(&expected.values).enumerate() {
                let same = match pair {
                    (Some(found), Some(expected)) => (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                    (found, expected) => found == expected,
                };
                let name = &world.engine.sets().all()[world.set].features[i].name;
                prop_assert!(same, "{name} at {}: {pair:?}", found.step_end);
            }
        }
    }

    #[test]
    fn a_snapshot_at_any_batch_changes_nothing(seed in any::<u64>(), at in 0_usize..150) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut counter = 0.0;
        let maker = World::new(SMALL);
        let mut batches = Vec::new();
        for second in 0..150_i64 {
            counter += rng.random_range(0.0..10.0);
            let late = if rng.random_ratio(1, 10) { rng.random_range(0..90) } else { 0 };
            let t = (second - late).max(0) * 1_000 + rng.random_range(0..999);
            let mut samples = vec![("a", t, rng.random_range(-5.0..5.0))];
            if rng.random_ratio(9, 10) {
                samples.push(("c", t, counter));
            }
            if rng.random_ratio(1, 3) {
                samples.push(("a{d2}", t, 1.0));
            }
            batches.push(maker.batch(&samples));
        }
        let mut straight = World::new(EVERYTHING);
        let expected = run(&mut straight, &batches);
        let mut first = World::new(EVERYTHING);
        let mut found = run(&mut first, &batches[..at]);
        let mut second = World::new(EVERYTHING);
        if let Some(steps) = &first.steps {
            let bytes = postcard::to_stdvec(steps).expect("plain data");
            let mut steps: Steps = postcard::from_bytes(&bytes).expect("what was written");
            prop_assert!(steps.relink(&mut second.engine));
            second.steps = Some(steps);
        }
        found.extend(run(&mut second, &batches[at..]));
        prop_assert_eq!(found, expected);
        prop_assert_eq!(
            postcard::to_stdvec(&second.steps).expect("plain data"),
            postcard::to_stdvec(&straight.steps).expect("plain data")
        );
    }

    #[test]
    fn nothing_that_arrives_can_make_it_panic(
        batches in prop::collection::vec(
            (
                prop::sample::select(vec![1_000_u32, 1_001, 7_000, 60_000, 3_600_000]),
                any::<bool>(),
                prop::collection::vec(
                    (prop::sample::select(vec!["a", "c", "a{d1}", "c{d1}", "x"]), wild_time(), wild_value()),
                    0..8,
                ),
            ),
            1..60,
        ),
    ) {
        let mut world = World::new(EVERYTHING);
        world.engine.counts = Default::default();
        for (index, (interval, host, samples)) in batches.iter().enumerate() {
            (world.interval, world.source) = (*interval, if *host { "host" } else { "push" });
            world.log_time = index as i64 * 20_000;
            let mut batch = world.batch(&[]);
            batch.samples = samples.iter().map(|(name, time, value)| sample(name, *time, *value)).collect();
            for vector in world.apply(&batch) {
                prop_assert!(vector.values.iter().flatten().all(|value| value.is_finite()));
                prop_assert!(vector.limits.iter().all(|l| l.used.is_finite() && l.limit.is_finite() && l.limit > 0.0));
            }
        }
    }

    #[test]
    fn a_step_has_one_vector_whatever_the_clock_does(
        jumps in prop::collection::vec((-700_i64..700, 1_usize..40), 1..12),
    ) {
        let mut world = World::new(SMALL);
        let mut seen = std::collections::BTreeSet::new();
        let (mut offset, mut truth) = (0, 0);
        for (jump, batches) in jumps {
            offset = (offset + jump).clamp(-700, 700);
            for _ in 0..batches {
                truth += 10;
                world.log_time = truth * 1_000;
                let batch = world.batch(&[("a", (100_000 + truth + offset) * 1_000, truth as f64)]);
                for vector in world.apply(&batch) {
                    prop_assert!(seen.insert((vector.step, vector.step_end.millis())), "{} twice", vector.step_end);
                }
            }
        }
    }
}

#[test]
fn a_late_sample_of_the_minute_that_just_ended_enters_its_median() {
    let mut world = World::new(EVERYTHING);
    world.features = vec!["a.median_5m"];
    let late_at = 158;
    for second in (0..180)
        .filter(|second| *second != late_at)
        .chain([late_at, 180, 181, 182])
    {
        // Without the late value, the greatest of its minute, the medians of the minutes would be 30, 90 and 149.
        let value = if second == late_at { 1_000 } else { second };
        world.send(&[
            ("a", second * 1_000, value as f64),
            ("c", second * 1_000, 0.0),
        ]);
    }
    let last = world.send(&[("a", 183_000, 183.0), ("c", 183_000, 0.0)]);
    assert!(last.contains("a.median_5m=119.5"), "{last}");
}

fn wild_time() -> impl Strategy<Value = i64> {
    prop_oneof![
        5 => 0_i64..200_000,
        2 => 1_700_000_000_000_i64..1_700_004_000_000,
        1 => any::<i64>(),
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
        1 => Just(253_402_300_799_999),
    ]
}

fn wild_value() -> impl Strategy<Value = f64> {
    prop_oneof![3 => -100.0_f64..100.0, 1 => any::<f64>(), 1 => Just(f64::MAX), 1 => Just(5e-324), 1 => Just(-0.0)]
}

#[test]
fn one_record_makes_a_bounded_number_of_vectors() {
    let mut world = World::new(SMALL);
    let mut batch = world.batch(&[]);
    batch.samples = (0..70_000)
        .map(|second| sample("a", second * 1_000, 1.0))
        .collect();
    let vectors = world.apply(&batch);
    assert!(vectors.len() <= 50_000, "{}", vectors.len());
    assert!(world.engine.counts.unusable > 0);
}

#[test]
fn too_many_series_push_out_the_quietest() {
    let mut world = World::new(SMALL);
    for i in 0..2_500 {
        world.send(&[(&format!("c{{d{i}}}"), i * 10, 1.0)]);
    }
    assert_eq!(world.steps.as_ref().map(Steps::series), Some(2_000));
    assert_eq!(world.engine.counts.evicted, 500);
    let all: Vec<String> = (0..3_000).map(|i| format!("c{{e{i}}}")).collect();
    let all: Vec<(&str, i64, f64)> = all
        .iter()
        .map(|name| (name.as_str(), 25_000, 1.0))
        .collect();
    world.send(&all);
    assert_eq!(world.steps.as_ref().map(Steps::series), Some(2_000));
}

#[test]
fn the_state_of_a_host_is_bounded_per_series() {
    // A hundred minutes of seconds with 83 series: what is kept does not grow beyond its budget.
    let names: Vec<(&str, Option<(&str, String)>)> = [
        ("system.memory.utilization", None),
        ("system.cpu.load_average.1m", None),
        ("system.cpu.context_switches", None),
    ]
    .into_iter()
    .chain((0..40).flat_map(|device| {
        ["read", "write"]
            .map(|direction| ("system.disk.io", Some((direction, format!("sd{device}")))))
    }))
    .collect();
    let sets = std::sync::Arc::new(forewarn_features::FeatureSets::standard());
    let mut engine = forewarn_features::Engine::new(sets, forewarn_features::StepRules::default());
    let mut steps: Option<Steps> = None;
    let mut batch = World::new(SMALL).batch(&[]);
    let mut out = Vec::new();
    let mut sizes = Vec::new();
    for second in 0..6_000_i64 {
        batch.samples = names
            .iter()
            .map(|(metric, device)| {
                let mut sample = sample(metric, second * 1_000, second as f64);
                if let Some((direction, device)) = device {
                    sample
                        .tags
                        .insert("disk.io.direction".into(), (*direction).into());
                    sample.tags.insert("system.device".into(), device.clone());
                }
                sample
            })
            .collect();
        let steps = steps.get_or_insert_with(|| Steps::new(&mut engine, 0, &batch));
        steps.apply(&mut engine, &batch, forewarn_types::LogTime(0), &mut out);
        out.clear();
        if second % 1_000 == 999 {
            sizes.push(steps.bytes());
        }
    }
    let steps = steps.expect("fed");
    assert_eq!(sizes[1], sizes[5], "the state stops growing: {sizes:?}");
    let per_series = steps.bytes() / steps.series();
    assert!(
        per_series < 4_096,
        "{per_series} bytes per series, {} in all",
        steps.bytes()
    );
}
