//! A fleet that lives: it is measured at the moments that somebody says, and faults are put into it on the way.
//!
//! Its past is made the same way as its present ([`RunningFleet::history`]), so what comes live continues it.

use forewarn_messages::SampleBatch;
use forewarn_types::{EventTime, Kind, StepLength};
use serde::{Deserialize, Serialize};

use super::cascade;
use super::fault::Fault;
use super::host::Host;
use super::kind::FaultKind;
use super::series::HostSeries;
use super::truth::Label;

/// Faults that go on or are to come on one host at once. Each keeps its path, so their number is bounded.
const FAULTS_MOST: usize = 8;
/// A fault lasts so many seconds at least: nothing shorter could be seen …
const SECONDS_LEAST: u64 = 10;
/// … and so many at most: a day.
const SECONDS_MOST: u64 = 86_400;

/// A fault that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which.
    pub fault: FaultKind,
    /// To whom; `None`: to the one whom it suits best.
    pub host: Option<String>,
    /// For how many seconds: what fills up is full after about so long. `None`: as long as its kind usually takes.
    pub seconds: Option<u64>,
    /// How many seconds from now it begins.
    pub after_seconds: u64,
}

impl Order {
    /// A fault that begins now, on the host and with the length that suit it.
    #[must_use]
    pub const fn new(fault: FaultKind) -> Self {
        Self {
            fault,
            host: None,
            seconds: None,
            after_seconds: 0,
        }
    }
}

/// A fault that was put into a running fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Injected {
    /// What.
    pub fault: FaultKind,
    /// To whom.
    pub host: String,
    /// What it is.
    pub kind: Kind,
    /// The first moment that it touches.
    pub onset: EventTime,
    /// About when its limit is reached, if it has one.
    pub limit_reached_about: Option<EventTime>,
    /// When it has ended at the latest.
    pub ends: EventTime,
    /// Who feels it next, in this order.
    pub spreads_to: Vec<String>,
}

/// Why a fault cannot be put into a fleet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// There is no such resource in the fleet.
    #[error("no simulated resource is named `{0}`")]
    UnknownHost(String),
    /// The resource reports nothing by which the fault could be seen.
    #[error("`{host}` reports nothing by which a {fault} could be seen")]
    DoesNotFit {
        /// The resource.
        host: String,
        /// The fault.
        fault: FaultKind,
        /// The resources that it could be put into.
        fitting: Vec<String>,
    },
    /// It is too short or too long, or too far away.
    #[error("a fault lasts from {least} to {most} seconds and begins within {most}, not {seconds}")]
    Seconds {
        /// What was asked for.
        seconds: u64,
        /// The shortest.
        least: u64,
        /// The longest.
        most: u64,
    },
    /// Enough goes wrong there already.
    #[error("{most} faults go on or are to come on `{host}`, and more are not kept")]
    TooMany {
        /// The resource.
        host: String,
        /// How many there may be.
        most: usize,
    },
}

/// Hosts whose time goes on.
#[derive(Clone, Debug)]
pub struct RunningFleet {
    series: Vec<HostSeries>,
    interval: StepLength,
    start: EventTime,
}

impl RunningFleet {
    /// `hosts` from `start` on, each measured once per `interval`. What of their names comes twice counts once.
    #[must_use]
    pub fn new(hosts: &[Host], seed: u64, start: EventTime, interval: StepLength) -> Self {
        let hosts = cascade::spread(hosts);
        let is_first = |i: usize, host: &Host| {
            let earlier = &hosts[..i];
            earlier.iter().all(|other| other.resource != host.resource)
        };
        Self {
            series: hosts
                .iter()
                .enumerate()
                .filter(|(i, host)| is_first(*i, host))
                .map(|(_, host)| host.series(seed, start, interval))
                .collect(),
            interval,
            start,
        }
    }

    /// The hosts, as they were given.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.series.iter().map(HostSeries::host)
    }

    /// How often it wants to be measured.
    #[must_use]
    pub const fn interval(&self) -> StepLength {
        self.interval
    }

    /// When it is to be measured next.
    #[must_use]
    pub fn next_moment(&self) -> EventTime {
        let moments = self.series.iter().map(HostSeries::next_moment);
        moments.max().unwrap_or(self.start)
    }

    /// Measures all hosts at `at`, one batch for each that reports something. Moments that were left out are passed over
    /// in one long step.
    pub fn measure(&mut self, at: EventTime) -> Vec<SampleBatch> {
        let batches = self.series.iter_mut().map(|series| series.measure(at));
        batches.filter(|batch| !batch.samples.is_empty()).collect()
    }

    /// What happened from the next moment up to, and without, `until`: interval by interval, with the mark that says
    /// that nobody is to be told of it. The fleet stands at `until` when all of it has been taken.
    pub fn history(&mut self, until: EventTime) -> impl Iterator<Item = Vec<SampleBatch>> {
        std::iter::from_fn(move || {
            let at = self.next_moment();
            if at >= until || self.series.is_empty() {
                return None;
            }
            let mut batches = self.measure(at);
            for batch in &mut batches {
                batch.backfill = true;
            }
            Some(batches)
        })
    }

    /// The series one by one, to make the past of each on a thread of its own or as bare values
    /// ([`HostSeries::measure_values`]). Afterwards [`RunningFleet::measure`] goes on from where they are.
    pub fn series_mut(&mut self) -> &mut [HostSeries] {
        &mut self.series
    }

    /// Puts a fault into the running fleet.
    ///
    /// # Errors
    /// When there is no such host, the fault cannot be seen there, lasts too long or too short, or enough goes wrong.
    pub fn inject(&mut self, order: &Order) -> Result<Injected, InjectError> {
        let kind = order.fault;
        let place = match &order.host {
            Some(name) => self
                .position(name)
                .ok_or_else(|| InjectError::UnknownHost(name.clone()))?,
            None => self
                .best_for(kind)
                .ok_or_else(|| self.does_not_fit("", kind))?,
        };
        let host = self.series[place].host();
        let name = host.resource.resource.clone();
        if !kind.fits(host) {
            return Err(self.does_not_fit(&name, kind));
        }
        // What happens in a moment has no length, whatever is asked for.
        let (seconds, least) = match kind {
            FaultKind::CounterReset => (kind.usual_seconds(), 0),
            _ => (order.seconds.unwrap_or(kind.usual_seconds()), SECONDS_LEAST),
        };
        for (given, least) in [(seconds, least), (order.after_seconds, 0)] {
            if !(least..=SECONDS_MOST).contains(&given) {
                return Err(InjectError::Seconds {
                    seconds: given,
                    least: SECONDS_LEAST,
                    most: SECONDS_MOST,
                });
            }
        }
        let mut fault = Fault::new(kind, order.after_seconds, seconds).bounded();
        fault.filesystem = host.profile.filesystems.len().saturating_sub(1);
        let follow: Vec<(usize, Fault)> = cascade::consequences(host, &fault)
            .into_iter()
            .filter_map(|(name, fault)| Some((self.position(&name)?, fault.bounded())))
            .collect();
        let places = follow.iter().map(|(place, _)| *place).chain([place]);
        for place in places {
            let series = &self.series[place];
            if series.pending_faults() >= FAULTS_MOST {
                return Err(InjectError::TooMany {
                    host: series.host().resource.resource.clone(),
                    most: FAULTS_MOST,
                });
            }
        }
        let onset = plus(self.next_moment(), order.after_seconds);
        let injected = Injected {
            fault: kind,
            host: name,
            kind: host.kind,
            onset,
            limit_reached_about: kind.limit_within(seconds).map(|after| plus(onset, after)),
            ends: plus(onset, fault.at_most.unwrap_or(seconds)),
            spreads_to: follow
                .iter()
                .map(|(place, _)| self.series[*place].host().resource.resource.clone())
                .collect(),
        };
        self.series[place].inject(fault);
        for (place, fault) in follow {
            self.series[place].inject(fault);
        }
        Ok(injected)
    }

    /// What has become known of the faults since the last call, to be written down where evaluation finds it.
    pub fn take_news(&mut self) -> Vec<Label> {
        let news = self.series.iter_mut().flat_map(HostSeries::take_news);
        news.collect()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.hosts().position(|host| host.resource.resource == name)
    }

    /// The host that says that it suits, else the first that can have the fault at all.
    fn best_for(&self, kind: FaultKind) -> Option<usize> {
        self.hosts()
            .position(|host| host.suits.contains(&kind))
            .or_else(|| self.hosts().position(|host| kind.fits(host)))
    }

    fn does_not_fit(&self, host: &str, fault: FaultKind) -> InjectError {
        let fitting = self.hosts().filter(|host| fault.fits(host));
        InjectError::DoesNotFit {
            host: host.to_owned(),
            fault,
            fitting: fitting.map(|host| host.resource.resource.clone()).collect(),
        }
    }
}

fn plus(at: EventTime, seconds: u64) -> EventTime {
    at.plus(std::time::Duration::from_secs(seconds))
}
