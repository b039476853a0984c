//! The compiled-in sets, and what a wrong one is answered with.

use expect_test::expect;
use forewarn_features::{FeatureSetConfig, FeatureSets};
use forewarn_types::Kind;

#[test]
fn the_standard_host_vector_is_complete() {
    let sets = FeatureSets::standard();
    let host = sets.by_id("host/1").expect("compiled in");
    assert!(host.features.len() >= 43, "{}", host.features.len());
    for name in [
        "cpu.utilization",
        "cpu.user",
        "cpu.system",
        "cpu.iowait",
        "load.1m",
        "cpu.context_switches",
        "memory.utilization",
        "memory.used",
        "swap.utilization",
        "memory.page_faults",
        "network.receive",
        "network.transmit",
        "network.packets",
        "network.errors",
        "connections.tcp",
        "disk.read",
        "disk.write",
        "disk.operations",
        "disk.busy",
        "filesystem.utilization",
        "filesystem.fill_rate",
        "filesystem.inodes",
        "processes.count",
        "processes.created",
        "file_descriptors.utilization",
        "pressure.cpu",
        "pressure.memory",
        "pressure.io",
    ] {
        let metric = host.metric(name).expect(name);
        assert_eq!(
            host.index_of(&format!("{name}.value")),
            Some(metric.value_index),
            "{name}"
        );
    }
    let of = |prefix: &str| {
        host.features
            .iter()
            .filter(|feature| feature.name.starts_with(prefix))
            .count()
    };
    for base in [
        "cpu.utilization.",
        "memory.utilization.",
        "network.receive.",
        "disk.write.",
    ] {
        assert!((9..=15).contains(&of(base)), "{base}: {}", of(base));
    }
    assert_eq!(of("time."), 6);
    assert_eq!(
        sets.for_kind(Kind::Server)
            .map(|set| set.id())
            .collect::<Vec<_>>(),
        ["host/1"]
    );
    assert_eq!(
        sets.for_kind(Kind::Application)
            .map(|set| set.id())
            .collect::<Vec<_>>(),
        ["application/1"]
    );
    assert!(
        sets.by_id("application/1")
            .expect("compiled in")
            .index_of("logins.per_minute.value")
            .is_some()
    );
}

#[test]
fn all_mistakes_are_told_at_once_with_their_paths() {
    let config: FeatureSetConfig = toml::from_str(
        r#"
        name = "Mine"
        version = 1
        kinds = []
        step = "2d"
        calendar = { time_zone = "Mars/Olympus" }
        temporal = ["hour_sin", "hour_sin", "moon"]
        [[metrics]]
        name = "queue.depth"
        from = "queue.depth"
        unit = "1"
        floor = 0.0
        features = ["mean_10", "meen_10", "mean_10", "value", "mean_90s"]
        [[metrics]]
        name = "queue.depth"
        from = "system.cpu.utilisation"
        unit = "1"
        floor = 1.0
        "#,
    )
    .expect("well-formed");
    let errors = FeatureSets::extended(vec![config]).expect_err("wrong in many ways");
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        feature_sets[0].name: expected lower-case letters, digits and underscores, beginning with a letter
        feature_sets[0].kinds: expected at least one kind of resource
        feature_sets[0].step: expected a span from 1s to 1h such as `30s`, `5m` or `1h`
        feature_sets[0].metrics[0].floor: expected a positive number: the smallest deviation that matters
        feature_sets[0].metrics[0].features[1]: unknown transform `meen_10`, expected one of value, age, diff, rate_of_change, lag_N, mean_W, std_W, min_W, max_W, median_W, slope_W, zscore_W, ewma_N (N and W a number of steps up to 60, W also a span up to 1h such as 30s or 15m)
        feature_sets[0].metrics[0].features[2]: feature `queue.depth.mean_10` is defined already at metrics[0].features[0]
        feature_sets[0].metrics[0].features[3]: every metric has `value`, leave it out
        feature_sets[0].metrics[0].features[4]: `mean_90s`: a window beyond one minute is a whole number of minutes
        feature_sets[0].metrics[1].name: metric `queue.depth` is defined twice
        feature_sets[0].metrics[1].name: feature `queue.depth.value` is defined already at metrics[0].name
        feature_sets[0].metrics[1].from: unknown metric `system.cpu.utilisation`: no collector measures it
        feature_sets[0].temporal[1]: feature `time.hour_sin` is defined already at temporal[0]
        feature_sets[0].temporal[2]: unknown temporal feature `moon`, expected one of hour_sin, hour_cos, weekday_sin, weekday_cos, weekend, business_hours, holiday
        feature_sets[0].calendar.time_zone: unknown time zone `Mars/Olympus`, expected an IANA name such as `Europe/Berlin`
    "#]].assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn an_id_is_taken_once_and_the_digest_tells_definitions_apart() {
    let own = |version: u32, floor: f64| -> FeatureSetConfig {
        let text = format!(
            "name = \"host\"\nversion = {version}\nkinds = [\"server\"]\n[[metrics]]\nname = \"x\"\nfrom = \"x\"\n\
             unit = \"1\"\nfloor = {floor:?}\n"
        );
        toml::from_str(&text).expect("well-formed")
    };
    let error = FeatureSets::extended(vec![own(1, 1.0)]).expect_err("taken");
    assert_eq!(
        error[0].to_string(),
        "feature_sets[0].name: feature set `host/1` exists already, raise its version or rename it"
    );
    let with = |floor| FeatureSets::extended(vec![own(2, floor)]).expect("fine");
    assert_ne!(with(1.0).digest(), with(2.0).digest());
    assert_eq!(with(1.0).digest(), with(1.0).digest());
    assert_eq!(
        with(1.0)
            .for_kind(Kind::Server)
            .map(|set| set.id())
            .collect::<Vec<_>>(),
        ["host/1", "host/2"]
    );
}

#[test]
fn an_unknown_key_is_refused() {
    let error = toml::from_str::<FeatureSetConfig>(
        "name = \"x\"\nversion = 1\nkinds = []\n[[metrics]]\nname = \"x\"\nfrom = \"x\"\nunit = \"1\"\nfloor = 1.0\nfeature = []\n",
    );
    assert!(
        error
            .expect_err("a typo")
            .to_string()
            .contains("unknown field `feature`")
    );
}
