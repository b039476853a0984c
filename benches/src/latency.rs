//! From the append of the message that closes a step to the step's committed row in PostgreSQL, with the real binaries.
//!
//! Each row says when the log took in its cause (`logged_at`, Kafka's own append time); the row is looked for every few
//! milliseconds, so what is measured is when somebody else can see it, that is, after the commit. Both times come from
//! the clock of the one machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use forewarn_system_tests::sender::Senders;
use forewarn_system_tests::{Service, World};
use forewarn_testkit::generate::Fleet;
use forewarn_types::EventTime;

use crate::report::quantile;

/// How often rows are looked for: it adds half of this to a latency on average.
const LOOK: Duration = Duration::from_millis(5);
/// Every batch of a host closes a step. They are sent a second apart, and what acknowledging them takes.
const STEP_MILLIS: i64 = 1_000;
/// For how long rows are looked for after the last batch.
const OVERTIME: Duration = Duration::from_secs(5);
/// Steps of the first seconds meet services that are still starting.
const WARM_UP: Duration = Duration::from_secs(10);

pub(crate) fn measure(hosts: usize, seconds: u64) -> anyhow::Result<Vec<String>> {
    let settings = "[ingestion.host]\nenabled = false\n";
    let Some(mut world) = World::new("latency to the committed row", settings)? else {
        return Ok(Vec::new());
    };
    world.start_all()?;
    let mut fleet = Fleet::drawn(1, seconds, hosts);
    fleet.start = EventTime(now_millis()? / 1_000 * 1_000 - i64::try_from(seconds)? * 1_000);
    let urls = vec![world.url(world.place_of(Service::Ingestion))];
    let ledger = world.folder.join("ledger");
    let senders = Senders::start(
        &world.runtime,
        &world.http,
        urls,
        &fleet.record(),
        &ledger,
        Duration::from_secs(1),
    )?;
    let postgres = world.postgres()?;
    let mut seen: BTreeMap<String, i64> = BTreeMap::new();
    let mut delays = Vec::new();
    let started = Instant::now();
    // The last steps are waited for too: the slowest must not be left out.
    let mut overtime = None;
    while senders.are_busy()
        || *overtime.get_or_insert_with(Instant::now) + OVERTIME > Instant::now()
    {
        let rows = world.runtime.block_on(async {
            let session = postgres.session().await?;
            let sql = "SELECT resource, (extract(epoch FROM last_step_at) * 1000)::bigint, \
                       (extract(epoch FROM logged_at) * 1000)::bigint FROM resources";
            let rows = session.query(sql, &[]).await?;
            session.give_back();
            anyhow::Ok(rows)
        })?;
        let now = now_millis()?;
        for row in rows {
            let (resource, step, logged): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let before = seen.insert(resource, step).unwrap_or(step - STEP_MILLIS);
            // Steps that became visible together waited for as much longer as they are older.
            for age in (0..step - before).step_by(STEP_MILLIS as usize) {
                if started.elapsed() > WARM_UP {
                    delays.push((now - logged + age) as f64);
                }
            }
        }
        std::thread::sleep(LOOK);
    }
    let took = started.elapsed();
    senders.finish(&world.runtime, Duration::from_secs(60))?;
    world.clean_up()?;
    delays.sort_by(f64::total_cmp);
    let line = format!(
        "append of the closing message → committed row: p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms ({} steps of {hosts} hosts, {:.0} a second)",
        quantile(&delays, 0.5),
        quantile(&delays, 0.99),
        quantile(&delays, 1.0),
        delays.len(),
        delays.len() as f64 / (took.as_secs_f64() - WARM_UP.as_secs_f64()).max(1.0)
    );
    Ok(vec![line])
}

fn now_millis() -> anyhow::Result<i64> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(i64::try_from(now.as_millis())?)
}
