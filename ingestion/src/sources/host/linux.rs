//! Reads this host from the kernel's own text files.
//!
//! Cheap by choice: a dozen small files and one listing of `/proc` per reading. Connections come from the kernel's
//! totals rather than from its list of sockets, and processes are counted, not opened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::MountInfos;
use procfs::{
    CpuPressure, DiskStats, FromBufRead, FromBufReadSI, IoPressure, KernelStats, Meminfo,
    MemoryPressure, ProcError,
};

use super::HostConfig;
use super::glob::Globs;
use super::mounts;
use super::snapshot::{
    Caches, CpuTimes, Descriptors, Direction, Disk, Faults, Interface, Memory, Processes, Snapshot,
    Swap, Tcp,
};
use super::statfs::Statfs;
use super::{Failure, Read, Reading};

/// The kernel counts sectors of this size whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;

/// Reads below a folder that looks like `/proc`.
#[derive(Debug)]
pub(crate) struct Linux {
    proc: PathBuf,
    exclude_mounts: Globs,
    exclude_devices: Globs,
    exclude_interfaces: Globs,
    network_filesystems: bool,
    statfs: Statfs,
}

impl Linux {
    /// Reads the running system.
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self::at(Path::new("/proc"), config)
    }

    fn at(proc: &Path, config: &HostConfig) -> Self {
        Self {
            proc: proc.to_owned(),
            exclude_mounts: Globs::new(&config.mounts_exclude),
            exclude_devices: Globs::new(&config.devices_exclude),
            exclude_interfaces: Globs::new(&config.interfaces_exclude),
            network_filesystems: config.network_filesystems,
            statfs: Statfs::default(),
        }
    }
}

impl Read for Linux {
    fn read(&mut self) -> Reading {
        let mut now = Snapshot::default();
        let mut failures = Vec::new();
        let mut part = |name: &'static str, result: Result<(), String>| {
            if let Err(problem) = result {
                failures.push(Failure {
                    part: name,
                    problem,
                });
            }
        };
        part("cpu", self.stat(&mut now));
        part("load", self.load(&mut now));
        part("memory", self.memory(&mut now));
        part("paging", self.paging(&mut now));
        part("disk", self.disks(&mut now));
        part("network", self.interfaces(&mut now));
        part("processes", self.processes(&mut now));
        part("file_descriptors", self.descriptors(&mut now));
        part("pressure", self.pressure(&mut now));
        part("connections", self.connections(&mut now));
        part("uptime", self.uptime(&mut now));
        part("filesystem", self.filesystems(&mut now));
        Reading {
            snapshot: now,
            failures,
        }
    }
}

impl Linux {
    fn bytes(&self, file: &str) -> Result<Vec<u8>, String> {
        let path = self.proc.join(file);
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn text(&self, file: &str) -> Result<String, String> {
        String::from_utf8(self.bytes(file)?)
            .map_err(|_| format!("{}: is not text", self.proc.join(file).display()))
    }

    fn parse<T: FromBufRead>(&self, file: &str) -> Result<T, String> {
        T::from_buf_read(self.bytes(file)?.as_slice()).map_err(|error| broken(file, &error))
    }

    fn stat(&self, now: &mut Snapshot) -> Result<(), String> {
        // Ticks per second cancel out: only shares are made of the times.
        let stat = KernelStats::from_buf_read(
            self.bytes("stat")?.as_slice(),
            procfs::current_system_info(),
        )
        .map_err(|error| broken("stat", &error))?;
        let t = &stat.total;
        let ticks = |ticks: Option<u64>| ticks.unwrap_or(0) as f64;
        now.cpu = Some(CpuTimes {
            user: t.user as f64,
            nice: t.nice as f64,
            system: t.system as f64,
            idle: t.idle as f64,
            iowait: ticks(t.iowait),
            interrupt: ticks(t.irq) + ticks(t.softirq),
            steal: ticks(t.steal),
        });
        now.cores = Some(stat.cpu_time.len() as u64);
        now.context_switches = Some(stat.ctxt);
        now.processes_created = Some(stat.processes);
        let count = |count: Option<u32>| u64::from(count.unwrap_or(0));
        now.processes = Some(Processes {
            total: 0,
            running: count(stat.procs_running),
            blocked: count(stat.procs_blocked),
        });
        Ok(())
    }

    fn load(&self, now: &mut Snapshot) -> Result<(), String> {
        let text = self.text("loadavg")?;
        let mut averages = text
            .split_ascii_whitespace()
            .map_while(|word| word.parse::<f64>().ok());
        let (Some(one), Some(five), Some(fifteen)) =
            (averages.next(), averages.next(), averages.next())
        else {
            return Err(unreadable("loadavg", &text));
        };
        now.load = Some([one, five, fifteen]);
        Ok(())
    }

    fn memory(&self, now: &mut Snapshot) -> Result<(), String> {
        let info: Meminfo = self.parse("meminfo")?;
        let caches = Caches {
            cached: info.cached,
            buffers: info.buffers,
        };
        // Kernels before 3.14 do not say what is available; this is the old rule of thumb.
        let available = info
            .mem_available
            .unwrap_or(info.mem_free + info.buffers + info.cached);
        now.memory = Some(Memory {
            total: info.mem_total,
            available,
            free: info.mem_free,
            caches: Some(caches),
        });
        now.swap = Some(Swap {
            total: info.swap_total,
            free: info.swap_free,
        });
        Ok(())
    }

    fn paging(&self, now: &mut Snapshot) -> Result<(), String> {
        let text = self.text("vmstat")?;
        let (Some(all), Some(major)) = (field(&text, "pgfault"), field(&text, "pgmajfault")) else {
            return Err("vmstat: has no pgfault and pgmajfault".into());
        };
        now.faults = Some(Faults {
            minor: all.saturating_sub(major),
            major,
        });
        Ok(())
    }

    fn disks(&self, now: &mut Snapshot) -> Result<(), String> {
        let DiskStats(all) = self.parse("diskstats")?;
        for disk in &all {
            let never_used = disk.reads == 0 && disk.writes == 0;
            let part_of_another = all
                .iter()
                .any(|whole| is_partition(&disk.name, &whole.name));
            if never_used || part_of_another || self.exclude_devices.matches(&disk.name) {
                continue;
            }
            now.disks.insert(
                disk.name.clone(),
                Disk {
                    bytes_read: disk.sectors_read.saturating_mul(SECTOR_BYTES),
                    bytes_written: disk.sectors_written.saturating_mul(SECTOR_BYTES),
                    operations: Some((disk.reads, disk.writes, disk.time_in_progress as f64 / 1e3)),
                },
            );
        }
        Ok(())
    }

    fn interfaces(&self, now: &mut Snapshot) -> Result<(), String> {
        let procfs::net::InterfaceDeviceStatus(all) = self.parse("self/net/dev")?;
        for (name, status) in all {
            if self.exclude_interfaces.matches(&name) {
                continue;
            }
            let receive = Direction {
                bytes: status.recv_bytes,
                packets: status.recv_packets,
                errors: status.recv_errs,
                dropped: Some(status.recv_drop),
            };
            let transmit = Direction {
                bytes: status.sent_bytes,
                packets: status.sent_packets,
                errors: status.sent_errs,
                dropped: Some(status.sent_drop),
            };
            now.interfaces.insert(name, Interface { receive, transmit });
        }
        Ok(())
    }

    /// Counts the processes; how many of them run or are blocked came with the CPU's times.
    fn processes(&self, now: &mut Snapshot) -> Result<(), String> {
        let Some(processes) = now.processes.take() else {
            return Err("how many run is not known without stat".into());
        };
        let entries = fs::read_dir(&self.proc)
            .map_err(|error| format!("{}: {error}", self.proc.display()))?;
        let total = entries
            .filter_map(Result::ok)
            .filter(|entry| {
                entry
                    .file_name()
                    .as_encoded_bytes()
                    .first()
                    .is_some_and(u8::is_ascii_digit)
            })
            .count() as u64;
        now.processes = Some(Processes { total, ..processes });
        Ok(())
    }

    fn descriptors(&self, now: &mut Snapshot) -> Result<(), String> {
        let text = self.text("sys/fs/file-nr")?;
        let numbers: Vec<u64> = text
            .split_ascii_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let [allocated, unused, limit] = numbers[..] else {
            return Err(unreadable("sys/fs/file-nr", &text));
        };
        now.descriptors = Some(Descriptors {
            open: allocated.saturating_sub(unused),
            limit,
        });
        Ok(())
    }

    fn pressure(&self, now: &mut Snapshot) -> Result<(), String> {
        // A kernel without PSI has no such folder, and that is no failure; older ones may refuse to open the files.
        if !self.proc.join("pressure").exists() {
            return Ok(());
        }
        let seconds = |micros: u64| micros as f64 / 1e6;
        let cpu: CpuPressure = self.parse("pressure/cpu")?;
        let memory: MemoryPressure = self.parse("pressure/memory")?;
        let io: IoPressure = self.parse("pressure/io")?;
        now.pressure = BTreeMap::from([
            ("cpu", seconds(cpu.some.total)),
            ("memory", seconds(memory.some.total)),
            ("io", seconds(io.some.total)),
        ]);
        Ok(())
    }

    fn connections(&self, now: &mut Snapshot) -> Result<(), String> {
        let snmp = self.text("self/net/snmp")?;
        let established =
            snmp_field(&snmp, "Tcp:", "CurrEstab").ok_or("net/snmp: has no Tcp CurrEstab")?;
        let sockets = self.text("self/net/sockstat")?;
        let tcp = sockets
            .lines()
            .find(|line| line.starts_with("TCP:"))
            .ok_or("net/sockstat: has no TCP line")?;
        // Hosts without IPv6 have no such file.
        let in_use_v6 = self
            .text("self/net/sockstat6")
            .ok()
            .and_then(|text| {
                text.lines()
                    .find(|line| line.starts_with("TCP6:"))
                    .and_then(|line| word_after(line, "inuse"))
            })
            .unwrap_or(0);
        let in_use =
            word_after(tcp, "inuse").ok_or_else(|| unreadable("net/sockstat", tcp))? + in_use_v6;
        now.tcp = Some(Tcp {
            established,
            time_wait: word_after(tcp, "tw").unwrap_or(0),
            other: in_use.saturating_sub(established),
        });
        Ok(())
    }

    fn uptime(&self, now: &mut Snapshot) -> Result<(), String> {
        let text = self.text("uptime")?;
        let seconds = text
            .split_ascii_whitespace()
            .next()
            .and_then(|word| word.parse().ok());
        now.uptime = Some(seconds.ok_or_else(|| unreadable("uptime", &text))?);
        Ok(())
    }

    fn filesystems(&mut self, now: &mut Snapshot) -> Result<(), String> {
        // Read anew each time, so that a new mount is seen at once.
        let MountInfos(all) = self.parse("self/mountinfo")?;
        let points = mounts::choose(&all, &self.exclude_mounts, self.network_filesystems);
        let round = self.statfs.ask(&points);
        now.filesystems = round.filesystems;
        if round.failed.is_empty() {
            return Ok(());
        }
        let named: Vec<String> = round
            .failed
            .iter()
            .map(|(mount, problem)| format!("{mount} {problem}"))
            .collect();
        Err(named.join("; "))
    }
}

/// Whether `name` is a partition of `whole`: `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`.
fn is_partition(name: &str, whole: &str) -> bool {
    let Some(rest) = name.strip_prefix(whole) else {
        return false;
    };
    let number = if whole.ends_with(|c: char| c.is_ascii_digit()) {
        rest.strip_prefix('p')
    } else {
        Some(rest)
    };
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The number behind `name` in lines of the form `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// The number behind `name` in a line of the form `TCP: inuse 3 orphan 0`.
fn word_after(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

/// A value of `/proc/net/snmp`, where a line of names is followed by a line of values with the same first word.
fn snmp_field(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names
        .split_ascii_whitespace()
        .position(|word| word == name)?;
    values.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// The parser calls every surprise a defect of its own, over several lines; what matters is which file surprised it.
fn broken(file: &str, error: &ProcError) -> String {
    match error {
        ProcError::InternalError(_) => {
            format!("{file}: is not of the form that this kernel's version should have")
        }
        other => format!("{file}: {other}"),
    }
}

fn unreadable(file: &str, text: &str) -> String {
    format!(
        "{file}: cannot be read: {:?}",
        text.chars().take(60).collect::<String>()
    )
}

#[cfg(test)]
mod tests;
