//! How the fault of one host becomes that of its neighbours: who takes over the work of another has more of it.

use std::borrow::Cow;

use super::fault::Fault;
use super::host::Host;
use super::kind::FaultKind;

/// The first neighbour feels it after this many seconds: that is how long a load balancer goes on trying …
const FIRST_SECONDS: u64 = 15;
/// … and each further one so many seconds after the one before it.
const NEXT_SECONDS: u64 = 30;

/// What `fault` of `host` brings about for others: by name, in the order in which it reaches them.
pub(super) fn consequences(host: &Host, fault: &Fault) -> Vec<(String, Fault)> {
    if fault.kind != FaultKind::CascadingFailure {
        return Vec::new();
    }
    let mut delay = FIRST_SECONDS;
    let mut all = Vec::new();
    for neighbour in &host.neighbours {
        // It ends with its cause; one that comes too late does not come.
        if let Some(seconds) = fault.seconds.checked_sub(delay).filter(|left| *left > 0) {
            let onset = fault.onset_seconds.saturating_add(delay);
            let mut follows = Fault::new(FaultKind::TrafficSurge, onset, seconds);
            follows.cause = Some(host.resource.resource.clone());
            all.push((neighbour.clone(), follows));
        }
        delay += NEXT_SECONDS;
    }
    all
}

/// The same hosts, each with what the faults of the others bring about for it.
pub(super) fn spread(hosts: &[Host]) -> Cow<'_, [Host]> {
    let follow = |host: &Host| {
        let of_fault = |fault| consequences(host, fault);
        host.faults.iter().flat_map(of_fault).collect::<Vec<_>>()
    };
    let all: Vec<(String, Fault)> = hosts.iter().flat_map(follow).collect();
    if all.is_empty() {
        return Cow::Borrowed(hosts);
    }
    let mut hosts = hosts.to_vec();
    for (name, fault) in all {
        if let Some(host) = hosts.iter_mut().find(|host| host.resource.resource == name) {
            host.faults.push(fault);
        }
    }
    Cow::Owned(hosts)
}
