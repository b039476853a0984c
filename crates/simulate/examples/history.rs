//! How long a day of the demonstration's fleet takes: as batches, as bare values, and as values on a thread per host.
//!
//! `cargo run --release -p forewarn-simulate --example history`

#![allow(
    clippy::print_stdout,
    reason = "what it measures is all that it is for"
)]

use std::time::{Duration, Instant};

use forewarn_simulate::{DemoFleet, HostSeries, START};

const DAY: Duration = Duration::from_secs(86_400);

fn main() {
    let fleet = DemoFleet::new(1);
    let until = START.plus(DAY);

    let begun = Instant::now();
    let mut running = fleet.start(START);
    let samples: usize = running
        .history(until)
        .map(|batches| {
            batches
                .iter()
                .map(|batch| batch.samples.len())
                .sum::<usize>()
        })
        .sum();
    println!("batches: {samples} samples in {:.2?}", begun.elapsed());

    let values = |series: &mut HostSeries| {
        let (mut values, mut count) = (Vec::new(), 0);
        while series.next_moment() < until {
            series.measure_values(series.next_moment(), &mut values);
            count += values.len();
        }
        count
    };
    let begun = Instant::now();
    let mut running = fleet.start(START);
    let count: usize = running.series_mut().iter_mut().map(values).sum();
    println!("values: {count} in {:.2?}", begun.elapsed());

    let begun = Instant::now();
    let mut running = fleet.start(START);
    let count: usize = std::thread::scope(|scope| {
        let hosts = running.series_mut().iter_mut();
        let threads: Vec<_> = hosts
            .map(|host| scope.spawn(move || values(host)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum()
    });
    println!("values on threads: {count} in {:.2?}", begun.elapsed());
}
