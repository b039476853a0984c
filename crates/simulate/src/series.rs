//! A generated host from step to step, and what its collector reports of that.
//!
//! First the causes ([`Load`](super::load::Load)): work, memory, traffic, files. Decoys, deploys and faults change the
//! causes, and the metrics follow from them, so that a fault shows in every metric in which it would show on a real host.
//!
//! A series is a recording that is read step by step ([`Iterator`]), or the life of a host that somebody measures when
//! he likes ([`HostSeries::measure`]). Both go on from the same state, so the one continues the other without a jump.

use forewarn_messages::SampleBatch;
use forewarn_types::{EventTime, MetricType, StepLength};

use super::decoy::DecoyRun;
use super::deploy::Deploys;
use super::fault::{Fault, FaultRun};
use super::host::Host;
use super::load::{Load, Noise};
use super::noise::Draw;
use super::samples::{Collector, Names, Samples, Sink};
use super::truth::{Label, Truth};

/// The batches of one host, in the order of their steps. A batch without samples says that nothing was reported.
#[derive(Clone, Debug)]
pub struct HostSeries {
    host: Host,
    seed: u64,
    start: EventTime,
    interval: StepLength,
    step: u64,
    noise: Noise,
    deploys: Deploys,
    faults: Vec<FaultRun>,
    decoys: Vec<DecoyRun>,
    collector: Collector,
    jitter: Draw,
}

/// One series of a host, as [`HostSeries::names`] lists them.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesName {
    /// The metric's OpenTelemetry name.
    pub metric: String,
    /// What tells it apart from the metric's other series.
    pub tags: forewarn_types::Tags,
    /// Gauge or counter.
    pub metric_type: MetricType,
}

/// A collector wakes up this late at most, in milliseconds.
const JITTER_MS: u64 = 20;

impl HostSeries {
    pub(super) fn new(host: Host, seed: u64, start: EventTime, interval: StepLength) -> Self {
        // Each host of a fleet has chances of its own.
        let seed = Draw::new(seed, &host.resource.log_key()).seed();
        let faults = host
            .faults
            .iter()
            .map(|f| FaultRun::new(f.clone(), host.resource.clone(), seed))
            .collect();
        let decoys = host
            .decoys
            .iter()
            .enumerate()
            .map(|(i, d)| DecoyRun::new(*d, seed, i))
            .collect();
        Self {
            noise: Noise::new(seed, &host.profile),
            deploys: Deploys::new(&host.deploys, seed),
            collector: Collector::new(seed, &host.profile),
            jitter: Draw::new(seed, "jitter"),
            host,
            seed,
            start,
            interval,
            step: 0,
            faults,
            decoys,
        }
    }

    /// Whose series it is.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// What really happened so far, fault by fault; of a series that is told in labels, what has not been told to its end.
    #[must_use]
    pub fn truth(&self) -> Vec<Truth> {
        self.faults
            .iter()
            .cloned()
            .filter_map(FaultRun::into_truth)
            .collect()
    }

    /// The moment of the next step.
    #[must_use]
    pub fn next_moment(&self) -> EventTime {
        let millis = self.interval.millis();
        let passed = millis.saturating_mul(i64::try_from(self.step).unwrap_or(i64::MAX));
        EventTime(self.start.millis().saturating_add(passed))
    }

    /// Begins a fault in the running series. Its onset counts from the next step.
    pub fn inject(&mut self, mut fault: Fault) {
        let passed = self.next_moment().since(self.start);
        // Rounded up: what is relative to the next step does not begin before it.
        fault.onset_seconds += u64::try_from(passed.as_millis().div_ceil(1_000)).unwrap_or(0);
        let resource = self.host.resource.clone();
        self.faults.push(FaultRun::new(fault, resource, self.seed));
    }

    /// How many faults go on or are still to come.
    #[must_use]
    pub fn pending_faults(&self) -> usize {
        self.faults.iter().filter(|fault| !fault.is_over()).count()
    }

    /// What has become known of the faults since the last call. What has ended is told once more, and then forgotten, so
    /// that a series which runs for weeks stays small.
    pub fn take_news(&mut self) -> Vec<Label> {
        let news = self.faults.iter_mut().filter_map(FaultRun::news).collect();
        self.faults.retain(|fault| !fault.is_over());
        news
    }

    /// Measures the host at `at` and stamps the samples with exactly that moment. Moments that were left out since the
    /// last step are passed over in one long one. A clock that was set back does not turn life back: from there on it goes
    /// step by step again.
    pub fn measure(&mut self, at: EventTime) -> SampleBatch {
        let mut samples = Samples::new(at, self.host.detail);
        let silent = self.advance(at, &mut samples);
        self.batch(at, silent, samples)
    }

    /// As [`HostSeries::measure`], but only the values, in the order of [`HostSeries::names`] and in place of what
    /// `values` held; `NaN` where a series says nothing this time. Many times as fast, since no name is copied.
    pub fn measure_values(&mut self, at: EventTime, values: &mut Vec<f64>) {
        values.clear();
        if self.advance(at, values) {
            values.fill(f64::NAN);
        }
    }

    /// The series behind [`HostSeries::measure_values`].
    #[must_use]
    pub fn names(&self) -> Vec<SeriesName> {
        let mut names = Names::default();
        // On a copy: looking at what there is changes nothing.
        self.clone().advance(self.next_moment(), &mut names);
        names.0
    }

    /// Lets time pass until `at` and reports; whether nothing may be said of it.
    fn advance(&mut self, at: EventTime, out: &mut impl Sink) -> bool {
        let length = self.interval.millis();
        let next = self.next_moment().millis();
        let ahead = at.millis().saturating_sub(next);
        if ahead < 0 {
            self.start = EventTime(self.start.millis().saturating_add(ahead));
        }
        let span = length.saturating_add(ahead.max(0));
        let nominal = at;
        let passed = nominal.since(self.start);
        self.step = u64::try_from(passed.as_millis() / length.unsigned_abs() as u128)
            .unwrap_or(u64::MAX - 1)
            + 1;
        self.report(
            nominal,
            at,
            passed.as_secs_f64(),
            span as f64 / 1_000.0,
            out,
        )
    }

    /// One step: what the host does, and what its collector says of it. Whether nothing may be said of it.
    fn report(
        &mut self,
        nominal: EventTime,
        at: EventTime,
        seconds: f64,
        span: f64,
        out: &mut impl Sink,
    ) -> bool {
        let Host {
            profile, reboots, ..
        } = &self.host;
        let mut load: Load = self.noise.ordinary(profile, nominal.millis(), span);
        self.deploys.step(seconds, profile, &mut load);
        for decoy in &mut self.decoys {
            decoy.step(nominal.millis(), seconds, profile, &mut load);
        }
        for fault in &mut self.faults {
            fault.step(at, seconds, span, profile, &mut load);
        }
        let rebooted = |at: &&u64| (**at as f64) >= seconds && (**at as f64) < seconds + span;
        if reboots.iter().any(|at| rebooted(&at)) {
            self.collector.reboot();
        }
        if load.reset {
            self.collector.reset();
        }
        self.collector.report(span, &self.host, &load, out);
        load.silent
    }

    fn batch(&self, at: EventTime, silent: bool, samples: Samples) -> SampleBatch {
        let samples = if silent { Vec::new() } else { samples.samples };
        let mut batch = SampleBatch::new(
            self.host.resource.clone(),
            self.host.kind,
            self.host.source,
            self.interval,
            samples,
        );
        batch.time = at;
        batch
    }
}

impl Iterator for HostSeries {
    type Item = SampleBatch;

    fn next(&mut self) -> Option<SampleBatch> {
        let span = self.interval.duration().as_secs_f64();
        let seconds = self.step as f64 * span;
        let nominal = self.next_moment();
        let at = EventTime(nominal.millis() + self.jitter.index(0, JITTER_MS) as i64);
        let mut samples = Samples::new(at, self.host.detail);
        let silent = self.report(nominal, at, seconds, span, &mut samples);
        self.step += 1;
        Some(self.batch(at, silent, samples))
    }
}
