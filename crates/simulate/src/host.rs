//! What a generated host is: what it is made of, and what happens to it.

use forewarn_types::{EventTime, Kind, ResourceKey, StepLength};

use super::decoy::Decoy;
use super::fault::Fault;
use super::kind::FaultKind;
use super::noise::Draw;
use super::series::HostSeries;

/// A filesystem of a generated host.
#[derive(Clone, Debug, PartialEq)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mountpoint: String,
    /// What it offers to ordinary users.
    pub bytes: f64,
    /// The share in use at the beginning.
    pub used: f64,
}

/// What a generated host is made of, and what it does on an ordinary day.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Logical cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: f64,
    /// Share of memory in use on average.
    pub memory_used: f64,
    /// Share of CPU in use on average.
    pub cpu_used: f64,
    /// Height of the daily wave of work, as a share of the average.
    pub season: f64,
    /// How much less there is to do at weekends, as a share; 0 for a host whose weeks have none.
    pub weekend: f64,
    /// Short bursts of work in an hour.
    pub bursts_per_hour: f64,
    /// The filesystems, at least one.
    pub filesystems: Vec<Filesystem>,
    /// Most file descriptors.
    pub descriptor_limit: f64,
    /// Most connections of the database pool; `None` for a host without one.
    pub pool_limit: Option<f64>,
    /// What a database needs for one operation on average, in seconds; `None` for a host without one.
    pub operation_seconds: Option<f64>,
    /// What people do with it; `None` for a host that nobody visits.
    pub service: Option<Service>,
}

/// What people do with a service on an average day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// Seconds until a request is answered.
    pub response_seconds: f64,
    /// Logins in a minute.
    pub logins_per_minute: f64,
    /// Orders in a minute.
    pub orders_per_minute: f64,
    /// What an order brings, in the shop's currency.
    pub revenue_per_order: f64,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            cores: 4,
            memory_bytes: 16.0 * GIB,
            memory_used: 0.45,
            cpu_used: 0.22,
            season: 0.3,
            weekend: 0.0,
            bursts_per_hour: 6.0,
            filesystems: vec![
                Filesystem {
                    mountpoint: "/".into(),
                    bytes: 100.0 * GIB,
                    used: 0.4,
                },
                Filesystem {
                    mountpoint: "/var/lib/data".into(),
                    bytes: 400.0 * GIB,
                    used: 0.55,
                },
            ],
            descriptor_limit: 65_536.0,
            pool_limit: None,
            operation_seconds: None,
            service: None,
        }
    }
}

pub(super) const GIB: f64 = (1_u64 << 30) as f64;

impl Profile {
    /// A host like others of its fleet, yet not the same.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut draw = Draw::new(seed, "profile");
        let mut profile = Self {
            cores: [2, 4, 8][draw.index(0, 3) as usize],
            memory_bytes: [8.0, 16.0, 32.0][draw.index(0, 3) as usize] * GIB,
            memory_used: draw.uniform(0.35, 0.55),
            cpu_used: draw.uniform(0.1, 0.3),
            season: draw.uniform(0.1, 0.4),
            bursts_per_hour: draw.uniform(2.0, 10.0),
            ..Self::default()
        };
        for filesystem in &mut profile.filesystems {
            filesystem.used = draw.uniform(0.3, 0.6);
        }
        profile
    }
}

/// One generated host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub resource: ResourceKey,
    /// What it is.
    pub kind: Kind,
    /// What it is made of.
    pub profile: Profile,
    /// What goes wrong with it.
    pub faults: Vec<Fault>,
    /// What looks as if it went wrong.
    pub decoys: Vec<Decoy>,
    /// When it restarts, in seconds from the start: its counters begin at zero again.
    pub reboots: Vec<u64>,
    /// When a new version of its application is put in place, in seconds from the start, in growing order.
    pub deploys: Vec<u64>,
    /// Names of the hosts that take over its work when it goes down.
    pub neighbours: Vec<String>,
    /// The faults for which it is the one to take in its fleet.
    pub suits: Vec<FaultKind>,
    /// How much of it is reported.
    pub detail: Detail,
    /// Where its samples say that they come from.
    pub source: &'static str,
}

/// How much a host's collector reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// All that the host collector of ingestion would.
    #[default]
    Full,
    /// Only what the feature sets of the resource's kind are made of: less than half, for fleets that run for days.
    Slim,
}

impl Host {
    /// An ordinary server on which nothing goes wrong.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            resource: ResourceKey::new(name),
            kind: Kind::Server,
            profile: Profile::default(),
            faults: Vec::new(),
            decoys: Vec::new(),
            reboots: Vec::new(),
            deploys: Vec::new(),
            neighbours: Vec::new(),
            suits: Vec::new(),
            detail: Detail::Full,
            source: "host",
        }
    }

    /// The same host made of something else.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The same host with one more fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The same host with one more decoy.
    #[must_use]
    pub fn decoy(mut self, decoy: Decoy) -> Self {
        self.decoys.push(decoy);
        self
    }

    /// The same host with one more restart.
    #[must_use]
    pub fn reboot(mut self, at_seconds: u64) -> Self {
        self.reboots.push(at_seconds);
        self
    }

    /// Whether it reports the metrics of a host, and not only those of a program.
    #[must_use]
    pub fn reports_system(&self) -> bool {
        self.detail == Detail::Full || matches!(self.kind, Kind::Server | Kind::Container)
    }

    /// The same host with one more deploy of its application.
    #[must_use]
    pub fn deploy(mut self, at_seconds: u64) -> Self {
        self.deploys.push(at_seconds);
        self.deploys.sort_unstable();
        self
    }

    /// Its samples, a batch per step, without end; [`HostSeries::truth`] tells what really happened in them.
    #[must_use]
    pub fn series(&self, seed: u64, start: EventTime, interval: StepLength) -> HostSeries {
        HostSeries::new(self.clone(), seed, start, interval)
    }
}
