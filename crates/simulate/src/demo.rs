//! The fleet of the demonstration: a small shop, on which something can be made to go wrong within minutes.
//!
//! Some of its hosts do what looks like a fault and is none. Kinds are those that a feature set describes; what else the
//! shop has (a cache, a queue, a load balancer) are programs on servers, and are watched as such.

use forewarn_types::{EventTime, Kind, StepLength};

use super::decoy::Decoy;
use super::host::{Detail, Filesystem, GIB, Host, Profile, Service};
use super::kind::FaultKind;
use super::noise::Draw;
use super::running::{Order, RunningFleet};

/// Where the samples of simulated resources say that they come from.
pub const SOURCE: &str = "simulator";

const HOUR: u64 = 3_600;

/// Eight resources that belong together.
#[derive(Clone, Debug)]
pub struct DemoFleet {
    seed: u64,
    hosts: Vec<Host>,
}

impl DemoFleet {
    /// The fleet of a seed: the names and what the hosts are for are the same in all, sizes and habits are drawn.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let server = |name: &str, suits: &[FaultKind]| drawn(seed, name, Kind::Server, suits);
        // Whoever goes down leaves its visitors to the other two.
        let web = |name: &str, others: [&str; 2], suits: &[FaultKind]| {
            let mut host = server(name, suits);
            host.neighbours = others.map(str::to_owned).into();
            host
        };
        let mut checkout = drawn(
            seed,
            "checkout-01",
            Kind::Service,
            &[FaultKind::LatencyCreep, FaultKind::FrozenApp],
        );
        checkout.profile.service = Some(Service {
            response_seconds: 0.12,
            logins_per_minute: 240.0,
            orders_per_minute: 90.0,
            revenue_per_order: 35.0,
        });
        let mut queue = server("queue-01", &[FaultKind::DiskFill, FaultKind::CounterReset]);
        queue.profile.filesystems.push(Filesystem {
            mountpoint: "/var/lib/queue".into(),
            bytes: 200.0 * GIB,
            used: 0.45,
        });
        let mut database = drawn(
            seed,
            "db-01",
            Kind::Database,
            &[FaultKind::ConnectionExhaustion],
        );
        database.profile.pool_limit = Some(200.0);
        database.profile.operation_seconds = Some(0.006);
        let hosts = vec![
            web("web-01", ["web-02", "web-03"], &[FaultKind::CpuRunaway])
                .deploy(9 * HOUR)
                .decoy(Decoy::TrafficCampaign {
                    onset_seconds: 14 * HOUR,
                    seconds: 2 * HOUR,
                    factor: 1.5,
                }),
            web(
                "web-02",
                ["web-01", "web-03"],
                &[FaultKind::MemoryLeak, FaultKind::CascadingFailure],
            )
            .deploy(9 * HOUR + 600),
            web("web-03", ["web-01", "web-02"], &[FaultKind::TrafficSurge])
                .deploy(9 * HOUR + 1_200)
                .decoy(Decoy::NoisyNeighbour {
                    onset_seconds: 17 * HOUR,
                    seconds: HOUR,
                    share: 0.08,
                }),
            checkout.decoy(Decoy::TrafficCampaign {
                onset_seconds: 14 * HOUR,
                seconds: 2 * HOUR,
                factor: 1.5,
            }),
            server(
                "cache-01",
                &[FaultKind::MemoryHog, FaultKind::SensorDropout],
            )
            .decoy(Decoy::WarmUp {
                onset_seconds: 0,
                seconds: HOUR,
                share: 0.35,
            }),
            queue.decoy(Decoy::NightlyBatch {
                second_of_day: 2 * HOUR + 1_800,
                seconds: 1_200,
            }),
            database,
            server(
                "lb-01",
                &[FaultKind::NetworkSaturation, FaultKind::FileDescriptorLeak],
            )
            .decoy(Decoy::SensorReset {
                at_seconds: 11 * HOUR,
            }),
        ];
        Self { seed, hosts }
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The resource that a fault of this kind suits best.
    #[must_use]
    pub fn host_for(&self, kind: FaultKind) -> Option<&str> {
        let suits = self.hosts.iter().find(|host| host.suits.contains(&kind));
        suits.map(|host| host.resource.resource.as_str())
    }

    /// A fault of this kind, on the host that it suits best and as long as its kind usually takes.
    #[must_use]
    pub fn order(&self, kind: FaultKind) -> Order {
        Order {
            host: self.host_for(kind).map(str::to_owned),
            seconds: Some(kind.usual_seconds()),
            ..Order::new(kind)
        }
    }

    /// The fleet at work from `start` on, measured every second. For a past of 24 hours begin that much earlier, take
    /// [`RunningFleet::history`] up to now, and go on measuring.
    #[must_use]
    pub fn start(&self, start: EventTime) -> RunningFleet {
        RunningFleet::new(&self.hosts, self.seed, start, StepLength::SECOND)
    }
}

/// A resource like others of its fleet, yet not the same.
fn drawn(seed: u64, name: &str, kind: Kind, suits: &[FaultKind]) -> Host {
    let mut profile = Profile::drawn(Draw::new(seed, &format!("demo {name}")).seed());
    profile.filesystems.truncate(1);
    profile.weekend = 0.25;
    // Four times as many visitors shall still fit: nothing but a fault brings a host of the shop to its limit.
    profile.cpu_used = profile.cpu_used.min(0.22);
    let mut host = Host::new(name).profile(profile);
    host.kind = kind;
    host.suits = suits.to_vec();
    host.detail = Detail::Slim;
    host.source = SOURCE;
    host
}
