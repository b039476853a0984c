//! The Linux reader over text as kernels write it.

use std::fmt::Write as _;
use std::process::Command;

use expect_test::{Expect, expect};
use forewarn_types::EventTime;

use super::super::derive::derive;
use super::*;

/// Two cores and one disk with two partitions; enough of each file for its parser.
const FILES: &[(&str, &str)] = &[
    (
        "stat",
        "cpu  1000 20 300 8000 100 5 15 10 0 0\ncpu0 500 10 150 4000 50 3 7 5 0 0\ncpu1 500 10 150 4000 50 2 8 5 0 0\n\
         intr 12345 0\nctxt 987654\nbtime 1700000000\nprocesses 4321\nprocs_running 2\nprocs_blocked 1\nsoftirq 0\n",
    ),
    ("loadavg", "0.33 1.52 1.55 2/512 4321\n"),
    (
        "meminfo",
        "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nBuffers: 50 kB\nCached: 200 kB\nSwapCached: 0 kB\n\
         Active: 0 kB\nInactive: 0 kB\nSwapTotal: 80 kB\nSwapFree: 60 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\n\
         Slab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
    ),
    (
        "vmstat",
        "nr_free_pages 1\npgfault 5000\npgmajfault 12\npgfault_other 9\n",
    ),
    (
        "diskstats",
        "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n 259       0 nvme0n1 164 14 2000 35 376 11 4000 59 0 23164 41\n \
         259       1 nvme0n1p1 100 14 1000 35 300 11 3000 59 0 2000 41\n   8       0 sda 0 0 0 0 0 0 0 0 0 0 0\n",
    ),
    (
        "self/net/dev",
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
         lo:  114489    1356    0    0    0     0          0         0   114489    1356    0    0    0     0       0          0\n  \
         eth0: 5000 40 1 2 0 0 0 0 3000 30 3 4 0 0 0 0\n",
    ),
    ("sys/fs/file-nr", "853\t3\t2466183\n"),
    ("pressure/cpu", PRESSURE),
    ("pressure/memory", PRESSURE),
    ("pressure/io", PRESSURE),
    (
        "self/net/snmp",
        "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm CurrEstab InSegs\nTcp: 1 4 900\n",
    ),
    (
        "self/net/sockstat",
        "sockets: used 25\nTCP: inuse 3 orphan 0 tw 2 alloc 7 mem 92\nUDP: inuse 0 mem 0\n",
    ),
    ("self/net/sockstat6", "TCP6: inuse 6\nUDP6: inuse 0\n"),
    ("uptime", "1234.56 2000.00\n"),
    ("self/mountinfo", ""),
    ("1/comm", "init\n"),
    ("22/comm", "sh\n"),
    ("23/comm", "sh\n"),
    ("4321/comm", "sh\n"),
    ("5000/comm", "sh\n"),
];

const PRESSURE: &str = "some avg10=0.33 avg60=1.52 avg300=1.55 total=236298472\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

/// A folder that looks like `/proc`, with some files replaced, or left out where the text is `None`.
fn folder(changes: &[(&str, Option<&str>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in FILES {
        let text = changes
            .iter()
            .find(|(changed, _)| changed == name)
            .map_or(Some(*text), |(_, text)| *text);
        if let Some(text) = text {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
    }
    folder
}

fn check(changes: &[(&str, Option<&str>)], expected: Expect) {
    let folder = folder(changes);
    let reading = Linux::at(folder.path(), &HostConfig::default()).read();
    let before = Snapshot {
        cpu: Some(CpuTimes {
            user: 900.0,
            idle: 7_000.0,
            ..CpuTimes::default()
        }),
        ..Snapshot::default()
    };
    let mut text = String::new();
    for sample in derive(Some(&before), &reading.snapshot, EventTime(0)) {
        let tags: Vec<&str> = sample.tags.values().map(String::as_str).collect();
        let sort = if sample.metric_type.is_gauge() {
            ""
        } else {
            " counter"
        };
        writeln!(
            text,
            "{} {} = {:.6}{sort}",
            sample.metric,
            tags.join(","),
            sample.value
        )
        .expect("a String takes all");
    }
    for failure in reading.failures {
        let problem = failure
            .problem
            .replace(&folder.path().display().to_string(), "PROC");
        writeln!(text, "FAILED {}: {problem}", failure.part).expect("a String takes all");
    }
    expected.assert_eq(&text);
}

#[test]
fn every_file_becomes_the_samples_that_it_should() {
    check(
        &[],
        expect![[r#"
        system.cpu.utilization user = 0.064516
        system.cpu.utilization nice = 0.012903
        system.cpu.utilization system = 0.193548
        system.cpu.utilization idle = 0.645161
        system.cpu.utilization iowait = 0.064516
        system.cpu.utilization interrupt = 0.012903
        system.cpu.utilization steal = 0.006452
        system.cpu.logical.count  = 2.000000
        system.cpu.context_switches  = 987654.000000 counter
        system.cpu.load_average.1m  = 0.330000
        system.cpu.load_average.5m  = 1.520000
        system.cpu.load_average.15m  = 1.550000
        system.memory.usage used = 614400.000000
        system.memory.usage free = 102400.000000
        system.memory.usage cached = 204800.000000
        system.memory.usage buffers = 51200.000000
        system.memory.utilization  = 0.600000
        system.memory.limit  = 1024000.000000
        system.paging.usage used = 20480.000000
        system.paging.usage free = 61440.000000
        system.paging.utilization  = 0.250000
        system.paging.faults minor = 4988.000000 counter
        system.paging.faults major = 12.000000 counter
        system.disk.io read,nvme0n1 = 1024000.000000 counter
        system.disk.io write,nvme0n1 = 2048000.000000 counter
        system.disk.operations read,nvme0n1 = 164.000000 counter
        system.disk.operations write,nvme0n1 = 376.000000 counter
        system.disk.io_time nvme0n1 = 23.164000 counter
        system.network.io eth0,receive = 5000.000000 counter
        system.network.packet.count eth0,receive = 40.000000 counter
        system.network.packet.dropped eth0,receive = 2.000000 counter
        system.network.errors eth0,receive = 1.000000 counter
        system.network.io eth0,transmit = 3000.000000 counter
        system.network.packet.count eth0,transmit = 30.000000 counter
        system.network.packet.dropped eth0,transmit = 4.000000 counter
        system.network.errors eth0,transmit = 3.000000 counter
        system.process.count running = 2.000000
        system.process.count blocked = 1.000000
        system.process.count other = 2.000000
        system.process.created  = 4321.000000 counter
        system.file_descriptor.count  = 850.000000
        system.file_descriptor.limit  = 2466183.000000
        system.pressure.stall_time cpu = 236.298472 counter
        system.pressure.stall_time io = 236.298472 counter
        system.pressure.stall_time memory = 236.298472 counter
        system.network.connection.count established = 4.000000
        system.network.connection.count time_wait = 2.000000
        system.network.connection.count other = 5.000000
        system.uptime  = 1234.560000
    "#]],
    );
}

#[test]
fn files_that_are_missing_or_broken_are_named_and_the_others_go_on() {
    let broken: Vec<(&str, Option<&str>)> = vec![
        ("stat", Some("cpu  x y\n")),
        ("loadavg", Some("many\n")),
        ("meminfo", Some("MemTotal: lots\n")),
        ("vmstat", None),
        ("diskstats", Some("7 0\n")),
        ("self/net/dev", Some("a\nb\neth0: many\n")),
        ("sys/fs/file-nr", Some("853")),
        ("pressure/cpu", Some("some\n")),
        ("self/net/snmp", Some("Tcp: CurrEstab\n")),
        ("uptime", Some("")),
        ("self/mountinfo", None),
    ];
    check(
        &broken,
        expect![[r#"
        FAILED cpu: stat: is not of the form that this kernel's version should have
        FAILED load: loadavg: cannot be read: "many\n"
        FAILED memory: meminfo: is not of the form that this kernel's version should have
        FAILED paging: PROC/vmstat: No such file or directory (os error 2)
        FAILED disk: diskstats: is not of the form that this kernel's version should have
        FAILED network: self/net/dev: is not of the form that this kernel's version should have
        FAILED processes: how many run is not known without stat
        FAILED file_descriptors: sys/fs/file-nr: cannot be read: "853"
        FAILED pressure: pressure/cpu: Data incomplete
        FAILED connections: net/snmp: has no Tcp CurrEstab
        FAILED uptime: uptime: cannot be read: ""
        FAILED filesystem: PROC/self/mountinfo: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn a_kernel_without_pressure_and_ipv6_is_no_failure() {
    let folder = folder(&[
        ("pressure/cpu", None),
        ("pressure/memory", None),
        ("pressure/io", None),
        ("self/net/sockstat6", None),
    ]);
    let reading = Linux::at(folder.path(), &HostConfig::default()).read();
    assert_eq!(reading.failures, []);
    assert!(reading.snapshot.pressure.is_empty());
    assert_eq!(
        reading.snapshot.tcp,
        Some(Tcp {
            established: 4,
            time_wait: 2,
            other: 0
        })
    );
}

#[test]
#[allow(
    clippy::print_stderr,
    reason = "a left-out test has to be seen where tests are run"
)]
fn a_new_mount_is_seen_at_the_next_reading_and_a_gone_one_no_more() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let point = folder.path().to_str().expect("a plain path").to_owned();
    let mut reader = Linux::new(&HostConfig::default());
    assert!(!reader.read().snapshot.filesystems.contains_key(&point));
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs", &point])
        .output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        eprintln!("left out: a new mount (this user may not mount)");
        return;
    }
    fs::write(folder.path().join("fill"), vec![0; 2 << 20]).expect("room for 2 MiB");
    let seen = reader.read().snapshot.filesystems.get(&point).copied();
    let unmounted = Command::new("umount").arg(&point).status().expect("umount");
    let seen = seen.expect("the mount is seen");
    assert_eq!((seen.used, seen.used + seen.free), (2 << 20, 8 << 20));
    assert!(unmounted.success() && !reader.read().snapshot.filesystems.contains_key(&point));
}

#[test]
fn partitions_are_parts_of_their_disk() {
    for (part, whole) in [
        ("sda1", "sda"),
        ("vdb12", "vdb"),
        ("nvme0n1p2", "nvme0n1"),
        ("mmcblk0p1", "mmcblk0"),
    ] {
        assert!(is_partition(part, whole), "{part}");
    }
    for (disk, other) in [
        ("sda", "sda"),
        ("sdaa", "sda"),
        ("nvme0n10", "nvme0n1"),
        ("nvme0n1", "nvme0"),
        ("vdb", "vda"),
    ] {
        assert!(!is_partition(disk, other), "{disk}");
    }
}
