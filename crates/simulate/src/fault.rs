//! Faults with a known truth: what goes wrong, from when, and when the limit is really reached.

use forewarn_types::{EventTime, FailureKind, ResourceKey};

use super::host::{Load, Profile};
use super::noise::{Ar1, Draw};

/// What can go wrong with a generated host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A program takes all the CPU it can get, from one moment to the next.
    CpuRunaway,
    /// A program takes most of the free memory within seconds, and keeps it.
    MemoryHog,
    /// A program takes memory at a noisy rate and gives none back.
    MemoryLeak,
    /// A filesystem fills at a noisy rate.
    DiskFill,
    /// A program opens files and closes none.
    FileDescriptorLeak,
    /// Connections are taken from a pool and not given back.
    ConnectionExhaustion,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::CpuRunaway,
        Self::MemoryHog,
        Self::MemoryLeak,
        Self::DiskFill,
        Self::FileDescriptorLeak,
        Self::ConnectionExhaustion,
    ];

    /// The word for it in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuRunaway => "cpu_runaway",
            Self::MemoryHog => "memory_hog",
            Self::MemoryLeak => "memory_leak",
            Self::DiskFill => "disk_fill",
            Self::FileDescriptorLeak => "file_descriptor_leak",
            Self::ConnectionExhaustion => "connection_exhaustion",
        }
    }

    /// The failure that it ends in, if it ends in one.
    #[must_use]
    pub const fn failure(self) -> Option<FailureKind> {
        match self {
            Self::CpuRunaway | Self::MemoryHog => None,
            Self::MemoryLeak => Some(FailureKind::MemoryExhaustion),
            Self::DiskFill => Some(FailureKind::DiskFull),
            Self::FileDescriptorLeak => Some(FailureKind::FileDescriptorExhaustion),
            Self::ConnectionExhaustion => Some(FailureKind::ConnectionExhaustion),
        }
    }

    /// The families of host metrics (prefixes of their names) that an operator would expect to be named for it.
    /// Fixed before any detector was run on these faults; a verdict that names none of them has missed the fault.
    #[must_use]
    pub const fn families(self) -> &'static [&'static str] {
        match self {
            Self::CpuRunaway => &["cpu.", "load.", "pressure.cpu"],
            Self::MemoryHog | Self::MemoryLeak => &["memory.", "swap.", "pressure.memory"],
            Self::DiskFill => &["filesystem.", "disk.", "pressure.io"],
            Self::FileDescriptorLeak => &["file_descriptors."],
            Self::ConnectionExhaustion => &["connections."],
        }
    }
}

/// One fault of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it begins, in seconds from the start of the recording.
    pub onset_seconds: u64,
    /// For a fault that fills something up: how long that takes at its mean rate.
    /// For one that ends in no failure: how long it lasts.
    pub seconds: u64,
    /// Which filesystem a disk fill is about: an index into the profile's list.
    pub filesystem: usize,
}

impl Fault {
    /// A fault on the first filesystem, where it needs one.
    #[must_use]
    pub const fn new(kind: FaultKind, onset_seconds: u64, seconds: u64) -> Self {
        Self {
            kind,
            onset_seconds,
            seconds,
            filesystem: 0,
        }
    }
}

/// What really happened in one fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// To whom.
    pub resource: ResourceKey,
    /// What.
    pub kind: FaultKind,
    /// What filled up: a mount point, `memory`, `system`, `connections`; `cpu` for a runaway.
    pub subject: String,
    /// The first step that it touches.
    pub onset: EventTime,
    /// The last step that it touches.
    pub end: EventTime,
    /// How much there is of what fills up, in the unit of its metric; 1 for a runaway.
    pub capacity: f64,
    /// The share in use of what fills up, step by step.
    path: Vec<(EventTime, f64)>,
}

impl Truth {
    /// When the share in use first reached `share` (1 is full), if it did.
    #[must_use]
    pub fn breach(&self, share: f64) -> Option<EventTime> {
        self.path
            .iter()
            .find(|(_, used)| *used >= share)
            .map(|(at, _)| *at)
    }
}

/// A fault at work.
#[derive(Clone, Debug)]
pub(super) struct FaultRun {
    fault: Fault,
    resource: ResourceKey,
    /// Units per second that would fill the free space in the stated time; known at the onset.
    mean_rate: f64,
    /// How much it has taken so far.
    taken: f64,
    slow: Ar1,
    draw: Draw,
    truth: Option<Truth>,
}

/// A full thing stays full this long; then somebody repairs it, and what was taken is given back.
const HOLD_SECONDS: f64 = 60.0;
/// A runaway is at its height after this many seconds: threads start one after the other.
const RAMP_SECONDS: f64 = 4.0;
/// A hog takes this share of the free memory …
const HOG_SHARE: f64 = 0.6;
/// … within this many seconds: pages are written as fast as one core can.
const HOG_SECONDS: f64 = 5.0;

impl FaultRun {
    pub(super) fn new(fault: Fault, resource: ResourceKey, seed: u64) -> Self {
        let name = format!("fault {} {}", fault.kind.as_str(), fault.onset_seconds);
        Self {
            resource,
            mean_rate: 0.0,
            taken: 0.0,
            // The rate wanders by a third over minutes, and jitters from step to step.
            slow: Ar1::new(seed, &format!("{name} slow"), 0.3, 120.0),
            draw: Draw::new(seed, &name),
            truth: None,
            fault,
        }
    }

    pub(super) fn into_truth(self) -> Option<Truth> {
        self.truth
    }

    /// Adds the fault's doing to what the host does at `at`, `seconds` into the recording.
    pub(super) fn step(
        &mut self,
        at: EventTime,
        seconds: f64,
        span: f64,
        profile: &Profile,
        load: &mut Load,
    ) {
        let since = seconds - self.fault.onset_seconds as f64;
        if since < 0.0 {
            return;
        }
        match self.fault.kind {
            FaultKind::CpuRunaway => self.run_away(at, since, load),
            FaultKind::MemoryHog => self.hog(at, since, profile, load),
            _ => self.fill(at, span, profile, load),
        }
    }

    fn run_away(&mut self, at: EventTime, since: f64, load: &mut Load) {
        if since >= self.fault.seconds as f64 {
            return;
        }
        let share = 0.9 * ((since + 1.0) / RAMP_SECONDS).min(1.0) + 0.02 * self.draw.normal();
        load.busy = load.busy.max(share);
        load.runnable += 2.0 * share;
        load.switches += 4_000.0 * share;
        load.pressure[0] += 0.4 * share;
        self.note(at, "cpu", share, 1.0);
    }

    fn hog(&mut self, at: EventTime, since: f64, profile: &Profile, load: &mut Load) {
        if since >= self.fault.seconds as f64 {
            return;
        }
        if self.truth.is_none() {
            self.mean_rate =
                HOG_SHARE * (profile.memory_bytes - load.memory).max(0.0) / HOG_SECONDS;
        }
        let rate = if since < HOG_SECONDS {
            self.mean_rate
        } else {
            0.0
        };
        self.taken = self.mean_rate * (since + 1.0).min(HOG_SECONDS);
        let now = (load.memory + self.taken).min(profile.memory_bytes);
        let share = now / profile.memory_bytes;
        self.put(load, now, rate, share);
        self.note(at, "memory", share, profile.memory_bytes);
    }

    fn fill(&mut self, at: EventTime, span: f64, profile: &Profile, load: &mut Load) {
        let (used, limit) = self.place(profile, load);
        if self.truth.is_none() {
            self.mean_rate = (limit - used).max(0.0) / self.fault.seconds as f64;
        }
        let full_since = self.truth.as_ref().and_then(|truth| truth.breach(1.0));
        if full_since.is_some_and(|full| at.since(full).as_secs_f64() > HOLD_SECONDS) {
            return;
        }
        // Lognormal with mean 1: a rate never turns round, and is now and then twice the usual.
        let wander = (self.slow.next(span) - 0.045).exp();
        let jitter = (0.4 * self.draw.normal() - 0.08).exp();
        let grown = self.mean_rate * wander * jitter * span;
        self.taken += grown;
        let now = (used + self.taken).min(limit);
        self.put(load, now, grown / span, now / limit);
        let subject = self.subject(profile);
        self.note(at, &subject, now / limit, limit);
    }

    /// How much of the thing that fills up is in use without the fault, and how much there is.
    fn place(&self, profile: &Profile, load: &Load) -> (f64, f64) {
        match self.fault.kind {
            FaultKind::CpuRunaway => (load.busy, 1.0),
            FaultKind::MemoryHog | FaultKind::MemoryLeak => (load.memory, profile.memory_bytes),
            FaultKind::DiskFill => (
                load.filesystems[self.fault.filesystem],
                profile.filesystems[self.fault.filesystem].bytes,
            ),
            FaultKind::FileDescriptorLeak => (load.descriptors, profile.descriptor_limit),
            FaultKind::ConnectionExhaustion => (load.pool, profile.pool_limit.unwrap_or(load.pool)),
        }
    }

    fn subject(&self, profile: &Profile) -> String {
        match self.fault.kind {
            FaultKind::CpuRunaway => "cpu".into(),
            FaultKind::MemoryHog | FaultKind::MemoryLeak => "memory".into(),
            FaultKind::DiskFill => profile.filesystems[self.fault.filesystem]
                .mountpoint
                .clone(),
            FaultKind::FileDescriptorLeak => "system".into(),
            FaultKind::ConnectionExhaustion => "connections".into(),
        }
    }

    fn put(&self, load: &mut Load, now: f64, rate: f64, share: f64) {
        match self.fault.kind {
            FaultKind::CpuRunaway => {}
            FaultKind::MemoryHog | FaultKind::MemoryLeak => {
                load.memory = now;
                // Each new page is a minor fault; close to the end the kernel throws out pages that are needed.
                load.minor_faults += rate / 4096.0;
                let squeeze = ((share - 0.9) / 0.1).clamp(0.0, 1.0);
                load.major_faults += 200.0 * squeeze;
                load.pressure[1] += 0.3 * squeeze;
            }
            FaultKind::DiskFill => {
                load.filesystems[self.fault.filesystem] = now;
                load.written += rate;
            }
            FaultKind::FileDescriptorLeak => load.descriptors = now,
            FaultKind::ConnectionExhaustion => {
                load.established += now - load.pool;
                load.pool = now;
            }
        }
    }

    fn note(&mut self, at: EventTime, subject: &str, share: f64, capacity: f64) {
        let truth = self.truth.get_or_insert_with(|| Truth {
            resource: self.resource.clone(),
            kind: self.fault.kind,
            subject: subject.to_owned(),
            onset: at,
            end: at,
            capacity,
            path: Vec::new(),
        });
        truth.end = at;
        truth.path.push((at, share));
    }
}
