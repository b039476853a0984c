//! A generated host: what it is, what it does from step to step, and what its collector reports of that.
//!
//! First the causes ([`Load`]): work, memory, traffic, files. Faults and decoys change the causes, and the metrics
//! follow from them, so that a fault shows in every metric in which it would show on a real host.

use forewarn_messages::SampleBatch;
use forewarn_types::{EventTime, Kind, ResourceKey, StepLength};

use super::decoy::{Decoy, DecoyRun};
use super::fault::{Fault, FaultRun, Truth};
use super::noise::{Ar1, Bursts, Draw};
use super::samples::Collector;

/// A filesystem of a generated host.
#[derive(Clone, Debug, PartialEq)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mountpoint: String,
    /// What it offers to ordinary users.
    pub bytes: f64,
    /// The share in use at the beginning.
    pub used: f64,
}

/// What a generated host is made of, and what it does on an ordinary day.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Logical cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: f64,
    /// Share of memory in use on average.
    pub memory_used: f64,
    /// Share of CPU in use on average.
    pub cpu_used: f64,
    /// Height of the daily wave of work, as a share of the average.
    pub season: f64,
    /// Short bursts of work in an hour.
    pub bursts_per_hour: f64,
    /// The filesystems, at least one.
    pub filesystems: Vec<Filesystem>,
    /// Most file descriptors.
    pub descriptor_limit: f64,
    /// Most connections of the database pool; `None` for a host without one.
    pub pool_limit: Option<f64>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            cores: 4,
            memory_bytes: 16.0 * GIB,
            memory_used: 0.45,
            cpu_used: 0.22,
            season: 0.3,
            bursts_per_hour: 6.0,
            filesystems: vec![
                Filesystem {
                    mountpoint: "/".into(),
                    bytes: 100.0 * GIB,
                    used: 0.4,
                },
                Filesystem {
                    mountpoint: "/var/lib/data".into(),
                    bytes: 400.0 * GIB,
                    used: 0.55,
                },
            ],
            descriptor_limit: 65_536.0,
            pool_limit: None,
        }
    }
}

const GIB: f64 = (1_u64 << 30) as f64;

impl Profile {
    /// A host like others of its fleet, yet not the same.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut draw = Draw::new(seed, "profile");
        let mut profile = Self {
            cores: [2, 4, 8][draw.index(0, 3) as usize],
            memory_bytes: [8.0, 16.0, 32.0][draw.index(0, 3) as usize] * GIB,
            memory_used: draw.uniform(0.35, 0.55),
            cpu_used: draw.uniform(0.1, 0.3),
            season: draw.uniform(0.1, 0.4),
            bursts_per_hour: draw.uniform(2.0, 10.0),
            ..Self::default()
        };
        for filesystem in &mut profile.filesystems {
            filesystem.used = draw.uniform(0.3, 0.6);
        }
        profile
    }
}

/// What a host does in one step: the causes from which its metrics follow. Rates are per second.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// Share of CPU time that is not idle.
    pub(super) busy: f64,
    /// Share of CPU time spent waiting for disks.
    pub(super) waiting: f64,
    /// Threads that want to run, beyond what `busy` accounts for.
    pub(super) runnable: f64,
    /// Context switches.
    pub(super) switches: f64,
    /// Bytes of memory in use.
    pub(super) memory: f64,
    pub(super) minor_faults: f64,
    pub(super) major_faults: f64,
    /// Bytes from and to disks.
    pub(super) read: f64,
    pub(super) written: f64,
    /// Bytes from and to the network.
    pub(super) received: f64,
    pub(super) sent: f64,
    /// TCP connections that are open.
    pub(super) established: f64,
    pub(super) processes: f64,
    /// Processes begun.
    pub(super) spawned: f64,
    pub(super) descriptors: f64,
    /// Connections taken from the pool.
    pub(super) pool: f64,
    /// Bytes in use per filesystem.
    pub(super) filesystems: Vec<f64>,
    /// Share of time in which some work waited for cpu, memory, io.
    pub(super) pressure: [f64; 3],
}

/// One generated host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// What it is made of.
    pub profile: Profile,
    /// What goes wrong with it.
    pub faults: Vec<Fault>,
    /// What looks as if it went wrong.
    pub decoys: Vec<Decoy>,
    /// When it restarts, in seconds from the start: its counters begin at zero again.
    pub reboots: Vec<u64>,
}

impl Host {
    /// An ordinary server on which nothing goes wrong.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            resource: ResourceKey::new(name),
            kind: Kind::Server,
            profile: Profile::default(),
            faults: Vec::new(),
            decoys: Vec::new(),
            reboots: Vec::new(),
        }
    }

    /// The same host made of something else.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The same host with one more fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The same host with one more decoy.
    #[must_use]
    pub fn decoy(mut self, decoy: Decoy) -> Self {
        self.decoys.push(decoy);
        self
    }

    /// The same host with one more restart.
    #[must_use]
    pub fn reboot(mut self, at_seconds: u64) -> Self {
        self.reboots.push(at_seconds);
        self
    }

    /// Its samples, a batch per step, without end; [`HostSeries::truth`] tells what really happened in them.
    #[must_use]
    pub fn series(&self, seed: u64, start: EventTime, interval: StepLength) -> HostSeries {
        HostSeries::new(self.clone(), seed, start, interval)
    }
}

/// The batches of one host, in the order of their steps.
#[derive(Clone, Debug)]
pub struct HostSeries {
    host: Host,
    start: EventTime,
    interval: StepLength,
    step: u64,
    noise: Noise,
    faults: Vec<FaultRun>,
    decoys: Vec<DecoyRun>,
    collector: Collector,
    jitter: Draw,
}

/// One source of noise per cause.
#[derive(Clone, Debug)]
struct Noise {
    cpu: Ar1,
    bursts: Bursts,
    waiting: Ar1,
    memory: Ar1,
    disk: Ar1,
    network: Ar1,
    connections: Ar1,
    processes: Ar1,
    descriptors: Ar1,
    pool: Ar1,
    filesystem: Ar1,
    switches: Ar1,
}

/// A collector wakes up this late at most, in milliseconds.
const JITTER_MS: u64 = 20;

impl HostSeries {
    fn new(host: Host, seed: u64, start: EventTime, interval: StepLength) -> Self {
        // Each host of a fleet has chances of its own.
        let seed = Draw::new(seed, &host.resource.log_key()).seed();
        let ar1 = |name, deviation, memory| Ar1::new(seed, name, deviation, memory);
        let noise = Noise {
            cpu: ar1("cpu", 0.02, 8.0),
            bursts: Bursts::new(seed, "bursts", host.profile.bursts_per_hour, 0.25),
            waiting: ar1("waiting", 0.4, 5.0),
            memory: ar1("memory", 0.004, 60.0),
            disk: ar1("disk", 0.35, 4.0),
            network: ar1("network", 0.2, 6.0),
            connections: ar1("connections", 0.05, 30.0),
            processes: ar1("processes", 2.0, 60.0),
            descriptors: ar1("descriptors", 0.01, 60.0),
            pool: ar1("pool", 0.08, 20.0),
            filesystem: ar1("filesystem", 0.0004, 30.0),
            switches: ar1("switches", 0.08, 6.0),
        };
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
        let collector = Collector::new(seed, &host.profile);
        Self {
            host,
            start,
            interval,
            step: 0,
            noise,
            faults,
            decoys,
            collector,
            jitter: Draw::new(seed, "jitter"),
        }
    }

    /// What really happened so far, fault by fault.
    #[must_use]
    pub fn truth(&self) -> Vec<Truth> {
        self.faults
            .iter()
            .cloned()
            .filter_map(FaultRun::into_truth)
            .collect()
    }

    fn ordinary(&mut self, millis: i64, span: f64) -> Load {
        let profile = &self.host.profile;
        let noise = &mut self.noise;
        let hour = millis.rem_euclid(86_400_000) as f64 / 3_600_000.0;
        // Most work in the early afternoon, least in the night.
        let season = 1.0 + profile.season * ((hour - 8.0) / 24.0 * std::f64::consts::TAU).sin();
        let burst = noise.bursts.next(span);
        let busy = (profile.cpu_used * season + noise.cpu.next(span) + burst).clamp(0.01, 0.98);
        let traffic = busy / profile.cpu_used * noise.network.next(span).exp();
        let disk = noise.disk.next(span).exp() * (1.0 + 2.0 * burst);
        let used = (profile.memory_used + noise.memory.next(span) + 0.02 * (season - 1.0))
            .clamp(0.05, 0.95);
        let files = noise.filesystem.next(span);
        let established = (80.0 * season * (1.0 + noise.connections.next(span))).max(1.0);
        Load {
            busy,
            waiting: (0.006 * noise.waiting.next(span).exp()).min(0.2),
            runnable: 0.0,
            switches: 3_000.0
                * f64::from(profile.cores)
                * (0.4 + busy)
                * noise.switches.next(span).exp(),
            memory: used * profile.memory_bytes,
            minor_faults: 900.0 * (0.5 + busy) * disk.sqrt(),
            major_faults: 0.05,
            read: 0.4e6 * disk,
            written: 1.5e6 * disk,
            received: 0.8e6 * traffic,
            sent: 1.3e6 * traffic,
            established,
            processes: (180.0 + noise.processes.next(span)).max(20.0),
            spawned: 2.0 + 10.0 * busy,
            descriptors: 0.08 * profile.descriptor_limit * (1.0 + noise.descriptors.next(span)),
            pool: profile.pool_limit.map_or(0.0, |limit| {
                0.3 * limit * (season + noise.pool.next(span)).clamp(0.1, 2.0)
            }),
            filesystems: profile
                .filesystems
                .iter()
                .map(|f| (f.used + files).clamp(0.0, 1.0) * f.bytes)
                .collect(),
            pressure: [0.01 * busy, 0.0, 0.004 * disk],
        }
    }
}

impl Iterator for HostSeries {
    type Item = SampleBatch;

    fn next(&mut self) -> Option<SampleBatch> {
        let span = self.interval.duration().as_secs_f64();
        let seconds = self.step as f64 * span;
        let nominal = self
            .start
            .plus(self.interval.duration() * u32::try_from(self.step).ok()?);
        let at = EventTime(nominal.millis() + self.jitter.index(0, JITTER_MS) as i64);
        let mut load = self.ordinary(nominal.millis(), span);
        for decoy in &mut self.decoys {
            decoy.step(nominal.millis(), seconds, &self.host.profile, &mut load);
        }
        for fault in &mut self.faults {
            fault.step(at, seconds, span, &self.host.profile, &mut load);
        }
        let rebooted = |at: &&u64| (**at as f64) >= seconds && (**at as f64) < seconds + span;
        if self.host.reboots.iter().any(|at| rebooted(&at)) {
            self.collector.reboot();
        }
        self.step += 1;
        let samples = self.collector.report(at, span, &self.host.profile, &load);
        Some(SampleBatch::new(
            self.host.resource.clone(),
            self.host.kind,
            "host",
            self.interval,
            samples,
        ))
    }
}
