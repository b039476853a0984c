//! From two readings of a host to its samples: pure, so that every number can be checked against text of the kernel.
//!
//! Totals go out as counters: rates, and what a restart does to them, are the business of the features.
//! Only CPU time becomes a share here, since its counters would double the volume and say the same.

use forewarn_types::{EventTime, MetricType, Sample, Tags, metric};

use super::snapshot::{CpuTimes, Direction, Snapshot};

/// The samples of `now`, measured at `at`. Shares of CPU time need the reading `before`.
pub(crate) fn derive(before: Option<&Snapshot>, now: &Snapshot, at: EventTime) -> Vec<Sample> {
    let mut out = Samples {
        at,
        samples: Vec::with_capacity(96),
    };
    if let (Some(before), Some(cpu)) = (before.and_then(|b| b.cpu), now.cpu) {
        out.cpu(&before, &cpu);
    }
    out.gauge_if(metric::CPU_LOGICAL_COUNT, &[], now.cores);
    out.counter_if(metric::CONTEXT_SWITCHES, &[], now.context_switches);
    if let Some([one, five, fifteen]) = now.load {
        out.gauge(metric::LOAD_1M, &[], one);
        out.gauge(metric::LOAD_5M, &[], five);
        out.gauge(metric::LOAD_15M, &[], fifteen);
    }
    out.memory(now);
    out.filesystems(now);
    out.disks(now);
    out.interfaces(now);
    out.processes(now);
    for (resource, seconds) in &now.pressure {
        out.counter(
            metric::PRESSURE_STALL_TIME,
            &[("system.pressure.resource", resource)],
            *seconds,
        );
    }
    if let Some(tcp) = now.tcp {
        for (state, count) in [
            ("established", tcp.established),
            ("time_wait", tcp.time_wait),
            ("other", tcp.other),
        ] {
            out.gauge(
                metric::NETWORK_CONNECTIONS,
                &[("network.connection.state", state)],
                count as f64,
            );
        }
    }
    if let Some(uptime) = now.uptime {
        out.gauge(metric::UPTIME, &[], uptime);
    }
    out.samples
}

struct Samples {
    at: EventTime,
    samples: Vec<Sample>,
}

impl Samples {
    fn push(&mut self, metric: &str, tags: &[(&str, &str)], metric_type: MetricType, value: f64) {
        let tags: Tags = tags
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

    fn gauge(&mut self, metric: &str, tags: &[(&str, &str)], value: f64) {
        self.push(metric, tags, MetricType::Gauge, value);
    }

    fn counter(&mut self, metric: &str, tags: &[(&str, &str)], value: f64) {
        self.push(metric, tags, MetricType::Counter, value);
    }

    fn gauge_if(&mut self, metric: &str, tags: &[(&str, &str)], value: Option<u64>) {
        if let Some(value) = value {
            self.gauge(metric, tags, value as f64);
        }
    }

    fn counter_if(&mut self, metric: &str, tags: &[(&str, &str)], value: Option<u64>) {
        if let Some(value) = value {
            self.counter(metric, tags, value as f64);
        }
    }

    fn cpu(&mut self, before: &CpuTimes, now: &CpuTimes) {
        // Waiting for I/O is known to run backwards now and then (proc(5)); a mode never shrinks here.
        let grown: Vec<(&str, f64)> = now
            .modes()
            .iter()
            .zip(before.modes())
            .map(|((mode, now), (_, was))| (*mode, (now - was).max(0.0)))
            .collect();
        let total: f64 = grown.iter().map(|(_, time)| time).sum();
        // Two readings within one tick of the kernel's clock say nothing.
        if total > 0.0 {
            for (mode, time) in grown {
                self.gauge(metric::CPU_UTILIZATION, &[("cpu.mode", mode)], time / total);
            }
        }
    }

    fn memory(&mut self, now: &Snapshot) {
        if let Some(memory) = now.memory.filter(|memory| memory.total > 0) {
            let used = memory.total.saturating_sub(memory.available);
            let state = "system.memory.state";
            self.gauge(metric::MEMORY_USAGE, &[(state, "used")], used as f64);
            self.gauge(metric::MEMORY_USAGE, &[(state, "free")], memory.free as f64);
            if let Some(caches) = memory.caches {
                self.gauge(
                    metric::MEMORY_USAGE,
                    &[(state, "cached")],
                    caches.cached as f64,
                );
                self.gauge(
                    metric::MEMORY_USAGE,
                    &[(state, "buffers")],
                    caches.buffers as f64,
                );
            }
            self.gauge(
                metric::MEMORY_UTILIZATION,
                &[],
                used as f64 / memory.total as f64,
            );
            self.gauge(metric::MEMORY_LIMIT, &[], memory.total as f64);
        }
        // A machine without swap has none of these series, rather than zeros that mean nothing.
        if let Some(swap) = now.swap.filter(|swap| swap.total > 0) {
            let used = swap.total.saturating_sub(swap.free);
            self.gauge(
                metric::PAGING_USAGE,
                &[("system.paging.state", "used")],
                used as f64,
            );
            self.gauge(
                metric::PAGING_USAGE,
                &[("system.paging.state", "free")],
                swap.free as f64,
            );
            self.gauge(
                metric::PAGING_UTILIZATION,
                &[],
                used as f64 / swap.total as f64,
            );
        }
        if let Some(faults) = now.faults {
            let kind = "system.paging.fault.type";
            self.counter(
                metric::PAGING_FAULTS,
                &[(kind, "minor")],
                faults.minor as f64,
            );
            self.counter(
                metric::PAGING_FAULTS,
                &[(kind, "major")],
                faults.major as f64,
            );
        }
    }

    fn filesystems(&mut self, now: &Snapshot) {
        for (mount, fs) in &now.filesystems {
            // As `df` counts: what is kept for the administrator belongs to neither side.
            let offered = fs.used.saturating_add(fs.free);
            if offered == 0 {
                continue;
            }
            let at = ("system.filesystem.mountpoint", mount.as_str());
            for (state, bytes) in [
                ("used", fs.used),
                ("free", fs.free),
                ("reserved", fs.reserved),
            ] {
                self.gauge(
                    metric::FILESYSTEM_USAGE,
                    &[at, ("system.filesystem.state", state)],
                    bytes as f64,
                );
            }
            self.gauge(
                metric::FILESYSTEM_UTILIZATION,
                &[at],
                fs.used as f64 / offered as f64,
            );
            self.gauge(metric::FILESYSTEM_LIMIT, &[at], offered as f64);
            if let Some((total, free)) = fs.inodes.filter(|(total, _)| *total > 0) {
                let share = total.saturating_sub(free) as f64 / total as f64;
                self.gauge(metric::FILESYSTEM_INODE_UTILIZATION, &[at], share);
            }
        }
    }

    fn disks(&mut self, now: &Snapshot) {
        for (name, disk) in &now.disks {
            let device = ("system.device", name.as_str());
            let (read, write) = (
                ("disk.io.direction", "read"),
                ("disk.io.direction", "write"),
            );
            self.counter(metric::DISK_IO, &[device, read], disk.bytes_read as f64);
            self.counter(metric::DISK_IO, &[device, write], disk.bytes_written as f64);
            if let Some((reads, writes, busy)) = disk.operations {
                self.counter(metric::DISK_OPERATIONS, &[device, read], reads as f64);
                self.counter(metric::DISK_OPERATIONS, &[device, write], writes as f64);
                self.counter(metric::DISK_IO_TIME, &[device], busy);
            }
        }
    }

    fn interfaces(&mut self, now: &Snapshot) {
        for (name, interface) in &now.interfaces {
            for (
                word,
                Direction {
                    bytes,
                    packets,
                    errors,
                    dropped,
                },
            ) in [
                ("receive", interface.receive),
                ("transmit", interface.transmit),
            ] {
                let tags = [
                    ("network.interface.name", name.as_str()),
                    ("network.io.direction", word),
                ];
                self.counter(metric::NETWORK_IO, &tags, bytes as f64);
                self.counter(metric::NETWORK_PACKETS, &tags, packets as f64);
                self.counter_if(metric::NETWORK_DROPPED, &tags, dropped);
                self.counter(metric::NETWORK_ERRORS, &tags, errors as f64);
            }
        }
    }

    fn processes(&mut self, now: &Snapshot) {
        if let Some(processes) = now.processes {
            // The kernel counts runnable threads, so the two may exceed the number of processes for a moment.
            let other = processes
                .total
                .saturating_sub(processes.running + processes.blocked);
            for (state, count) in [
                ("running", processes.running),
                ("blocked", processes.blocked),
                ("other", other),
            ] {
                self.gauge(
                    metric::PROCESS_COUNT,
                    &[("process.state", state)],
                    count as f64,
                );
            }
        }
        self.counter_if(metric::PROCESS_CREATED, &[], now.processes_created);
        if let Some(descriptors) = now.descriptors {
            self.gauge(metric::FILE_DESCRIPTOR_COUNT, &[], descriptors.open as f64);
            self.gauge(metric::FILE_DESCRIPTOR_LIMIT, &[], descriptors.limit as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::{Filesystem, Memory, Swap};
    use super::*;

    fn shares(before: CpuTimes, now: CpuTimes) -> Vec<(String, f64)> {
        let before = Snapshot {
            cpu: Some(before),
            ..Snapshot::default()
        };
        let now = Snapshot {
            cpu: Some(now),
            ..Snapshot::default()
        };
        derive(Some(&before), &now, EventTime(0))
            .into_iter()
            .map(|s| (s.tags["cpu.mode"].clone(), s.value))
            .collect()
    }

    #[test]
    fn cpu_shares_sum_to_one_even_when_a_mode_runs_backwards() {
        let before = CpuTimes {
            user: 100.0,
            idle: 1_000.0,
            iowait: 50.0,
            ..CpuTimes::default()
        };
        let now = CpuTimes {
            user: 130.0,
            idle: 1_070.0,
            iowait: 45.0,
            ..CpuTimes::default()
        };
        let shares = shares(before, now);
        assert!((shares.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shares.contains(&("user".into(), 0.3)));
        assert!(shares.contains(&("iowait".into(), 0.0)));
    }

    #[test]
    fn two_readings_within_one_tick_say_nothing_about_the_cpu() {
        assert_eq!(shares(CpuTimes::default(), CpuTimes::default()), []);
        assert!(
            derive(
                None,
                &Snapshot {
                    cpu: Some(CpuTimes::default()),
                    ..Snapshot::default()
                },
                EventTime(0)
            )
            .is_empty()
        );
    }

    #[test]
    fn what_divides_by_zero_is_left_out() {
        let mut now = Snapshot {
            memory: Some(Memory::default()),
            swap: Some(Swap::default()),
            ..Snapshot::default()
        };
        now.filesystems.insert(
            "/empty".into(),
            Filesystem {
                inodes: Some((0, 0)),
                ..Filesystem::default()
            },
        );
        assert_eq!(derive(None, &now, EventTime(0)), []);
    }

    #[test]
    fn a_filesystem_is_as_full_as_df_says() {
        let mut now = Snapshot::default();
        now.filesystems.insert(
            "/".into(),
            Filesystem {
                used: 60,
                free: 20,
                reserved: 20,
                inodes: Some((1_000, 750)),
            },
        );
        let samples = derive(None, &now, EventTime(5));
        let value = |metric: &str| samples.iter().find(|s| s.metric == metric).map(|s| s.value);
        assert_eq!(value(metric::FILESYSTEM_UTILIZATION), Some(0.75));
        assert_eq!(value(metric::FILESYSTEM_LIMIT), Some(80.0));
        assert_eq!(value(metric::FILESYSTEM_INODE_UTILIZATION), Some(0.25));
        assert!(samples.iter().all(|s| s.time == EventTime(5)));
    }
}
