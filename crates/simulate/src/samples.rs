//! What a host's collector reports: the metrics of [`forewarn_types::metric`] with their tags, counters and all.

use forewarn_types::{EventTime, MetricType, Sample, Tags, metric};

use super::host::{Detail, Host, Profile};
use super::load::Load;
use super::noise::{Ar1, Draw};
use super::series::SeriesName;

/// Turns causes into samples; keeps what a kernel keeps: totals since the start, load averages.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    draw: Draw,
    uptime: f64,
    averages: [f64; 3],
    totals: Totals,
    logins: PerMinute,
    orders: PerMinute,
}

/// How often something happened within the last minute.
#[derive(Clone, Debug)]
struct PerMinute {
    /// Chance, in deviations: independent events scatter by the root of their number.
    noise: Ar1,
    /// Smoothed: what ceases now has been counted for another minute. `None` before the first step.
    level: Option<f64>,
}

impl PerMinute {
    fn new(seed: u64, name: &str) -> Self {
        Self {
            noise: Ar1::new(seed, name, 1.0, 40.0),
            level: None,
        }
    }

    /// The whole number that is counted when `rate` is expected now.
    fn next(&mut self, rate: f64, span: f64) -> f64 {
        /// A sliding minute forgets half of a change in half a minute.
        const MEMORY_SECONDS: f64 = 40.0;
        let keep = (-span / MEMORY_SECONDS).exp();
        let level = self
            .level
            .map_or(rate, |level| keep * level + (1.0 - keep) * rate);
        self.level = Some(level);
        (level + level.sqrt() * self.noise.next(span))
            .max(0.0)
            .round()
    }
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
    dropped: f64,
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
            logins: PerMinute::new(seed, "logins"),
            orders: PerMinute::new(seed, "orders"),
        }
    }

    pub(super) fn reboot(&mut self) {
        self.reset();
        self.uptime = 0.0;
    }

    /// The totals begin at zero, though the machine went on.
    pub(super) fn reset(&mut self) {
        self.totals = Totals::default();
    }

    /// What the collector says of `span` seconds of `load`.
    pub(super) fn report(&mut self, span: f64, host: &Host, load: &Load, out: &mut impl Sink) {
        let profile = &host.profile;
        let full = host.detail == Detail::Full;
        if full || host.reports_system() {
            self.cpu(span, full, profile, load, out);
            self.memory(span, full, profile, load, out);
            self.disks(span, full, profile, load, out);
            self.network(span, full, load, out);
            self.system(span, full, profile, load, out);
        }
        self.programs(span, profile, load, out);
    }

    fn cpu(&mut self, span: f64, full: bool, profile: &Profile, load: &Load, out: &mut impl Sink) {
        let cores = f64::from(profile.cores);
        let waiting = load.waiting.min(1.0 - load.busy);
        let steal = 0.001 * self.draw.uniform(0.0, 1.0) + load.stolen;
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
            // The features know all modes together, `user`, `system` and `iowait`; what is left out is next to nothing.
            if full || matches!(*mode, "user" | "system" | "iowait" | "steal") {
                out.gauge(metric::CPU_UTILIZATION, &[("cpu.mode", mode)], share);
            }
            if full {
                out.counter(metric::CPU_TIME, &[("cpu.mode", mode)], *total);
            }
        }
        if full {
            out.gauge(metric::CPU_LOGICAL_COUNT, &[], cores);
        }
        let runnable = load.busy * cores + load.runnable;
        let names = [metric::LOAD_1M, metric::LOAD_5M, metric::LOAD_15M];
        for ((average, minutes), name) in self.averages.iter_mut().zip([1.0, 5.0, 15.0]).zip(names)
        {
            let keep = (-span / (60.0 * minutes)).exp();
            *average = keep * *average + (1.0 - keep) * runnable;
            // The kernel shows two digits.
            if full || name == metric::LOAD_1M {
                out.gauge(name, &[], (*average * 100.0).round() / 100.0);
            }
        }
        self.totals.switches += load.switches * span;
        out.counter(metric::CONTEXT_SWITCHES, &[], self.totals.switches.round());
    }

    fn memory(
        &mut self,
        span: f64,
        full: bool,
        profile: &Profile,
        load: &Load,
        out: &mut impl Sink,
    ) {
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
        let shown = if full {
            states.as_slice()
        } else {
            &states[..1]
        };
        for (state, bytes) in shown {
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
        if full {
            let state = "system.paging.state";
            out.gauge(metric::PAGING_USAGE, &[(state, "used")], swapped.round());
            out.gauge(
                metric::PAGING_USAGE,
                &[(state, "free")],
                (swap - swapped).round(),
            );
        }
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

    fn disks(
        &mut self,
        span: f64,
        full: bool,
        profile: &Profile,
        load: &Load,
        out: &mut impl Sink,
    ) {
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
            if full {
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
            }
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

    fn network(&mut self, span: f64, full: bool, load: &Load, out: &mut impl Sink) {
        let totals = &mut self.totals;
        totals.received += load.received * span;
        totals.sent += load.sent * span;
        totals.packets_received += load.received / BYTES_PER_PACKET * span;
        totals.packets_sent += load.sent / BYTES_PER_PACKET * span;
        totals.dropped += load.dropped * span;
        let interface = ("network.interface.name", "eth0");
        for (direction, bytes, packets) in [
            ("receive", totals.received, totals.packets_received),
            ("transmit", totals.sent, totals.packets_sent),
        ] {
            let transmits = direction == "transmit";
            let tags = [interface, ("network.io.direction", direction)];
            out.counter(metric::NETWORK_IO, &tags, bytes.round());
            out.counter(metric::NETWORK_PACKETS, &tags, packets.round());
            if full {
                let dropped = if transmits { totals.dropped } else { 0.0 };
                out.counter(metric::NETWORK_DROPPED, &tags, dropped.round());
            }
            out.counter(metric::NETWORK_ERRORS, &tags, 0.0);
        }
        let states = [
            ("established", load.established),
            ("listen", 24.0),
            ("time_wait", 0.4 * load.established),
        ];
        let shown = if full {
            states.as_slice()
        } else {
            &states[..1]
        };
        for (state, count) in shown {
            out.gauge(
                metric::NETWORK_CONNECTIONS,
                &[("network.connection.state", state)],
                count.round(),
            );
        }
    }

    fn system(
        &mut self,
        span: f64,
        full: bool,
        profile: &Profile,
        load: &Load,
        out: &mut impl Sink,
    ) {
        self.uptime += span;
        let running = (load.busy * f64::from(profile.cores) + load.runnable).round();
        let states = [
            ("running", running),
            ("sleeping", load.processes),
            ("blocked", (load.waiting * 50.0).round()),
        ];
        let shown = if full {
            states.as_slice()
        } else {
            &states[..2]
        };
        for (state, count) in shown {
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
        if full {
            out.gauge(metric::UPTIME, &[], self.uptime);
        }
    }

    /// Not metrics of the host: programs on it report their pool, their database, and what people do with them.
    fn programs(&mut self, span: f64, profile: &Profile, load: &Load, out: &mut impl Sink) {
        if let Some(limit) = profile.pool_limit {
            out.gauge("db.client.connection.count", &[], load.pool.round());
            out.gauge("db.client.connection.max", &[], limit);
        }
        if profile.operation_seconds.is_some() {
            out.gauge("db.client.operation.duration", &[], load.operation);
        }
        if let Some(service) = profile.service {
            // Where nothing is answered, nothing can be said of how long it took.
            let response = if load.response > 0.0 {
                load.response
            } else {
                f64::NAN
            };
            out.gauge("http.server.request.duration", &[], response);
            let logins = service.logins_per_minute * load.visitors;
            let orders = service.orders_per_minute * load.visitors;
            out.gauge("logins.per_minute", &[], self.logins.next(logins, span));
            let orders = self.orders.next(orders, span);
            out.gauge("orders.per_minute", &[], orders);
            out.gauge(
                "revenue.per_minute",
                &[],
                orders * service.revenue_per_order,
            );
        }
    }
}

/// Takes what a collector says; `NaN` where a series says nothing this time.
pub(super) trait Sink {
    fn put(&mut self, metric: &str, tags: &[(&str, &str)], metric_type: MetricType, value: f64);

    fn gauge(&mut self, metric: &str, tags: &[(&str, &str)], value: f64) {
        self.put(metric, tags, MetricType::Gauge, value);
    }

    fn counter(&mut self, metric: &str, tags: &[(&str, &str)], value: f64) {
        self.put(metric, tags, MetricType::Counter, value);
    }
}

fn owned(tags: &[(&str, &str)]) -> Tags {
    tags.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The samples of one step in the making.
pub(super) struct Samples {
    at: EventTime,
    pub(super) samples: Vec<Sample>,
}

impl Samples {
    pub(super) fn new(at: EventTime, detail: Detail) -> Self {
        let usual = match detail {
            Detail::Full => 80,
            Detail::Slim => 40,
        };
        Self {
            at,
            samples: Vec::with_capacity(usual),
        }
    }
}

impl Sink for Samples {
    fn put(&mut self, metric: &str, tags: &[(&str, &str)], metric_type: MetricType, value: f64) {
        if value.is_finite() {
            self.samples.push(Sample {
                metric: metric.to_owned(),
                tags: owned(tags),
                metric_type,
                time: self.at,
                value,
            });
        }
    }
}

/// Values alone.
impl Sink for Vec<f64> {
    fn put(&mut self, _: &str, _: &[(&str, &str)], _: MetricType, value: f64) {
        self.push(value);
    }
}

/// Names alone.
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<SeriesName>);

impl Sink for Names {
    fn put(&mut self, metric: &str, tags: &[(&str, &str)], metric_type: MetricType, _: f64) {
        self.0.push(SeriesName {
            metric: metric.to_owned(),
            tags: owned(tags),
            metric_type,
        });
    }
}
