//! Names of the metrics that Forewarn itself collects and knows how to judge.
//!
//! OpenTelemetry semantic conventions where they have a name; the rest follows their manner.
//! Ratios are 0 to 1, sizes bytes, times seconds.

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $unit:literal;)+) => {
        $($(#[$doc])* pub const $name: &str = $text;)+

        /// Unit of a known metric in the notation of UCUM (`By`, `s`, `1`, `{operation}`), or `None`.
        #[must_use]
        pub fn unit(metric: &str) -> Option<&'static str> {
            match metric { $($text => Some($unit),)+ _ => None }
        }
    };
}

metrics! {
    /// Share of time per `cpu.mode` over all cores.
    CPU_UTILIZATION = "system.cpu.utilization", "1";
    /// Seconds of CPU time per `cpu.mode`, a counter.
    CPU_TIME = "system.cpu.time", "s";
    /// Logical cores.
    CPU_LOGICAL_COUNT = "system.cpu.logical.count", "{cpu}";
    /// Load average over one minute.
    LOAD_1M = "system.cpu.load_average.1m", "{thread}";
    /// Load average over five minutes.
    LOAD_5M = "system.cpu.load_average.5m", "{thread}";
    /// Load average over fifteen minutes.
    LOAD_15M = "system.cpu.load_average.15m", "{thread}";
    /// Context switches, a counter.
    CONTEXT_SWITCHES = "system.cpu.context_switches", "{switch}";
    /// Bytes of memory per `system.memory.state` (used, free, cached, buffers).
    MEMORY_USAGE = "system.memory.usage", "By";
    /// Share of memory that is not available to new programs.
    MEMORY_UTILIZATION = "system.memory.utilization", "1";
    /// Bytes of memory in the machine.
    MEMORY_LIMIT = "system.memory.limit", "By";
    /// Bytes of swap per `system.paging.state` (used, free).
    PAGING_USAGE = "system.paging.usage", "By";
    /// Share of swap in use; absent without swap.
    PAGING_UTILIZATION = "system.paging.utilization", "1";
    /// Page faults per `system.paging.fault.type` (major, minor), a counter.
    PAGING_FAULTS = "system.paging.faults", "{fault}";
    /// Bytes of a filesystem per `system.filesystem.state` (used, free, reserved), per `system.filesystem.mountpoint`.
    FILESYSTEM_USAGE = "system.filesystem.usage", "By";
    /// Share of a filesystem's space that is used, as `df` counts it.
    FILESYSTEM_UTILIZATION = "system.filesystem.utilization", "1";
    /// Bytes a filesystem offers to ordinary users, used and free together.
    FILESYSTEM_LIMIT = "system.filesystem.limit", "By";
    /// Share of a filesystem's inodes that is used.
    FILESYSTEM_INODE_UTILIZATION = "system.filesystem.inode.utilization", "1";
    /// Bytes per `system.device` and `disk.io.direction`, a counter.
    DISK_IO = "system.disk.io", "By";
    /// Operations per `system.device` and `disk.io.direction`, a counter.
    DISK_OPERATIONS = "system.disk.operations", "{operation}";
    /// Seconds in which a `system.device` was busy, a counter.
    DISK_IO_TIME = "system.disk.io_time", "s";
    /// Bytes per `network.interface.name` and `network.io.direction`, a counter.
    NETWORK_IO = "system.network.io", "By";
    /// Packets per `network.interface.name` and `network.io.direction`, a counter.
    NETWORK_PACKETS = "system.network.packet.count", "{packet}";
    /// Packets dropped per `network.interface.name` and `network.io.direction`, a counter.
    NETWORK_DROPPED = "system.network.packet.dropped", "{packet}";
    /// Errors per `network.interface.name` and `network.io.direction`, a counter.
    NETWORK_ERRORS = "system.network.errors", "{error}";
    /// TCP connections per `network.connection.state`.
    NETWORK_CONNECTIONS = "system.network.connection.count", "{connection}";
    /// Processes per `process.state`.
    PROCESS_COUNT = "system.process.count", "{process}";
    /// Processes created since the start, a counter.
    PROCESS_CREATED = "system.process.created", "{process}";
    /// Open file descriptors of the whole system.
    FILE_DESCRIPTOR_COUNT = "system.file_descriptor.count", "{file_descriptor}";
    /// The most file descriptors that the system allows.
    FILE_DESCRIPTOR_LIMIT = "system.file_descriptor.limit", "{file_descriptor}";
    /// Seconds in which some or all work waited for `system.pressure.resource` (cpu, memory, io), a counter (Linux PSI).
    PRESSURE_STALL_TIME = "system.pressure.stall_time", "s";
    /// Seconds since the machine started.
    UPTIME = "system.uptime", "s";
}

/// Short names that people know, and what they mean here; accepted wherever a metric is named.
pub const ALIASES: &[(&str, &str)] = &[
    ("cpu_usage", CPU_UTILIZATION),
    ("memory_usage", MEMORY_UTILIZATION),
    ("disk_usage", FILESYSTEM_UTILIZATION),
    ("disk_io", DISK_OPERATIONS),
    ("network_io", NETWORK_IO),
    ("response_time", "http.server.request.duration"),
    ("connections", "db.client.connection.count"),
    ("connection_limit", "db.client.connection.max"),
];

/// The canonical name of `metric`: its meaning if it is an alias, itself if not.
#[must_use]
pub fn canonical(metric: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == metric)
        .map_or(metric, |(_, name)| name)
}
