//! How a process ends, and with which exit code.

use crate::Probe;

#[test]
fn asked_to_end_it_drains_and_says_so() {
    for signal in ["TERM", "INT"] {
        let mut probe = Probe::start(&["alerter.drain=300ms"]);
        probe.wait_for("health pages");
        probe.signal(signal);
        assert_eq!(probe.exit_code(), Some(0));
        probe.wait_for("\"drained\"");
    }
}

#[test]
fn what_does_not_drain_in_time_is_named() {
    let mut probe = Probe::start(&["alerter.drain=1h", "service.drain=200ms"]);
    probe.wait_for("health pages");
    probe.signal("TERM");
    assert_eq!(probe.exit_code(), Some(70));
    probe.wait_for("not drained in time");
    probe.wait_for("\"running\":\"reader\"");
}

#[test]
fn interrupted_twice_it_ends_at_once() {
    let mut probe = Probe::start(&["alerter.drain=1h", "service.drain=1h"]);
    probe.wait_for("health pages");
    probe.signal("INT");
    probe.wait_for("to finish what is begun");
    probe.signal("TERM");
    probe.signal("INT");
    assert_eq!(probe.exit_code(), Some(130));
}

#[test]
fn a_failure_of_the_service_ends_the_process() {
    let mut probe = Probe::start(&["alerter.behaviour=refuse"]);
    assert_eq!(probe.exit_code(), Some(70));
    probe.wait_for("there is nothing to probe");
}

#[test]
fn a_panic_in_a_component_ends_the_process_in_order() {
    let mut probe = Probe::start(&["alerter.behaviour=panic"]);
    assert_eq!(probe.exit_code(), Some(70));
    probe.wait_for("panic: out of cheese");
    probe.wait_for("panicked: out of cheese");
    probe.wait_for("\"component\":\"reader\"");
    probe.wait_for("\"drained\"");
}

#[test]
fn a_component_that_leaves_ends_the_process_in_order() {
    let mut probe = Probe::start(&["alerter.behaviour=leave"]);
    assert_eq!(probe.exit_code(), Some(70));
    probe.wait_for("\"component\":\"leaver\"");
    probe.wait_for("\"drained\"");
}

#[test]
fn a_loop_that_stalls_ends_the_process() {
    let mut probe = Probe::start(&[
        "alerter.behaviour=stall",
        "service.late_after=100ms",
        "service.stalled_after=300ms",
    ]);
    assert_eq!(probe.exit_code(), Some(70));
    probe.wait_for("stalled: no sign of life");
    probe.wait_for("\"component\":\"reader\"");
}

#[test]
fn a_service_that_has_nothing_left_to_do_ends_well() {
    assert_eq!(
        Probe::start(&["alerter.behaviour=finish"]).exit_code(),
        Some(0)
    );
}

#[test]
fn asked_to_end_while_it_still_starts_it_does_not_wait() {
    let mut probe = Probe::start(&["alerter.behaviour=dawdle", "service.drain=1h"]);
    probe.wait_for("probing");
    probe.signal("TERM");
    assert_eq!(probe.exit_code(), Some(0));
}
