//! The life of a failure prediction for one limited thing: opened, told again when it has changed, and ended.
//!
//! ```text
//!             sustained evidence                    limit reached
//!   (quiet) ─────────────────────► open ──────────────────────────────► confirmed
//!                                   │  └─ evidence gone for a while ───► withdrawn
//!                                   └──── past P90 and grace ──────────► expired
//! ```
//!
//! A prediction opens on evidence that has lasted for a tenth of the window behind it, so one burst opens none.
//! After its end a new one needs new evidence; after a breach the level must first fall clearly below the limit.

use forewarn_types::{EventTime, PredictionState, StepLength};
use serde::{Deserialize, Serialize};

use crate::history::{FACTOR, History, RESOLUTIONS};
use crate::outlook::{Abstain, Outlook, outlook};

/// What the life of a prediction depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How far ahead failures are predicted, in seconds.
    pub horizon: f64,
    /// The probability within the horizon at which a prediction opens.
    pub open_probability: f64,
    /// An open prediction is told again at least this often, in seconds.
    pub update_every: f64,
    /// … and when its time left has changed by this share.
    pub update_change: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            horizon: 86_400.0,
            open_probability: 0.8,
            update_every: 300.0,
            update_change: 0.2,
        }
    }
}

/// The level of the watched thing at the end of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// End of the step.
    pub at: EventTime,
    /// Length of the step.
    pub step: StepLength,
    /// How much is used.
    pub used: f64,
    /// How much there is, in the same unit; positive.
    pub capacity: f64,
    /// The share of the capacity at which it counts as failed.
    pub limit: f64,
}

/// What is said at a step: that a failure is predicted, again, or how the prediction ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Open, or how it ended.
    pub state: PredictionState,
    /// The step at which it was first said.
    pub first_step: EventTime,
    /// Seconds from this step: one in ten is sooner.
    pub p10: Option<f64>,
    /// As likely before as after.
    pub p50: Option<f64>,
    /// One in ten is later.
    pub p90: Option<f64>,
    /// Probability within the horizon.
    pub probability: f64,
    /// Share of the capacity per second.
    pub slope: f64,
    /// Seconds until a least-squares line reaches the limit.
    pub linear: Option<f64>,
    /// For an ended one: why.
    pub reason: Option<&'static str>,
    /// For a confirmed one: seconds between saying it first and the breach.
    pub lead: Option<f64>,
}

/// Watches one limited thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    history: History,
    /// The outlook of each resolution, with the moment of the point it was made from.
    outlooks: [Option<(EventTime, Outlook)>; RESOLUTIONS],
    /// Since when there has been evidence without a break.
    evidence_since: Option<EventTime>,
    open: Option<Open>,
    breached: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    first_step: EventTime,
    /// When it was told last, and the P50 that was told.
    told_at: EventTime,
    told_p50: EventTime,
    /// When it is overdue: P90 and grace of the last evidence.
    overdue: EventTime,
    last_evidence: EventTime,
    /// The outlook of the last evidence and the moment it is seen from.
    seen_from: EventTime,
    outlook: Outlook,
}

/// The level must fall this far below the limit, as a share of the capacity, before a new failure can be predicted.
const RECOVERED: f64 = 0.02;

/// Evidence must have lasted for this share of its window …
const SUSTAINED: f64 = 0.1;

/// … and may be missing for this share of it.
const PATIENCE: f64 = 0.2;

/// An overdue prediction is given this share of its own span.
const GRACE: f64 = 0.25;

/// Steps that bound the spans above from below, where windows are short.
const STEPS: f64 = 10.0;

impl Watch {
    /// Takes in a reading and says what is new, if anything.
    ///
    /// Readings that are not finite, or of a capacity that is not positive, are passed over.
    pub fn observe(&mut self, reading: &Reading, settings: &Settings) -> Option<Claim> {
        let level = reading.used / reading.capacity;
        if !level.is_finite() || reading.capacity <= 0.0 {
            return None;
        }
        let mut why = Abstain::TooFew;
        for resolution in self.history.push(reading.step, reading.at, level).iter() {
            let points = self.history.points(resolution);
            let seen_from = points
                .last()
                .map_or(reading.at, |point| self.history.moment(point.at));
            self.outlooks[resolution] = match outlook(&points, reading.limit) {
                Ok(outlook) => Some((seen_from, outlook)),
                Err(abstain) => {
                    why = abstain;
                    None
                }
            };
        }
        if level >= reading.limit {
            return self.breach(reading, level);
        }
        if self.breached {
            self.breached = level > reading.limit - RECOVERED;
            return None;
        }
        match self.evidence(reading, settings) {
            Some((seen_from, outlook)) => self.support(reading, settings, seen_from, outlook),
            None => self.doubt(reading, why),
        }
    }

    /// The thing is not reported any more: what was predicted of it will not be seen to come true.
    ///
    /// The history stays, in case it is reported again; what is open is withdrawn.
    pub fn gone(&mut self) -> Option<Claim> {
        self.evidence_since = None;
        self.breached = false;
        let open = self.open.take()?;
        Some(open.ended(PredictionState::Withdrawn, "it is not reported any more"))
    }

    /// Whether the level has reached the limit and not yet fallen back.
    #[must_use]
    pub const fn is_breached(&self) -> bool {
        self.breached
    }

    /// The outlook of the shortest window that sees the limit, if that is near and likely enough.
    fn evidence(&self, reading: &Reading, settings: &Settings) -> Option<(EventTime, Outlook)> {
        let mut block = reading.step.duration();
        for outlook in &self.outlooks {
            let fresh_for = 2 * block;
            block *= FACTOR as u32;
            let Some((seen_from, outlook)) = outlook else {
                continue;
            };
            if reading.at.since(*seen_from) > fresh_for {
                continue;
            }
            if outlook.p50 <= settings.horizon
                && outlook.probability(settings.horizon) >= settings.open_probability
            {
                return Some((*seen_from, *outlook));
            }
        }
        None
    }

    fn support(
        &mut self,
        reading: &Reading,
        settings: &Settings,
        seen_from: EventTime,
        outlook: Outlook,
    ) -> Option<Claim> {
        let since = *self.evidence_since.get_or_insert(reading.at);
        let p50 = after(seen_from, outlook.p50);
        let last = outlook.p90.unwrap_or(3.0 * outlook.p50);
        let step = reading.step.duration().as_secs_f64();
        if let Some(open) = &mut self.open {
            open.last_evidence = reading.at;
            open.overdue = after(seen_from, last + GRACE * last + STEPS * step);
            (open.seen_from, open.outlook) = (seen_from, outlook);
            let told_left = open.told_p50.since(reading.at).as_secs_f64();
            let moved = (p50.millis() - open.told_p50.millis()).unsigned_abs() as f64 / 1000.0;
            let silent = reading.at.since(open.told_at).as_secs_f64();
            let changed =
                moved > settings.update_change * told_left.max(step) && silent >= STEPS * step;
            if !changed && silent < settings.update_every {
                return None;
            }
            (open.told_at, open.told_p50) = (reading.at, p50);
            return Some(open.claim(reading, settings));
        }
        if reading.at.since(since).as_secs_f64() < (SUSTAINED * outlook.window).max(3.0 * step) {
            return None;
        }
        let open = Open {
            first_step: reading.at,
            told_at: reading.at,
            told_p50: p50,
            overdue: after(seen_from, last + GRACE * last + STEPS * step),
            last_evidence: reading.at,
            seen_from,
            outlook,
        };
        let claim = open.claim(reading, settings);
        self.open = Some(open);
        Some(claim)
    }

    fn doubt(&mut self, reading: &Reading, why: Abstain) -> Option<Claim> {
        self.evidence_since = None;
        let open = self.open.as_ref()?;
        let step = reading.step.duration().as_secs_f64();
        let missing = reading.at.since(open.last_evidence).as_secs_f64();
        let (state, reason) = if reading.at > open.overdue {
            (
                PredictionState::Expired,
                "it did not come by the time it was expected at the latest",
            )
        } else if missing > (PATIENCE * open.outlook.window).max(STEPS * step) {
            (PredictionState::Withdrawn, reason(why))
        } else {
            return None;
        };
        let claim = open.ended(state, reason);
        self.open = None;
        Some(claim)
    }

    fn breach(&mut self, reading: &Reading, level: f64) -> Option<Claim> {
        self.breached = true;
        self.evidence_since = None;
        debug_assert!(level >= reading.limit);
        let open = self.open.take()?;
        Some(Claim {
            probability: 1.0,
            lead: Some(reading.at.since(open.first_step).as_secs_f64()),
            ..open.ended(PredictionState::Confirmed, "the limit is reached")
        })
    }
}

impl Open {
    /// That it is predicted, as of `reading`.
    fn claim(&self, reading: &Reading, settings: &Settings) -> Claim {
        // The outlook is seen from its window's last point; what is said is seen from the step.
        let passed = reading.at.since(self.seen_from).as_secs_f64();
        let left = |seconds: f64| (seconds - passed).max(0.0);
        Claim {
            state: PredictionState::Open,
            first_step: self.first_step,
            p10: Some(left(self.outlook.p10)),
            p50: Some(left(self.outlook.p50)),
            p90: self.outlook.p90.map(left),
            probability: self.outlook.probability(passed + settings.horizon),
            slope: self.outlook.slope,
            linear: self.outlook.linear.map(left),
            reason: None,
            lead: None,
        }
    }

    /// That it is no longer predicted.
    fn ended(&self, state: PredictionState, reason: &'static str) -> Claim {
        Claim {
            state,
            first_step: self.first_step,
            p10: None,
            p50: None,
            p90: None,
            probability: 0.0,
            slope: self.outlook.slope,
            linear: None,
            reason: Some(reason),
            lead: None,
        }
    }
}

fn after(moment: EventTime, seconds: f64) -> EventTime {
    // Bounded: an outlook reaches a few windows ahead, and no window is longer than some months.
    EventTime(moment.millis().saturating_add((seconds * 1000.0) as i64))
}

const fn reason(why: Abstain) -> &'static str {
    match why {
        Abstain::TooFew => "the level fell, and what came after is too short to judge",
        Abstain::NotClimbing => "the level does not climb any more",
        Abstain::Plateau => "the climb has all but stopped",
        Abstain::TooFar => "the climb has slowed down, and the limit is far away",
        Abstain::Reached => "the limit is reached",
    }
}
