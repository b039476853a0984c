//! Faults with a known truth: what goes wrong, from when, and when the limit is really reached.

use forewarn_types::{EventTime, ResourceKey};

use super::host::Profile;
use super::kind::FaultKind;
use super::load::{LINK_BYTES_PER_SECOND, Load};
use super::noise::{Ar1, Draw};
use super::truth::{Label, Truth};

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
    /// How long after its beginning it ends whatever has become of it, in seconds; `None`: when it has run its course.
    pub at_most: Option<u64>,
    /// The resource whose fault brings this one about.
    pub cause: Option<String>,
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
            at_most: None,
            cause: None,
        }
    }

    /// The same fault with a certain end: what fills up at a noisy rate gets half as long again as it would need at its
    /// mean rate, and a minute to be seen full.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.at_most = Some(if self.kind.failure().is_some() {
            self.seconds.saturating_mul(3) / 2 + HOLD_SECONDS as u64
        } else if self.kind == FaultKind::LatencyCreep {
            self.seconds.saturating_add(HOLD_SECONDS as u64)
        } else {
            self.seconds
        });
        self
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
    /// It has run its course.
    over: bool,
    /// What of it has been told as a label: that it began, that it reached its limit.
    told: (bool, bool),
}

/// A full thing stays full this long; then somebody repairs it, and what was taken is given back.
const HOLD_SECONDS: f64 = 60.0;
/// Nobody waits for an answer for longer than this many seconds.
const RESPONSE_LIMIT: f64 = 2.0;
/// A surge brings so many times the usual visitors …
const SURGE_FACTOR: f64 = 4.0;
/// … and those of a neighbour that went down come on top of one's own.
const TAKEOVER_FACTOR: f64 = 2.0;
/// They are all there after this many seconds.
const SURGE_RAMP_SECONDS: f64 = 30.0;
/// A bulk transfer has found its speed after this many seconds.
const TRANSFER_RAMP_SECONDS: f64 = 10.0;
/// What a frozen application takes of the CPU.
const FROZEN_SHARE: f64 = 0.3;
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
            over: false,
            told: (false, false),
            fault,
        }
    }

    pub(super) fn into_truth(self) -> Option<Truth> {
        self.truth
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    /// What has become known of it since the last call: that it began, reached its limit, ended.
    pub(super) fn news(&mut self) -> Option<Label> {
        let truth = self.truth.as_ref()?;
        let breach = truth.limit_reached();
        let said = (true, breach.is_some());
        if self.told == said && !self.over {
            return None;
        }
        self.told = said;
        Some(Label {
            resource: truth.resource.resource.clone(),
            fault: truth.kind,
            subject: truth.subject.clone(),
            onset: truth.onset,
            breach,
            end: self.over.then_some(truth.end),
            capacity: truth.capacity,
            cause: truth.cause.clone(),
        })
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
        if since < 0.0 || self.over {
            return;
        }
        let lasts = match self.fault.at_most {
            Some(at_most) => at_most as f64,
            // These know their end themselves.
            None if self.fills_up() => f64::INFINITY,
            None => self.fault.seconds as f64,
        };
        if since >= lasts && self.truth.is_some() {
            self.over = true;
            return;
        }
        match self.fault.kind {
            FaultKind::CpuRunaway => self.run_away(at, since, load),
            FaultKind::MemoryHog => self.hog(at, since, profile, load),
            FaultKind::MemoryLeak
            | FaultKind::DiskFill
            | FaultKind::FileDescriptorLeak
            | FaultKind::ConnectionExhaustion => self.fill(at, span, profile, load),
            FaultKind::LatencyCreep => self.creep(at, since, load),
            FaultKind::NetworkSaturation => self.saturate(at, since, load),
            FaultKind::TrafficSurge => self.surge(at, since, profile, load),
            FaultKind::FrozenApp => self.freeze(at, load),
            FaultKind::CascadingFailure => self.go_down(at, load),
            FaultKind::SensorDropout => {
                load.silent = true;
                self.note(at, "collector", 1.0, 1.0);
            }
            FaultKind::CounterReset => {
                load.reset = true;
                self.note(at, "collector", 1.0, 1.0);
                self.over = true;
            }
        }
    }

    fn fills_up(&self) -> bool {
        self.fault.kind.failure().is_some() || self.fault.kind == FaultKind::LatencyCreep
    }

    /// Each request waits for more and more others: half of the way is gone in the last quarter of the time.
    fn creep(&mut self, at: EventTime, since: f64, load: &mut Load) {
        if since > self.fault.seconds as f64 + HOLD_SECONDS {
            self.over = true;
            return;
        }
        if self.truth.is_none() {
            self.mean_rate = load.response;
        }
        let way = (since / self.fault.seconds.max(1) as f64).min(1.0);
        // From what it is at the onset to the limit, along an exponential curve.
        let usual = self.mean_rate.clamp(0.001, RESPONSE_LIMIT);
        let slower = (RESPONSE_LIMIT / usual).powf(way);
        let level = usual * slower * (1.0 + 0.02 * self.draw.normal());
        load.response = if way < 1.0 {
            load.response.max(level).min(0.99 * RESPONSE_LIMIT)
        } else {
            RESPONSE_LIMIT * (1.0 + 0.02 * self.draw.normal().abs())
        };
        // Little's law: who waits longer is there longer.
        load.established *= slower;
        // People who have to wait go away.
        load.visitors *= 1.0 - 0.5 * way;
        let share = load.response / RESPONSE_LIMIT;
        self.note(at, "response", share, RESPONSE_LIMIT);
    }

    fn saturate(&mut self, at: EventTime, since: f64, load: &mut Load) {
        let ramp = ((since + 1.0) / TRANSFER_RAMP_SECONDS).min(1.0);
        let wanted = (0.98 + 0.01 * self.draw.normal()) * ramp * LINK_BYTES_PER_SECOND;
        load.sent = load.sent.max(wanted).min(LINK_BYTES_PER_SECOND);
        // Acknowledgements of what is sent.
        load.received += 0.02 * wanted;
        load.dropped += 2_000.0 * ramp;
        load.busy = (load.busy + 0.06 * ramp).min(0.98);
        load.response *= 1.0 + 4.0 * ramp;
        let share = load.sent / LINK_BYTES_PER_SECOND;
        self.note(at, "network", share, LINK_BYTES_PER_SECOND);
    }

    fn surge(&mut self, at: EventTime, since: f64, profile: &Profile, load: &mut Load) {
        let height = if self.fault.cause.is_some() {
            TAKEOVER_FACTOR
        } else {
            SURGE_FACTOR
        };
        let ramp = ((since + 1.0) / SURGE_RAMP_SECONDS).min(1.0);
        let factor = 1.0 + (height - 1.0) * ramp * (1.0 + 0.05 * self.draw.normal());
        load.multiply(factor, profile);
        self.note(at, "traffic", factor, 1.0);
    }

    fn freeze(&mut self, at: EventTime, load: &mut Load) {
        load.starve(0.01);
        // A loop that waits for what never comes: so steady that a threshold sees nothing.
        load.busy = FROZEN_SHARE + 0.002 * self.draw.normal();
        load.switches *= 0.3;
        // Clients wait, and more of them come.
        let waiting = self.truth.as_ref().map_or(0, |truth| truth.path.len()) as f64;
        load.established += waiting.min(400.0);
        load.response = 0.0;
        self.note(at, "application", 1.0, 1.0);
    }

    fn go_down(&mut self, at: EventTime, load: &mut Load) {
        load.starve(0.01);
        load.busy = 0.02 + 0.002 * self.draw.normal();
        load.switches *= 0.2;
        load.established *= 0.05;
        load.processes *= 0.6;
        load.memory *= 0.5;
        load.descriptors *= 0.3;
        load.response = 0.0;
        self.note(at, "host", 1.0, 1.0);
    }

    fn run_away(&mut self, at: EventTime, since: f64, load: &mut Load) {
        let share = 0.9 * ((since + 1.0) / RAMP_SECONDS).min(1.0) + 0.02 * self.draw.normal();
        load.busy = load.busy.max(share);
        load.runnable += 2.0 * share;
        load.switches += 4_000.0 * share;
        load.pressure[0] += 0.4 * share;
        self.note(at, "cpu", share, 1.0);
    }

    fn hog(&mut self, at: EventTime, since: f64, profile: &Profile, load: &mut Load) {
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
            self.over = true;
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
            FaultKind::MemoryLeak => (load.memory, profile.memory_bytes),
            FaultKind::DiskFill => (
                load.filesystems[self.fault.filesystem],
                profile.filesystems[self.fault.filesystem].bytes,
            ),
            FaultKind::FileDescriptorLeak => (load.descriptors, profile.descriptor_limit),
            FaultKind::ConnectionExhaustion => (load.pool, profile.pool_limit.unwrap_or(load.pool)),
            _ => (load.busy, 1.0),
        }
    }

    fn subject(&self, profile: &Profile) -> String {
        match self.fault.kind {
            FaultKind::MemoryLeak => "memory".into(),
            FaultKind::DiskFill => profile.filesystems[self.fault.filesystem]
                .mountpoint
                .clone(),
            FaultKind::FileDescriptorLeak => "system".into(),
            FaultKind::ConnectionExhaustion => "connections".into(),
            _ => "cpu".into(),
        }
    }

    fn put(&self, load: &mut Load, now: f64, rate: f64, share: f64) {
        match self.fault.kind {
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
                // The last free connections are waited for.
                load.operation *= 1.0 + 20.0 * ((share - 0.8) / 0.2).clamp(0.0, 1.0);
            }
            _ => {}
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
            cause: self.fault.cause.clone(),
            path: Vec::new(),
        });
        truth.end = at;
        truth.path.push((at, share));
    }
}
