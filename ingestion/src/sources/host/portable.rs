//! Reads this host through `sysinfo`, on systems for which there is no reader of their own.
//!
//! It sees less than the Linux reader: no modes of the CPU (all that is not idle counts as `user`), no page faults,
//! inodes, file descriptors, pressure, connections or processes. It is compiled and tested everywhere.

use std::time::Instant;

use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, Networks, System};

use super::glob::Globs;
use super::snapshot::{CpuTimes, Direction, Disk, Filesystem, Interface, Memory, Snapshot, Swap};
use super::{Failure, HostConfig, Read, Reading};

/// Reads through `sysinfo`.
#[cfg_attr(
    target_os = "linux",
    allow(
        dead_code,
        reason = "Linux has a reader of its own; tests run this one too"
    )
)]
pub(crate) struct Portable {
    exclude_mounts: Globs,
    exclude_devices: Globs,
    exclude_interfaces: Globs,
    system: Option<System>,
    disks: Option<Disks>,
    networks: Option<Networks>,
    /// `sysinfo` tells shares, snapshots hold totals: the shares are added up over the time they stand for.
    cpu: CpuTimes,
    read_at: Instant,
}

#[cfg_attr(target_os = "linux", allow(dead_code, reason = "as above"))]
impl Portable {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            exclude_mounts: Globs::new(&config.mounts_exclude),
            exclude_devices: Globs::new(&config.devices_exclude),
            exclude_interfaces: Globs::new(&config.interfaces_exclude),
            system: System::new().ok(),
            disks: Disks::new().ok(),
            networks: Networks::new().ok(),
            cpu: CpuTimes::default(),
            read_at: Instant::now(),
        }
    }

    fn system(&mut self, now: &mut Snapshot) -> Result<(), &'static str> {
        let system = self
            .system
            .as_mut()
            .ok_or("this system is not known to sysinfo")?;
        system.refresh_cpu_specifics(CpuRefreshKind::nothing().with_usage());
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let elapsed = self.read_at.elapsed().as_secs_f64();
        self.read_at = Instant::now();
        let busy = (f64::from(system.global_cpu_usage()) / 100.0).clamp(0.0, 1.0);
        self.cpu.user += busy * elapsed;
        self.cpu.idle += (1.0 - busy) * elapsed;
        now.cpu = Some(self.cpu);
        now.cores = Some(system.cpus().len() as u64);
        now.memory = Some(Memory {
            total: system.total_memory(),
            // Some systems tell only what is used.
            available: match system.available_memory() {
                0 => system.total_memory().saturating_sub(system.used_memory()),
                available => available,
            },
            free: system.free_memory(),
            caches: None,
        });
        now.swap = Some(Swap {
            total: system.total_swap(),
            free: system.free_swap(),
        });
        Ok(())
    }

    fn disks(&mut self, now: &mut Snapshot) -> Result<(), &'static str> {
        let disks = self
            .disks
            .as_mut()
            .ok_or("this system's disks are not known to sysinfo")?;
        disks.refresh_specifics(
            true,
            DiskRefreshKind::nothing().with_storage().with_io_usage(),
        );
        for disk in disks.iter() {
            let (name, mount) = (
                disk.name().to_string_lossy(),
                disk.mount_point().to_string_lossy(),
            );
            let (total, free) = (disk.total_space(), disk.available_space());
            if total > 0 && !disk.is_read_only() && !self.exclude_mounts.matches(&mount) {
                let filesystem = Filesystem {
                    used: total.saturating_sub(free),
                    free,
                    reserved: 0,
                    inodes: None,
                };
                now.filesystems.insert(mount.into_owned(), filesystem);
            }
            let usage = disk.usage();
            let short = name.strip_prefix("/dev/").unwrap_or(&name);
            if !short.is_empty() && !self.exclude_devices.matches(short) {
                let totals = Disk {
                    bytes_read: usage.total_read_bytes,
                    bytes_written: usage.total_written_bytes,
                    operations: None,
                };
                now.disks.insert(short.to_owned(), totals);
            }
        }
        Ok(())
    }

    fn networks(&mut self, now: &mut Snapshot) -> Result<(), &'static str> {
        let networks = self
            .networks
            .as_mut()
            .ok_or("this system's interfaces are not known to sysinfo")?;
        networks.refresh(true);
        for (name, data) in networks.iter() {
            let name = name.to_string_lossy();
            if self.exclude_interfaces.matches(&name) {
                continue;
            }
            let receive = Direction {
                bytes: data.total_received(),
                packets: data.total_packets_received(),
                errors: data.total_errors_on_received(),
                dropped: None,
            };
            let transmit = Direction {
                bytes: data.total_transmitted(),
                packets: data.total_packets_transmitted(),
                errors: data.total_errors_on_transmitted(),
                dropped: None,
            };
            now.interfaces
                .insert(name.into_owned(), Interface { receive, transmit });
        }
        Ok(())
    }
}

impl Read for Portable {
    fn read(&mut self) -> Reading {
        let mut now = Snapshot::default();
        let mut failures = Vec::new();
        let mut part = |name: &'static str, result: Result<(), &'static str>| {
            if let Err(problem) = result {
                failures.push(Failure {
                    part: name,
                    problem: problem.to_owned(),
                });
            }
        };
        part("cpu", self.system(&mut now));
        part("filesystem", self.disks(&mut now));
        part("network", self.networks(&mut now));
        // Windows has no load average: it then stays absent, which is not a failure.
        now.load = System::load_average()
            .ok()
            .map(|load| [load.one, load.five, load.fifteen]);
        now.uptime = System::uptime().ok().map(|seconds| seconds as f64);
        Reading {
            snapshot: now,
            failures,
        }
    }
}
