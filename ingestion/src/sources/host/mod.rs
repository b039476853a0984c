//! `host`: what this machine itself says about its health, every second.
//!
//! A reader ([`linux`] from the kernel's files, [`portable`] elsewhere) fills a `Snapshot`; `derive` makes samples of
//! two of them. Samples carry the whole moment they were due at, so two replicas on one host make the same ids.
//! A part that cannot be read is counted and named; the others go on.

mod derive;
mod glob;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod mounts;
mod portable;
pub(crate) mod schedule;
mod snapshot;
#[cfg(target_os = "linux")]
mod statfs;

use std::fmt;
use std::time::Duration;

use forewarn_messages::SampleBatch;
use forewarn_types::{EventTime, Kind, ResourceKey, StepLength};
use metrics::counter;
use serde::{Deserialize, Serialize};
use tracing::warn;

use self::snapshot::Snapshot;
use crate::seldom::Seldom;

/// Name of this source in batches and counters.
pub const SOURCE: &str = "host";

/// Settings of the host collector: `[ingestion.host]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// Whether to collect from this host at all.
    pub enabled: bool,
    /// How often, at whole multiples of it on the wall clock: from 1 s to 1 h. Also the step on which the host is judged.
    #[serde(with = "forewarn_config::duration")]
    pub interval: Duration,
    /// The host's name as a resource. Empty: what the system calls itself.
    pub resource: String,
    /// Mount points that are left out (`*` stands for anything, `?` for one character). What stores nothing, cannot
    /// grow, is mounted twice, or lives on another machine is left out in any case; the root never is.
    pub mounts_exclude: Vec<String>,
    /// Disks that are left out. Partitions, and disks that have never been used, are left out in any case.
    pub devices_exclude: Vec<String>,
    /// Network interfaces that are left out: by default those on which the host talks to itself.
    pub interfaces_exclude: Vec<String>,
    /// Whether to count filesystems of other machines too (NFS, SMB, FUSE …). One that does not answer is named and
    /// left out; it never stops the rest.
    pub network_filesystems: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self {
            enabled: true,
            interval: Duration::from_secs(1),
            resource: String::new(),
            mounts_exclude: words(&[
                "/dev",
                "/proc/*",
                "/sys/*",
                "/run/*",
                "/snap/*",
                "/etc/hostname",
                "/etc/hosts",
                "/etc/resolv.conf",
                "/var/lib/docker/*",
                "/var/lib/containers/*",
                "/var/lib/containerd/*",
                "/var/lib/kubelet/*",
            ]),
            devices_exclude: words(&[
                "loop*", "ram*", "zram*", "fd*", "sr*", "dm-*", "md*", "nbd*",
            ]),
            interfaces_exclude: words(&[
                "lo", "veth*", "docker*", "br-*", "cni*", "cali*", "flannel*", "virbr*", "vnet*",
                "tap*", "ifb*", "dummy*", "tunl*", "sit*", "gre*", "erspan*", "ip6tnl*", "ip_vti*",
                "ip6_vti*",
            ]),
            network_filesystems: false,
        }
    }
}

/// One part of the host that could not be read this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `cpu`, `memory`, `filesystem` …
    pub(crate) part: &'static str,
    pub(crate) problem: String,
}

/// What a reader found.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) snapshot: Snapshot,
    pub(crate) failures: Vec<Failure>,
}

/// A way to read a host.
pub(crate) trait Read: Send {
    /// Reads everything once. Parts that fail are named, and missing from the snapshot.
    fn read(&mut self) -> Reading;
}

/// Collects samples of this host.
pub struct HostCollector {
    resource: ResourceKey,
    interval: StepLength,
    reader: Box<dyn Read>,
    last: Option<Snapshot>,
    complaints: Seldom,
}

impl fmt::Debug for HostCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCollector")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

impl HostCollector {
    /// A collector for this host, known as `resource`. It reads once now, so that already its first collection
    /// has shares of CPU time, and replicas that start at different moments make the same series.
    #[must_use]
    pub fn new(config: &HostConfig, resource: ResourceKey, interval: StepLength) -> Self {
        #[cfg(target_os = "linux")]
        let reader = Box::new(linux::Linux::new(config));
        #[cfg(not(target_os = "linux"))]
        let reader = Box::new(portable::Portable::new(config));
        Self::with_reader(reader, resource, interval)
    }

    fn with_reader(reader: Box<dyn Read>, resource: ResourceKey, interval: StepLength) -> Self {
        let complaints = Seldom::every(Duration::from_secs(60));
        let mut collector = Self {
            resource,
            interval,
            reader,
            last: None,
            complaints,
        };
        collector.last = Some(collector.read());
        collector
    }

    /// Whom it measures.
    #[must_use]
    pub const fn resource(&self) -> &ResourceKey {
        &self.resource
    }

    /// The regular collection, due at `at`: shares of CPU time are over the time since the last one.
    pub fn collect(&mut self, at: EventTime) -> SampleBatch {
        let now = self.read();
        let batch = self.batch(&now, at);
        self.last = Some(now);
        batch
    }

    /// A collection between the regular ones, which it leaves as they would have been.
    pub fn look(&mut self, at: EventTime) -> SampleBatch {
        let now = self.read();
        self.batch(&now, at)
    }

    fn batch(&self, now: &Snapshot, at: EventTime) -> SampleBatch {
        let samples = derive::derive(self.last.as_ref(), now, at);
        SampleBatch::new(
            self.resource.clone(),
            Kind::Server,
            SOURCE,
            self.interval,
            samples,
        )
    }

    fn read(&mut self) -> Snapshot {
        let Reading { snapshot, failures } = self.reader.read();
        for Failure { part, problem } in failures {
            counter!("forewarn_ingestion_host_part_failures_total", "part" => part).increment(1);
            if let Some(unsaid) = self.complaints.may(part) {
                warn!(
                    part,
                    problem, unsaid, "cannot read a part of this host, the others go on"
                );
            }
        }
        snapshot
    }
}

/// What this system calls itself.
#[must_use]
pub fn host_name() -> Option<String> {
    sysinfo::System::host_name()
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
