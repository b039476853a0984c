//! What a host's collector reports: the metrics of [`forewarn_types::metric`] with their tags, counters and all.

use forewarn_types::{EventTime, MetricType, Sample, metric};

use super::host::{Load, Profile};
use super::noise::Draw;

/// Turns causes into samples; keeps what a kernel keeps: totals since the start, load averages.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    draw: Draw,
    uptime: f64,
    averages: [f64; 3],
    totals: Totals,
}

/// Counters since the start of the machine.
#[derive(Clone, Debug, Default)]
struct Totals {
    cpu: [f64; MODES.len()],
    switches: f64,
    minor_faults: f64,
    major_faults: f64,
    read: f64,
    written: f64,
    reads: f64,
    writes: f64,
    disk_busy: f64,
    received: f64,
    sent: f64,
    packets_received: f64,
    packets_sent: f64,
    spawned: f64,
    stalled: [f64; 3],
}

const MODES: [&str; 7] = [
    "user",
    "system",
    "iowait",
    "idle",
    "steal",
    "nice",
    "interrupt",
];
const RESOURCES: [&str; 3] = ["cpu", "memory", "io"];
/// What a disk of this kind moves in a second when it does nothing else.
const DISK_BYTES_PER_SECOND: f64 = 400e6;
const BYTES_PER_OPERATION: f64 = 16_384.0;
const BYTES_PER_PACKET: f64 = 700.0;

impl Collector {
    pub(super) fn new(seed: u64, profile: &Profile) -> Self {
        let cores = f64::from(profile.cores);
        Self {
            draw: Draw::new(seed, "collector"),
            // The machine has been up for a while: totals do not begin at zero.
            uptime: 86_400.0,
            averages: [profile.cpu_used * cores; 3],
            totals: Totals::default(),
        }
    }

    pub(super) fn reboot(&mut self) {
        self.totals = Totals::default();
        self.uptime = 0.0;
    }

    pub(super) fn report(
        &mut self,
        at: EventTime,
        span: f64,
        profile: &Profile,
        load: &Load,
    ) -> Vec<Sample> {
        let mut out = Report {
            at,
            samples: Vec::with_capacity(80),
        };
        self.cpu(span, profile, load, &mut out);
        self.memory(span, profile, load, &mut out);
        self.disks(span, profile, load, &mut out);
        self.network(span, load, &mut out);
        self.system(span, profile, load, &mut out);
        out.samples
    }

    fn cpu(&mut self, span: f64, profile: &Profile, load: &Load, out: &mut Report) {
        let cores = f64::from(profile.cores);
        let waiting = load.waiting.min(1.0 - load.busy);
        let steal = 0.001 * self.draw.uniform(0.0, 1.0);
        let interrupt = 0.004 * load.busy;
        let work = (load.busy - steal - interrupt).max(0.0);
        let shares = [
            0.72 * work,
            0.27 * work,
            waiting,
            1.0 - load.busy - waiting,
            steal,
            0.01 * work,
            interrupt,
        ];
        for ((mode, share), total) in MODES.iter().zip(shares).zip(&mut self.totals.cpu) {
            *total += share * cores * span;
            out.gauge(metric::CPU_UTILIZATION, &[("cpu.mode", mode)], share);
            out.counter(metric::CPU_TIME, &[("cpu.mode", mode)], *total);
        }
        out.gauge(metric::CPU_LOGICAL_COUNT, &[], cores);
        let runnable = load.busy * cores + load.runnable;
        let names = [metric::LOAD_1M, metric::LOAD_5M, metric::LOAD_15M];
        for ((average, minutes), name) in self.averages.iter_mut().zip([1.0, 5.0, 15.0]).zip(names)
        {
            let keep = (-span / (60.0 * minutes)).exp();
            *average = keep * *average + (1.0 - keep) * runnable;
            // The kernel shows two digits.
            out.gauge(name, &[], (*average * 100.0).round() / 100.0);
        }
        self.totals.switches += load.switches * span;
        out.counter(metric::CONTEXT_SWITCHES, &[], self.totals.switches.round());
    }

    fn memory(&mut self, span: f64, profile: &Profile, load: &Load, out: &mut Report) {
        let all = profile.memory_bytes;
        let rest = all - load.memory;
        let cached = 0.6 * rest;
        let buffers = 0.05 * rest;
        let states = [
            ("used", load.memory),
            ("free", rest - cached - buffers),
            ("cached", cached),
            ("buffers", buffers),
        ];
        for (state, bytes) in states {
            out.gauge(
                metric::MEMORY_USAGE,
                &[("system.memory.state", state)],
                bytes.round(),
            );
        }
        out.gauge(metric::MEMORY_UTILIZATION, &[], load.memory / all);
        out.gauge(metric::MEMORY_LIMIT, &[], all);
        let swap = 2e9;
        let swapped = swap * ((load.memory / all - 0.92) / 0.08).clamp(0.0, 1.0);
        out.gauge(
            metric::PAGING_USAGE,
            &[("system.paging.state", "used")],
            swapped.round(),
        );
        out.gauge(
            metric::PAGING_USAGE,
            &[("system.paging.state", "free")],
            (swap - swapped).round(),
        );
        out.gauge(metric::PAGING_UTILIZATION, &[], swapped / swap);
        self.totals.minor_faults += load.minor_faults * span;
        self.totals.major_faults += load.major_faults * span;
        let fault = "system.paging.fault.type";
        out.counter(
            metric::PAGING_FAULTS,
            &[(fault, "minor")],
            self.totals.minor_faults.round(),
        );
        out.counter(
            metric::PAGING_FAULTS,
            &[(fault, "major")],
            self.totals.major_faults.round(),
        );
    }

    fn disks(&mut self, span: f64, profile: &Profile, load: &Load, out: &mut Report) {
        for (filesystem, used) in profile.filesystems.iter().zip(&load.filesystems) {
            let mount = (
                "system.filesystem.mountpoint",
                filesystem.mountpoint.as_str(),
            );
            let state = "system.filesystem.state";
            out.gauge(
                metric::FILESYSTEM_USAGE,
                &[mount, (state, "used")],
                used.round(),
            );
            out.gauge(
                metric::FILESYSTEM_USAGE,
                &[mount, (state, "free")],
                (filesystem.bytes - used).round(),
            );
            out.gauge(
                metric::FILESYSTEM_USAGE,
                &[mount, (state, "reserved")],
                (0.05 * filesystem.bytes).round(),
            );
            out.gauge(
                metric::FILESYSTEM_UTILIZATION,
                &[mount],
                used / filesystem.bytes,
            );
            out.gauge(metric::FILESYSTEM_LIMIT, &[mount], filesystem.bytes);
            out.gauge(
                metric::FILESYSTEM_INODE_UTILIZATION,
                &[mount],
                0.5 * used / filesystem.bytes,
            );
        }
        let totals = &mut self.totals;
        totals.read += load.read * span;
        totals.written += load.written * span;
        totals.reads += load.read / BYTES_PER_OPERATION * span;
        totals.writes += load.written / BYTES_PER_OPERATION * span;
        totals.disk_busy += ((load.read + load.written) / DISK_BYTES_PER_SECOND).min(1.0) * span;
        let device = ("system.device", "sda");
        for (direction, bytes, operations) in [
            ("read", totals.read, totals.reads),
            ("write", totals.written, totals.writes),
        ] {
            let direction = ("disk.io.direction", direction);
            out.counter(metric::DISK_IO, &[device, direction], bytes.round());
            out.counter(
                metric::DISK_OPERATIONS,
                &[device, direction],
                operations.round(),
            );
        }
        out.counter(metric::DISK_IO_TIME, &[device], totals.disk_busy);
    }

    fn network(&mut self, span: f64, load: &Load, out: &mut Report) {
        let totals = &mut self.totals;
        totals.received += load.received * span;
        totals.sent += load.sent * span;
        totals.packets_received += load.received / BYTES_PER_PACKET * span;
        totals.packets_sent += load.sent / BYTES_PER_PACKET * span;
        let interface = ("network.interface.name", "eth0");
        for (direction, bytes, packets) in [
            ("receive", totals.received, totals.packets_received),
            ("transmit", totals.sent, totals.packets_sent),
        ] {
            let tags = [interface, ("network.io.direction", direction)];
            out.counter(metric::NETWORK_IO, &tags, bytes.round());
            out.counter(metric::NETWORK_PACKETS, &tags, packets.round());
            out.counter(metric::NETWORK_DROPPED, &tags, 0.0);
            out.counter(metric::NETWORK_ERRORS, &tags, 0.0);
        }
        let states = [
            ("established", load.established),
            ("listen", 24.0),
            ("time_wait", 0.4 * load.established),
        ];
        for (state, count) in states {
            out.gauge(
                metric::NETWORK_CONNECTIONS,
                &[("network.connection.state", state)],
                count.round(),
            );
        }
    }

    fn system(&mut self, span: f64, profile: &Profile, load: &Load, out: &mut Report) {
        self.uptime += span;
        let running = (load.busy * f64::from(profile.cores) + load.runnable).round();
        let states = [
            ("running", running),
            ("sleeping", load.processes),
            ("blocked", (load.waiting * 50.0).round()),
        ];
        for (state, count) in states {
            out.gauge(
                metric::PROCESS_COUNT,
                &[("process.state", state)],
                count.round(),
            );
        }
        self.totals.spawned += load.spawned * span;
        out.counter(metric::PROCESS_CREATED, &[], self.totals.spawned.round());
        out.gauge(metric::FILE_DESCRIPTOR_COUNT, &[], load.descriptors.round());
        out.gauge(metric::FILE_DESCRIPTOR_LIMIT, &[], profile.descriptor_limit);
        for ((resource, share), total) in RESOURCES
            .iter()
            .zip(load.pressure)
            .zip(&mut self.totals.stalled)
        {
            *total += share.clamp(0.0, 1.0) * span;
            out.counter(
                metric::PRESSURE_STALL_TIME,
                &[("system.pressure.resource", resource)],
                *total,
            );
        }
        out.gauge(metric::UPTIME, &[], self.uptime);
        if let Some(limit) = profile.pool_limit {
            // Not a metric of the host: a program on it reports its pool.
            out.gauge("db.client.connection.count", &[], load.pool.round());
            out.gauge("db.client.connection.max", &[], limit);
        }
    }
}

/// The samples of one step in the making.
struct Report {
    at: EventTime,
    samples: Vec<Sample>,
}

impl Report {
    fn gauge(&mut self, metric: &str, tags: &[(&str, &str)], value: f64) {
        self.push(metric, tags, MetricType::Gauge, value);
    }

    fn counter(&mut self, metric: &str, tags: &[(&str, &str)], value: f64) {
        self.push(metric, tags, MetricType::Counter, value);
    }

    fn push(&mut self, metric: &str, tags: &[(&str, &str)], metric_type: MetricType, value: f64) {
        let tags = tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.samples.push(Sample {
            metric: metric.to_owned(),
            tags,
            metric_type,
            time: self.at,
            value,
        });
    }
}
