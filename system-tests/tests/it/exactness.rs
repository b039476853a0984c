//! 20 times kill -9 while work is in flight. `make faults KILLS=100` does the same for longer.

use forewarn_system_tests::Service;
use forewarn_system_tests::exactness::{Plan, fresh_seed, run};

use crate::{one_world_at_a_time, say};

const KILLS: u32 = 20;

#[test]
fn after_twenty_kills_every_store_equals_the_reference() {
    let _turn = one_world_at_a_time();
    let plan = Plan {
        kills: KILLS,
        seed: fresh_seed(),
    };
    let Some(outcome) = run(plan, &say).expect("the run goes as planned") else {
        return;
    };
    say(&outcome.to_string());
    assert!(outcome.verdict.is_clean(), "seed {}:\n{outcome}", plan.seed);
    assert_eq!(outcome.kills.values().sum::<u32>(), KILLS);
    for service in Service::ALL {
        assert!(
            outcome.kills[&service] >= KILLS / 4,
            "{}: {outcome}",
            service.name()
        );
    }
    // A run in which nothing happened would prove nothing.
    let content = outcome.verdict.content;
    assert!(outcome.verdict.samples >= 100_000, "{outcome}");
    assert!(
        content.anomalies > 0 && content.predictions > 0 && content.transitions > 0,
        "{outcome}"
    );
    let servers_can_be_restarted = std::env::var_os("FOREWARN_TEST_SERVERS_CTL").is_some();
    if servers_can_be_restarted || std::env::var_os("FOREWARN_TEST_REQUIRE").is_some() {
        assert_eq!(
            outcome.restarted.len(),
            3,
            "FOREWARN_TEST_SERVERS_CTL names the script that restarts the servers"
        );
    } else {
        say("left out: restarts of the servers (set FOREWARN_TEST_SERVERS_CTL; `make test` does)");
    }
}
