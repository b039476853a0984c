//! What every metric store promises, tried on each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forewarn_config::Secret;
use forewarn_features::{FeatureSet, FeatureSets};
use forewarn_store::embedded::{Config as EmbeddedConfig, EmbeddedMetrics};
use forewarn_store::influxdb::{Config, InfluxDb};
use forewarn_store::metrics::{
    Aggregate, Data, Lines, MetricStore, ReadError, Resolution, Selection, Series, SeriesLimits,
    Span, line, points,
};
use forewarn_testkit::servers;
use forewarn_types::{ResourceKey, StepLength};

pub(crate) const LIMITS: SeriesLimits = SeriesLimits {
    series: 100,
    points: 20_000,
    time: Duration::from_secs(20),
};

/// Points as they came.
pub(crate) const RAW: Resolution = Resolution {
    level: None,
    step: None,
    aggregate: Aggregate::Mean,
};

pub(crate) fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}

/// Runs a test of what every store promises on each: on InfluxDB where there is one. Twice on the one inside the process:
/// with what is written in hours that are open, and in hours that are closed.
async fn each(what: &str, promise: impl AsyncFn(Arc<dyn MetricStore>, i64)) {
    if let Some((url, token)) = servers::influxdb(what) {
        let influxdb = InfluxDb::start(&Config {
            url,
            token: Secret::new(token),
            bucket: servers::unique("test"),
            startup_wait: Duration::from_secs(10),
            ..Config::default()
        })
        .await
        .expect("set up");
        promise(Arc::new(influxdb.clone()), now() - 1_000_000).await;
        influxdb.tear_down().await.expect("cleaned up");
    }
    for ago in [1_000_000, 86_400_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = EmbeddedMetrics::open(&EmbeddedConfig {
            path: folder.path().join("metrics"),
            ..EmbeddedConfig::default()
        })
        .expect("a folder of our own");
        promise(Arc::new(store), now() - ago).await;
    }
}

/// A line of a resource's metric, and its tags.
pub(crate) fn sample(
    lines: &mut Lines,
    resource: &ResourceKey,
    metric: &str,
    tags: &[(&str, &str)],
    at: i64,
    value: f64,
) {
    lines.begin(&points::measurement(metric));
    lines.tag("resource", &line::encode(&resource.resource));
    if resource.tenant != "default" {
        lines.tag("tenant", &line::encode(&resource.tenant));
    }
    for (key, value) in tags {
        lines.tag(&points::tag_key(key), &line::encode(value));
    }
    lines.float("value", value);
    lines.end(at);
}

fn select(resource: &ResourceKey, data: Data, metric: Option<&str>) -> Selection {
    Selection {
        resource: resource.clone(),
        data,
        metric: metric.map(str::to_owned),
        tags: Vec::new(),
    }
}

pub(crate) async fn read(
    store: &dyn MetricStore,
    resource: &ResourceKey,
    metric: &str,
    span: Span,
    resolution: Resolution,
) -> Vec<Series> {
    let selection = select(resource, Data::Samples, Some(metric));
    store
        .series(&selection, span, resolution, &LIMITS)
        .await
        .expect("readable")
}

#[tokio::test]
async fn writing_again_replaces_and_numbers_keep_their_last_bit() {
    each("what is written twice", async |store, start| {
        let web = ResourceKey::new("web \"01\"\\");
        let odd = [0.1, -0.0, 5e-324, f64::MAX, 1e16, -123_456.789_012_345_67];
        let lines = |factor: f64| {
            let mut lines = Lines::default();
            for i in 0..200 {
                let value = odd[i as usize % odd.len()] * factor;
                sample(
                    &mut lines,
                    &web,
                    "m ,=\\",
                    &[("k=,\n", "é,=")],
                    start + i * 1_000,
                    value,
                );
            }
            lines
        };
        // Last comes what holds.
        for factor in [0.5, 1.0, 1.0] {
            let written = store.write(&lines(factor)).await.expect("written");
            assert_eq!(written, forewarn_store::metrics::Written::default());
        }
        let span = Span {
            start,
            stop: start + 199_000,
        };
        let found = read(store.as_ref(), &web, "m ,=\\", span, RAW).await;
        let [series] = found.as_slice() else {
            panic!("one series: {found:?}")
        };
        assert_eq!(series.metric, "m ,=\\");
        assert_eq!(
            series.tags,
            BTreeMap::from([("k=,\n".to_owned(), "é,=".to_owned())])
        );
        let bits: Vec<(i64, u64)> = series
            .points
            .iter()
            .map(|(at, v)| (*at, v.to_bits()))
            .collect();
        // The span's end is not in it.
        let wanted: Vec<(i64, u64)> = (0..199)
            .map(|i| (start + i * 1_000, odd[i as usize % odd.len()].to_bits()))
            .collect();
        assert_eq!(bits, wanted);
    })
    .await;
}

#[tokio::test]
async fn what_was_selected_comes_and_nothing_else() {
    each("what is selected", async |store, start| {
        let (web, other) = (ResourceKey::new("web-01"), ResourceKey::new("web-02"));
        let foreign = ResourceKey {
            tenant: "acme".to_owned(),
            resource: "web-01".to_owned(),
        };
        let mut lines = Lines::default();
        sample(&mut lines, &web, "cpu", &[("mode", "user")], start, 1.0);
        sample(&mut lines, &web, "cpu", &[("mode", "system")], start, 2.0);
        sample(&mut lines, &web, "memory", &[], start + 1_000, 3.0);
        // Metrics and tags that bear names of ours.
        sample(
            &mut lines,
            &web,
            "features",
            &[("resource", "web-02")],
            start,
            4.0,
        );
        sample(&mut lines, &other, "cpu", &[("mode", "user")], start, 5.0);
        sample(&mut lines, &foreign, "cpu", &[("mode", "user")], start, 6.0);
        for (measurement, field, value) in [
            ("features", "cpu.utilization.value", 7.0),
            ("scores", "score", 8.0),
        ] {
            lines.begin(measurement);
            lines.tag("resource", "web-01");
            lines.tag("feature_set", "host/1");
            lines.float(field, value);
            lines.text("state", "scored, \"or\" not");
            lines.end(start);
        }
        assert_eq!(store.write(&lines).await.expect("written").refused, []);
        let span = Span {
            start: start - 1_000,
            stop: start + 10_000,
        };
        let told = async |selection: Selection| {
            let found = store
                .latest(&selection, span, &LIMITS)
                .await
                .expect("readable");
            let all = store
                .series(&selection, span, RAW, &LIMITS)
                .await
                .expect("readable");
            assert_eq!(found, all, "each has one point");
            let names = found
                .iter()
                .map(|one| format!("{} {:?} {}", one.metric, one.tags, one.points[0].1));
            names.collect::<Vec<String>>()
        };
        assert_eq!(
            told(select(&web, Data::Samples, None)).await,
            [
                "cpu {\"mode\": \"system\"} 2",
                "cpu {\"mode\": \"user\"} 1",
                "features {\"resource\": \"web-02\"} 4",
                "memory {} 3",
            ]
        );
        let mut one = select(&web, Data::Samples, Some("cpu"));
        one.tags = vec![("mode".to_owned(), "user".to_owned())];
        assert_eq!(told(one).await, ["cpu {\"mode\": \"user\"} 1"]);
        assert_eq!(
            told(select(&foreign, Data::Samples, None)).await,
            ["cpu {\"mode\": \"user\"} 6"]
        );
        assert_eq!(
            told(select(&web, Data::Features, Some("cpu.utilization"))).await,
            ["cpu.utilization {\"feature_set\": \"host/1\"} 7"]
        );
        assert_eq!(
            told(select(&web, Data::Features, Some("cpu"))).await,
            [""; 0]
        );
        assert_eq!(
            told(select(&web, Data::Scores, None)).await,
            ["score {\"feature_set\": \"host/1\"} 8"]
        );
        assert_eq!(
            told(select(&ResourceKey::new("nobody"), Data::Samples, None)).await,
            [""; 0]
        );
    })
    .await;
}

#[tokio::test]
async fn the_last_point_is_that_of_the_span() {
    each("the last point", async |store, start| {
        let web = ResourceKey::new("web-01");
        for i in [0, 2, 1, 3] {
            let mut lines = Lines::default();
            sample(&mut lines, &web, "m", &[], start + i * 60_000, i as f64);
            store.write(&lines).await.expect("written");
        }
        let selection = select(&web, Data::Samples, Some("m"));
        for (from, to, wanted) in [
            (0, 10, Some(3)),
            (0, 3, Some(2)),
            (1, 2, Some(1)),
            (4, 9, None),
        ] {
            let span = Span {
                start: start + from * 60_000,
                stop: start + to * 60_000,
            };
            let found = store
                .latest(&selection, span, &LIMITS)
                .await
                .expect("readable");
            let last = found.first().map(|one| one.points.clone());
            let wanted = wanted.map(|i| vec![(start + i * 60_000, i as f64)]);
            assert_eq!(last, wanted, "from minute {from} to {to}");
        }
    })
    .await;
}

#[tokio::test]
async fn steps_stand_for_their_values_and_too_much_is_said() {
    each("steps of a chart", async |store, start| {
        let web = ResourceKey::new("web-01");
        let start = start.div_euclid(60_000) * 60_000;
        let mut lines = Lines::default();
        // A minute and a half, with a gap of ten seconds.
        for i in (0..90).filter(|i| !(30..40).contains(i)) {
            sample(&mut lines, &web, "m", &[], start + i * 1_000, i as f64);
        }
        store.write(&lines).await.expect("written");
        let span = Span {
            start,
            stop: start + 90_000,
        };
        for (aggregate, wanted) in [
            (Aggregate::Mean, [(0, 14.5), (30, 49.5), (60, 74.5)]),
            (Aggregate::Min, [(0, 0.0), (30, 40.0), (60, 60.0)]),
            (Aggregate::Max, [(0, 29.0), (30, 59.0), (60, 89.0)]),
        ] {
            let resolution = Resolution {
                level: None,
                step: Some(30_000),
                aggregate,
            };
            let found = read(store.as_ref(), &web, "m", span, resolution).await;
            let wanted = wanted.map(|(seconds, value)| (start + seconds * 1_000, value));
            assert_eq!(found[0].points, wanted, "{aggregate:?}");
        }
        let selection = select(&web, Data::Samples, None);
        let few = SeriesLimits {
            points: 79,
            ..LIMITS
        };
        let refused = store.series(&selection, span, RAW, &few).await;
        assert!(matches!(refused, Err(ReadError::TooMuch)), "{refused:?}");
        let enough = SeriesLimits {
            points: 80,
            ..LIMITS
        };
        assert!(store.series(&selection, span, RAW, &enough).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn steps_of_a_resource_come_back_by_their_length() {
    each("the trainer's steps", async |store, start| {
        let sets = FeatureSets::standard();
        let set: &FeatureSet = sets.all().first().expect("there is one");
        let web = ResourceKey::new("web-01");
        let start = start.div_euclid(10_000) * 10_000;
        let field = |place: usize| set.features[set.metrics[place].value_index].name.clone();
        let mut lines = Lines::default();
        for (step, count) in [(1_000, 20), (10_000, 3)] {
            for i in 0..count {
                lines.begin(points::FEATURES);
                lines.tag("resource", "web-01");
                lines.tag("feature_set", &line::encode(set.id()));
                lines.tag("step_ms", &step.to_string());
                lines.float32(&line::encode(&field(0)), i as f32 / 3.0);
                if i != 1 {
                    lines.float32(&line::encode(&field(3)), 0.1);
                }
                lines.end(start + 100_000 * (step / 10_000) + i * step);
            }
        }
        store.write(&lines).await.expect("written");
        let span = Span {
            start,
            stop: start + 1_000_000,
        };
        let found = store.steps(&web, set, span).await.expect("readable");
        let lengths: Vec<i64> = found.keys().map(|step| step.millis()).collect();
        assert_eq!(lengths, [1_000, 10_000]);
        let seconds = &found[&StepLength::SECOND];
        assert_eq!(seconds.len(), 20);
        let row = &seconds[&(start + 2_000)];
        assert_eq!(
            (row[0], row[3], row.len()),
            (2.0 / 3.0, 0.1, set.metrics.len())
        );
        assert!(row[1].is_nan() && seconds[&(start + 1_000)][3].is_nan());
        let half = Span {
            start,
            stop: start + 10_000,
        };
        let found = store.steps(&web, set, half).await.expect("readable");
        assert_eq!(found[&StepLength::SECOND].len(), 10);
        let nobody = ResourceKey::new("nobody");
        assert!(
            store
                .steps(&nobody, set, span)
                .await
                .expect("readable")
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn points_that_would_be_deleted_at_once_are_counted() {
    each("points that are too old", async |store, start| {
        let web = ResourceKey::new("web-01");
        let mut lines = Lines::default();
        for days in [8, 9, 0] {
            sample(&mut lines, &web, "m", &[], start - days * 86_400_000, 1.0);
        }
        let written = store.write(&lines).await.expect("written");
        assert_eq!((written.expired, written.refused.len()), (2, 0));
        let span = Span {
            start: start - 20 * 86_400_000,
            stop: start + 1_000,
        };
        let found = read(store.as_ref(), &web, "m", span, RAW).await;
        assert_eq!(found[0].points, [(start, 1.0)]);
    })
    .await;
}
