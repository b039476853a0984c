//! What a host does in one step: the causes from which its metrics follow.
//!
//! Ordinary life makes a [`Load`]; decoys, deploys and faults change it; the collector tells what can be seen of it.

use super::host::Profile;
use super::noise::{Ar1, Bursts};

/// What one network interface carries in a second: 1 Gbit.
pub(super) const LINK_BYTES_PER_SECOND: f64 = 125e6;

const DAY_MS: i64 = 86_400_000;

/// What a host does in one step. Rates are per second.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    /// Share of CPU time that is not idle.
    pub(super) busy: f64,
    /// Share of CPU time that a neighbour on the same machine takes; part of `busy`.
    pub(super) stolen: f64,
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
    /// Packets that the network did not take.
    pub(super) dropped: f64,
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
    /// Visitors, as a multiple of an average day's; none while the application does nothing.
    pub(super) visitors: f64,
    /// Seconds until a request is answered; zero where nothing is asked for.
    pub(super) response: f64,
    /// Seconds until the database has done what it was told; zero where there is none.
    pub(super) operation: f64,
    /// Nothing is reported.
    pub(super) silent: bool,
    /// The collector starts anew: its totals begin at zero.
    pub(super) reset: bool,
}

impl Load {
    /// `factor` times as many visitors, with all that they bring along.
    pub(super) fn multiply(&mut self, factor: f64, profile: &Profile) {
        self.visitors *= factor;
        self.busy = (self.busy * factor).min(0.97);
        self.received = (self.received * factor).min(LINK_BYTES_PER_SECOND);
        self.sent = (self.sent * factor).min(LINK_BYTES_PER_SECOND);
        self.established *= factor;
        self.switches *= factor.sqrt();
        self.spawned *= factor;
        self.read *= factor.sqrt();
        self.written *= factor.sqrt();
        if let Some(limit) = profile.pool_limit {
            self.pool = (self.pool * factor).min(limit);
        }
        // Queues begin to grow where three quarters of the cores are busy.
        let crowded = ((self.busy - 0.75) / 0.25).clamp(0.0, 1.0);
        self.response *= 1.0 + 0.3 * (factor - 1.0).max(0.0) + 4.0 * crowded;
        self.runnable += 2.0 * crowded * f64::from(profile.cores);
        self.pressure[0] += 0.3 * crowded;
    }

    /// The application answers nobody any more: `left` is what remains of its traffic.
    pub(super) fn starve(&mut self, left: f64) {
        self.received *= left;
        self.sent *= left;
        self.read *= left;
        self.written *= left;
        self.spawned *= left;
        self.visitors = 0.0;
    }
}

/// One source of noise per cause. Each has a stream of its own, so a further one changes none of the others.
#[derive(Clone, Debug)]
pub(super) struct Noise {
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
    response: Ar1,
    operation: Ar1,
}

impl Noise {
    pub(super) fn new(seed: u64, profile: &Profile) -> Self {
        let ar1 = |name, deviation, memory| Ar1::new(seed, name, deviation, memory);
        Self {
            cpu: ar1("cpu", 0.02, 8.0),
            bursts: Bursts::new(seed, "bursts", profile.bursts_per_hour, 0.25),
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
            response: ar1("response", 0.08, 10.0),
            operation: ar1("operation", 0.1, 10.0),
        }
    }

    /// An ordinary step of `span` seconds that begins at `millis`.
    pub(super) fn ordinary(&mut self, profile: &Profile, millis: i64, span: f64) -> Load {
        let hour = millis.rem_euclid(DAY_MS) as f64 / 3_600_000.0;
        // Most work in the early afternoon, least in the night.
        let daily = 1.0 + profile.season * ((hour - 8.0) / 24.0 * std::f64::consts::TAU).sin();
        let season = daily * (1.0 - profile.weekend * weekend(millis));
        let burst = self.bursts.next(span);
        let busy = (profile.cpu_used * season + self.cpu.next(span) + burst).clamp(0.01, 0.98);
        let traffic = busy / profile.cpu_used * self.network.next(span).exp();
        let disk = self.disk.next(span).exp() * (1.0 + 2.0 * burst);
        let used = (profile.memory_used + self.memory.next(span) + 0.02 * (season - 1.0))
            .clamp(0.05, 0.95);
        let files = self.filesystem.next(span);
        let established = (80.0 * season * (1.0 + self.connections.next(span))).max(1.0);
        let response = profile.service.map_or(0.0, |service| {
            service.response_seconds * (0.8 + busy) * self.response.next(span).exp()
        });
        let operation = profile
            .operation_seconds
            .map_or(0.0, |usual| usual * self.operation.next(span).exp());
        Load {
            busy,
            waiting: (0.006 * self.waiting.next(span).exp()).min(0.2),
            switches: 3_000.0
                * f64::from(profile.cores)
                * (0.4 + busy)
                * self.switches.next(span).exp(),
            memory: used * profile.memory_bytes,
            minor_faults: 900.0 * (0.5 + busy) * disk.sqrt(),
            major_faults: 0.05,
            read: 0.4e6 * disk,
            written: 1.5e6 * disk,
            received: 0.8e6 * traffic,
            sent: 1.3e6 * traffic,
            established,
            processes: (180.0 + self.processes.next(span)).max(20.0),
            spawned: 2.0 + 10.0 * busy,
            descriptors: 0.08 * profile.descriptor_limit * (1.0 + self.descriptors.next(span)),
            pool: profile.pool_limit.map_or(0.0, |limit| {
                0.3 * limit * (season + self.pool.next(span)).clamp(0.1, 2.0)
            }),
            filesystems: profile
                .filesystems
                .iter()
                .map(|f| (f.used + files).clamp(0.0, 1.0) * f.bytes)
                .collect(),
            pressure: [0.01 * busy, 0.0, 0.004 * disk],
            visitors: season,
            response,
            operation,
            ..Load::default()
        }
    }
}

/// How much of a weekend it is (UTC): 0 on working days, 1 on Saturdays and Sundays. People stop and begin over three
/// hours, not at the stroke of midnight.
fn weekend(millis: i64) -> f64 {
    const WEEK_HOURS: f64 = 168.0;
    // The epoch was a Thursday: hours since Saturday, 0:00.
    let hours = (millis - 2 * DAY_MS).rem_euclid(7 * DAY_MS) as f64 / 3_600_000.0;
    let (begun, left) = if hours < WEEK_HOURS - 1.5 {
        (hours + 1.5, 49.5 - hours)
    } else {
        (hours - (WEEK_HOURS - 1.5), 48.0)
    };
    (begun.min(left) / 3.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weekend_is_saturday_and_sunday() {
        let at = |day: i64, hour: i64| weekend(day * DAY_MS + hour * 3_600_000);
        // 1 January 1970 was a Thursday.
        assert_eq!((at(0, 12), at(1, 12)), (0.0, 0.0));
        assert_eq!((at(2, 12), at(3, 12)), (1.0, 1.0));
        assert_eq!((at(4, 12), at(8, 12), at(9, 12)), (0.0, 0.0, 1.0));
        for day in [2, 4] {
            assert!((at(day, 0) - 0.5).abs() < 1e-9, "half way at midnight");
        }
    }
}
