//! What was read from this host at one moment, as plain numbers. Readers fill it, `derive` turns it into samples.
//!
//! Whatever a system does not offer, or could not be read this time, is `None` or not in its map.

use std::collections::BTreeMap;

/// One reading of the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) cpu: Option<CpuTimes>,
    pub(crate) cores: Option<u64>,
    pub(crate) context_switches: Option<u64>,
    /// Averages over 1, 5 and 15 minutes.
    pub(crate) load: Option<[f64; 3]>,
    pub(crate) memory: Option<Memory>,
    pub(crate) swap: Option<Swap>,
    pub(crate) faults: Option<Faults>,
    /// By mount point.
    pub(crate) filesystems: BTreeMap<String, Filesystem>,
    /// By device name.
    pub(crate) disks: BTreeMap<String, Disk>,
    /// By interface name.
    pub(crate) interfaces: BTreeMap<String, Interface>,
    pub(crate) processes: Option<Processes>,
    pub(crate) processes_created: Option<u64>,
    pub(crate) descriptors: Option<Descriptors>,
    /// Seconds in which some work waited, by resource.
    pub(crate) pressure: BTreeMap<&'static str, f64>,
    pub(crate) tcp: Option<Tcp>,
    /// Seconds.
    pub(crate) uptime: Option<f64>,
}

/// Time since the start per mode and over all cores, in any unit: only shares of differences are used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuTimes {
    pub(crate) user: f64,
    pub(crate) nice: f64,
    pub(crate) system: f64,
    pub(crate) idle: f64,
    pub(crate) iowait: f64,
    pub(crate) interrupt: f64,
    pub(crate) steal: f64,
}

impl CpuTimes {
    /// The modes by their names in the tag `cpu.mode`.
    pub(crate) fn modes(&self) -> [(&'static str, f64); 7] {
        [
            ("user", self.user),
            ("nice", self.nice),
            ("system", self.system),
            ("idle", self.idle),
            ("iowait", self.iowait),
            ("interrupt", self.interrupt),
            ("steal", self.steal),
        ]
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    /// What new programs could get without swapping; its complement is what counts as used.
    pub(crate) available: u64,
    pub(crate) free: u64,
    /// Where the system tells them.
    pub(crate) caches: Option<Caches>,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caches {
    pub(crate) cached: u64,
    pub(crate) buffers: u64,
}

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// Page faults since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) minor: u64,
    pub(crate) major: u64,
}

/// Bytes and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filesystem {
    pub(crate) used: u64,
    /// For ordinary users.
    pub(crate) free: u64,
    /// Free, but kept for the administrator.
    pub(crate) reserved: u64,
    /// Total and free; absent where the filesystem has no fixed number of them.
    pub(crate) inodes: Option<(u64, u64)>,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Disk {
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// Where the system tells them: reads, writes, seconds busy.
    pub(crate) operations: Option<(u64, u64, f64)>,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) receive: Direction,
    pub(crate) transmit: Direction,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    /// Where the system tells it.
    pub(crate) dropped: Option<u64>,
}

/// Processes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Processes {
    pub(crate) total: u64,
    pub(crate) running: u64,
    /// Waiting for I/O.
    pub(crate) blocked: u64,
}

/// File descriptors of the whole system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) open: u64,
    pub(crate) limit: u64,
}

/// TCP sockets, both address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) established: u64,
    pub(crate) time_wait: u64,
    /// In use but not established: listening, opening, closing.
    pub(crate) other: u64,
}
