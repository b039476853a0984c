//! What one collection of this host costs, and one push of a thousand samples through the door.

use std::hint::black_box;
use std::sync::Mutex;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forewarn_ingestion::door::{self, ActiveSeries, Limits, PushConfig};
use forewarn_ingestion::sources::host::{HostCollector, HostConfig};
use forewarn_messages::{Body, SystemMetric};
use forewarn_types::{EventTime, ResourceKey, StepLength};

const NOW: EventTime = EventTime(1_700_000_000_000);

fn collect(c: &mut Criterion) {
    let mut collector = HostCollector::new(
        &HostConfig::default(),
        ResourceKey::new("here"),
        StepLength::SECOND,
    );
    c.bench_function("collect this host", |b| {
        b.iter(|| black_box(collector.collect(NOW)))
    });
    let batch = collector.collect(NOW);
    c.bench_function("seal its samples", |b| {
        b.iter_batched(
            || batch.clone(),
            |batch| SystemMetric::Samples(batch).seal(None, None),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn push(c: &mut Criterion) {
    let samples: Vec<String> = (0..1_000)
        .map(|i| format!(r#"{{"metric":"http.server.request.duration","tags":{{"route":"/r{i}","method":"GET"}},"value":{i}.5,"unit":"ms"}}"#))
        .collect();
    let body = format!(
        r#"{{"resource":"shop","kind":"application","samples":[{}]}}"#,
        samples.join(",")
    );
    let series = Mutex::new(ActiveSeries::new(100_000, 3_600));
    let (limits, push) = (Limits::default(), PushConfig::default());
    let mut group = c.benchmark_group("push");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("a thousand samples through the door", |b| {
        b.iter(|| {
            let offer = door::read(black_box(body.as_bytes()), &limits, &push, &series, NOW, 0)
                .expect("a document");
            let records: Vec<_> = offer
                .batches
                .into_iter()
                .flat_map(door::split)
                .map(|batch| SystemMetric::Samples(batch).seal(None, None))
                .collect();
            assert_eq!(records.len(), 1);
            records
        });
    });
}

criterion_group!(benches, collect, push);
criterion_main!(benches);
