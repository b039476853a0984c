//! Exactness: kill -9 of every service at random instants while work is in flight, each store restarted once, and in
//! the end every store equals the reference.
//!
//! A kill counts as effective when the service was alive, had got on with its work since it was started, and had
//! more to do: a lag at that instant, or requests in flight. Others are told but not counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forewarn_testkit::generate::{Disorder, Draw, Fault, FaultKind, Fleet, Recording};
use forewarn_types::{EventTime, ResourceKey};

use crate::probe::{self, Probe};
use crate::sender::Senders;
use crate::verdict::{self, Verdict};
use crate::{Service, World};

/// What a run is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Effective kills, over all services.
    pub kills: u32,
    /// From which hosts, faults, disorder and instants follow.
    pub seed: u64,
}

/// What a run did and found.
#[derive(Debug)]
pub struct Outcome {
    /// Effective kills per service.
    pub kills: BTreeMap<Service, u32>,
    /// Kills that met a service without work.
    pub idle_kills: u32,
    /// Which servers were restarted.
    pub restarted: Vec<&'static str>,
    /// From each kill until the service was ready again.
    pub recoveries: Vec<Duration>,
    /// How often a service ended by itself, to be started again: with a restarted server, say.
    pub ended_by_themselves: u32,
    /// Requests that had to be repeated.
    pub repeated_requests: u64,
    /// What the judge found.
    pub verdict: Verdict,
    /// From the first sample to the judge's word.
    pub took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effective: u32 = self.kills.values().sum();
        write!(f, "{effective} effective kills (")?;
        for (index, (service, count)) in self.kills.iter().enumerate() {
            write!(
                f,
                "{}{} {count}",
                if index == 0 { "" } else { ", " },
                service.name()
            )?;
        }
        writeln!(f, "), {} more without work in flight", self.idle_kills)?;
        writeln!(
            f,
            "servers restarted: {}",
            if self.restarted.is_empty() {
                "none"
            } else {
                ""
            }
            .to_owned()
                + &self.restarted.join(", ")
        )?;
        let mut recoveries = self.recoveries.clone();
        recoveries.sort_unstable();
        if let (Some(middle), Some(longest)) =
            (recoveries.get(recoveries.len() / 2), recoveries.last())
        {
            writeln!(
                f,
                "ready again after kill -9: median {middle:.1?}, longest {longest:.1?}"
            )?;
        }
        writeln!(
            f,
            "services that ended by themselves and were started again: {}",
            self.ended_by_themselves
        )?;
        writeln!(
            f,
            "requests repeated by the senders: {}",
            self.repeated_requests
        )?;
        writeln!(f, "{}", self.verdict)?;
        write!(f, "took {:.0?}", self.took)
    }
}

/// Hosts of the run.
const HOSTS: usize = 8;
/// Steps of each host per kill: kills come every three seconds or so, and the senders must not run dry before.
const STEPS_PER_KILL: u64 = 40;
/// The fewest steps: what the detectors need to learn, a fault, and 100,000 samples.
const STEPS_MIN: u64 = 900;
/// As in the settings below.
const STEPS_LEARNING: u64 = 300;
/// Between two batches of a host while there is killing to do.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest wait for a service to get on with its work, and for everything to be done at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings that make a short run meet what a long one would: checkpoints often, learning short.
pub const SETTINGS: &str = include_str!("exactness.toml");

/// Runs it. `None`, after saying so, where the servers are not there.
///
/// # Errors
/// When the system could not be driven as planned; whether the stores are right is in the outcome.
pub fn run(plan: Plan, say: &dyn Fn(&str)) -> anyhow::Result<Option<Outcome>> {
    let Some(mut world) = World::new("exactness under kill -9", SETTINGS)? else {
        return Ok(None);
    };
    say(&format!(
        "seed {}, folder {}",
        plan.seed,
        world.folder.display()
    ));
    let started = Instant::now();
    let driven = drive(&mut world, plan, say);
    match driven {
        Ok(mut outcome) => {
            outcome.took = started.elapsed();
            if outcome.verdict.is_clean() {
                world.check_clean()?;
                world.clean_up()?;
            }
            Ok(Some(outcome))
        }
        Err(error) => Err(error.context(world.tails())),
    }
}

fn drive(world: &mut World, plan: Plan, say: &dyn Fn(&str)) -> anyhow::Result<Outcome> {
    world.start_all()?;
    let recording = recording(
        plan.seed,
        STEPS_MIN.max(u64::from(plan.kills) * STEPS_PER_KILL),
    );
    let ingestion = world.place_of(Service::Ingestion);
    let urls = vec![world.url(ingestion)];
    let ledger = world.folder.join("ledger");
    let probe = Probe::new(world)?;
    let senders = Senders::start(
        &world.runtime,
        &world.http,
        urls,
        &recording,
        &ledger,
        PAUSE,
    )?;
    let mut driver = Driver {
        draw: Draw::new(plan.seed, "instants"),
        probe: &probe,
        senders: &senders,
        kills: Service::ALL
            .into_iter()
            .map(|service| (service, 0))
            .collect(),
        idle_kills: 0,
        recoveries: Vec::new(),
    };
    let mut restarted = Vec::new();
    for number in 0..plan.kills {
        // The servers' restarts are spread over the run.
        let due = ["kafka", "postgres", "influxdb"];
        for (index, server) in due.into_iter().enumerate() {
            let turn = (index as u32 + 1) * plan.kills / 4;
            if number == turn && world.restart_server(server)? {
                say(&format!("restarted {server} with work in flight"));
                restarted.push(server);
            }
        }
        // In turns, so that each service gets its share whatever the number.
        let service = Service::ALL[number as usize % Service::ALL.len()];
        driver.kill_one(world, service, say)?;
    }
    let (kills, idle_kills, recoveries) = (driver.kills, driver.idle_kills, driver.recoveries);
    say("no more kills; waiting until everything is done");
    for at in 0..world.processes.len() {
        world.wait_ready(at)?;
    }
    let counts = senders.finish(&world.runtime, PATIENCE)?;
    let verdict = verdict::reach(world, &probe, &recording, &ledger, PATIENCE)?;
    Ok(Outcome {
        kills,
        idle_kills,
        restarted,
        recoveries,
        ended_by_themselves: world.ended_by_themselves,
        repeated_requests: counts.repeated.load(Ordering::Relaxed),
        verdict,
        took: Duration::ZERO,
    })
}

/// Unlike hosts, disorder on the way, and faults of every kind so that every table has rows.
#[must_use]
pub fn recording(seed: u64, steps: u64) -> Recording {
    let mut fleet = Fleet::drawn(seed, steps, HOSTS);
    // Kafka's partitioner puts the others on three of the four partitions, and this name on the fourth.
    fleet.hosts[HOSTS - 1].resource = ResourceKey::new("host-15");
    // Far enough back that no step lies in the future, however fast it is sent.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let start = i64::try_from(now).unwrap_or_default()
        - (i64::try_from(steps).unwrap_or_default() + 600) * 1_000;
    fleet.start = EventTime(start - start.rem_euclid(1_000));
    fleet.disorder = Disorder::rough();
    // The detectors have learned by then, and there is time for what fills up to be full.
    let (onset, lasts) = (STEPS_LEARNING + 100, 200);
    let kinds = [
        FaultKind::CpuRunaway,
        FaultKind::DiskFill,
        FaultKind::MemoryLeak,
        FaultKind::FileDescriptorLeak,
    ];
    for (host, kind) in fleet.hosts.iter_mut().zip(kinds) {
        host.faults.push(Fault::new(kind, onset, lasts));
    }
    fleet.hosts[HOSTS - 1].reboots.push(steps / 2);
    fleet.record()
}

/// A seed that no earlier run had.
#[must_use]
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    // Short enough to be typed again from a report.
    u64::try_from(now % 1_000_000_007).unwrap_or_default()
}

struct Driver<'a> {
    draw: Draw,
    probe: &'a Probe,
    senders: &'a Senders,
    kills: BTreeMap<Service, u32>,
    idle_kills: u32,
    recoveries: Vec<Duration>,
}

impl Driver<'_> {
    /// Kills a service while it is at work, waits a moment, starts it again.
    fn kill_one(
        &mut self,
        world: &mut World,
        service: Service,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        let at = world.place_of(service);
        loop {
            let mut before = None;
            probe::eventually(
                &format!("{} gets on with its work", service.name()),
                PATIENCE,
                || {
                    world.supervise()?;
                    let now = self.progress(world, service)?;
                    Ok(now > *before.get_or_insert(now))
                },
            )?;
            std::thread::sleep(Duration::from_secs_f64(self.draw.uniform(0.0, 1.0)));
            let busy = self.wait_for_work(world, service);
            let killed_at = Instant::now();
            let was_alive = world.processes[at].kill();
            std::thread::sleep(Duration::from_secs_f64(self.draw.uniform(0.0, 0.8)));
            world.processes[at].start()?;
            world.wait_ready(at)?;
            self.recoveries.push(killed_at.elapsed());
            let effective = was_alive && busy;
            say(&format!(
                "killed {} {}",
                service.name(),
                if effective {
                    "at work"
                } else {
                    "without work in flight"
                }
            ));
            if effective {
                *self.kills.entry(service).or_default() += 1;
                return Ok(());
            }
            self.idle_kills += 1;
            anyhow::ensure!(
                self.senders.are_busy(),
                "the senders ran dry before all kills were made"
            );
        }
    }

    /// A number that grows as the service gets on.
    fn progress(&self, world: &World, service: Service) -> anyhow::Result<u64> {
        Ok(match service {
            Service::Ingestion => self.senders.counts.acknowledged.load(Ordering::Relaxed),
            Service::StreamProcessor => self.probe.processed()?.iter().sum(),
            Service::Predictor => self.probe.judged()?.iter().sum(),
            Service::Alerter => self.probe.alerted(world)?.iter().sum(),
            Service::Trainer | Service::Whole => anyhow::bail!("it has no work of its own"),
        })
    }

    /// How much the service has before it.
    fn work(&self, world: &World, service: Service) -> anyhow::Result<u64> {
        let probe = self.probe;
        Ok(match service {
            Service::Ingestion => self.senders.counts.in_flight.load(Ordering::Relaxed),
            Service::StreamProcessor => {
                let behind = probe.processed()?;
                probe::lag(&probe.roots()?, &behind)
            }
            Service::Predictor => {
                let behind = probe.judged()?;
                probe::lag(&probe.processed()?, &behind)
            }
            Service::Alerter => {
                let behind = probe.alerted(world)?;
                probe::lag(
                    &probe::ends(probe.log(), &forewarn_messages::ANOMALY_PREDICTIONS)?,
                    &behind,
                )
            }
            Service::Trainer | Service::Whole => anyhow::bail!("it has no work of its own"),
        })
    }

    /// Waits a little for an instant at which the service has work before it.
    fn wait_for_work(&self, world: &World, service: Service) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            // A server that restarts cannot be asked; then the instant is not known to be one with work.
            if self.work(world, service).is_ok_and(|work| work > 0) {
                return true;
            }
        }
        false
    }
}
