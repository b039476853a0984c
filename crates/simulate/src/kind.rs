//! The kinds of faults, under the names that people write and those that reports have.

use std::fmt;
use std::str::FromStr;

use forewarn_types::FailureKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::host::Host;

/// What can go wrong with a generated host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A program takes all the CPU it can get, from one moment to the next.
    CpuRunaway,
    /// A program takes most of the free memory within seconds, and keeps it.
    MemoryHog,
    /// A program takes memory at a noisy rate and gives none back.
    MemoryLeak,
    /// A filesystem fills at a noisy rate.
    DiskFill,
    /// A program opens files and closes none.
    FileDescriptorLeak,
    /// Connections are taken from a pool and not given back.
    ConnectionExhaustion,
    /// Requests take longer and longer, until nobody waits for their answers any more.
    LatencyCreep,
    /// A bulk transfer takes the whole network interface.
    NetworkSaturation,
    /// Many times the usual visitors within half a minute.
    TrafficSurge,
    /// The application is busy with itself at a steady 30 % of the CPU and answers nobody.
    FrozenApp,
    /// The host goes down, and its work comes over its neighbours one after the other.
    CascadingFailure,
    /// Nothing is reported any more, while the host goes on as ever.
    SensorDropout,
    /// The collector starts anew, and its counters with it. Nothing is wrong with the host.
    CounterReset,
}

impl FaultKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::CpuRunaway,
        Self::MemoryHog,
        Self::MemoryLeak,
        Self::DiskFill,
        Self::FileDescriptorLeak,
        Self::ConnectionExhaustion,
        Self::LatencyCreep,
        Self::NetworkSaturation,
        Self::TrafficSurge,
        Self::FrozenApp,
        Self::CascadingFailure,
        Self::SensorDropout,
        Self::CounterReset,
    ];

    /// Every name that is understood, the aliases last.
    pub const NAMES: &'static [&'static str] = &[
        "cpu-runaway",
        "memory-hog",
        "memory-leak",
        "disk-fill",
        "file-descriptor-leak",
        "connection-exhaustion",
        "latency-creep",
        "network-saturation",
        "traffic-surge",
        "frozen-app",
        "cascading-failure",
        "sensor-dropout",
        "counter-reset",
        "cpu-spike",
    ];

    /// Other names that people know some of them by.
    pub const ALIASES: &'static [(&'static str, Self)] = &[("cpu-spike", Self::CpuRunaway)];

    /// The word for it in reports. Part of what chance is drawn from, so it never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuRunaway => "cpu_runaway",
            Self::MemoryHog => "memory_hog",
            Self::MemoryLeak => "memory_leak",
            Self::DiskFill => "disk_fill",
            Self::FileDescriptorLeak => "file_descriptor_leak",
            Self::ConnectionExhaustion => "connection_exhaustion",
            Self::LatencyCreep => "latency_creep",
            Self::NetworkSaturation => "network_saturation",
            Self::TrafficSurge => "traffic_surge",
            Self::FrozenApp => "frozen_app",
            Self::CascadingFailure => "cascading_failure",
            Self::SensorDropout => "sensor_dropout",
            Self::CounterReset => "counter_reset",
        }
    }

    /// The word for it on the command line, in requests and in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuRunaway => "cpu-runaway",
            Self::MemoryHog => "memory-hog",
            Self::MemoryLeak => "memory-leak",
            Self::DiskFill => "disk-fill",
            Self::FileDescriptorLeak => "file-descriptor-leak",
            Self::ConnectionExhaustion => "connection-exhaustion",
            Self::LatencyCreep => "latency-creep",
            Self::NetworkSaturation => "network-saturation",
            Self::TrafficSurge => "traffic-surge",
            Self::FrozenApp => "frozen-app",
            Self::CascadingFailure => "cascading-failure",
            Self::SensorDropout => "sensor-dropout",
            Self::CounterReset => "counter-reset",
        }
    }

    /// The failure that it ends in, if it ends in one.
    #[must_use]
    pub const fn failure(self) -> Option<FailureKind> {
        match self {
            Self::MemoryLeak => Some(FailureKind::MemoryExhaustion),
            Self::DiskFill => Some(FailureKind::DiskFull),
            Self::FileDescriptorLeak => Some(FailureKind::FileDescriptorExhaustion),
            Self::ConnectionExhaustion => Some(FailureKind::ConnectionExhaustion),
            _ => None,
        }
    }

    /// The share of its limit at which it has reached it; `None` for what has no limit to reach.
    #[must_use]
    pub const fn breaks_at(self) -> Option<f64> {
        match self {
            Self::LatencyCreep => Some(1.0),
            // Nothing more fits through a link that is as full as this.
            Self::NetworkSaturation => Some(0.95),
            _ if self.failure().is_some() => Some(1.0),
            _ => None,
        }
    }

    /// How many seconds a demonstration gives it: what fills up is full two and a half minutes after its onset at its mean
    /// rate, so that whoever looks on sees it foreseen and come true, and a silence lasts long enough to be told of.
    #[must_use]
    pub const fn usual_seconds(self) -> u64 {
        match self {
            Self::CounterReset => 1,
            Self::LatencyCreep => 270,
            _ if self.failure().is_some() => 150,
            _ => 300,
        }
    }

    /// After how many seconds, at its mean rate, one that is to take `seconds` reaches its limit; `None` without a limit.
    #[must_use]
    pub const fn limit_within(self, seconds: u64) -> Option<u64> {
        match self {
            Self::NetworkSaturation => Some(10),
            _ if self.breaks_at().is_some() => Some(seconds),
            _ => None,
        }
    }

    /// Whether nothing is wrong with the host, so that nobody should be told of anything.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::CounterReset)
    }

    /// The families of metrics (prefixes of their names) that an operator would expect to be named for it.
    /// Fixed before any detector was run on these faults; a verdict that names none of them has missed the fault.
    /// None for what is not seen in metrics: a host that has fallen silent, and a harmless reset.
    #[must_use]
    pub const fn families(self) -> &'static [&'static str] {
        match self {
            Self::CpuRunaway => &["cpu.", "load.", "pressure.cpu"],
            Self::MemoryHog | Self::MemoryLeak => &["memory.", "swap.", "pressure.memory"],
            Self::DiskFill => &["filesystem.", "disk.", "pressure.io"],
            Self::FileDescriptorLeak => &["file_descriptors."],
            Self::ConnectionExhaustion => &["connections."],
            Self::LatencyCreep => &["response."],
            Self::NetworkSaturation => &["network."],
            Self::TrafficSurge => &[
                "network.",
                "cpu.",
                "load.",
                "connections.",
                "response.",
                "logins.",
                "orders.",
            ],
            Self::FrozenApp => &[
                "network.",
                "cpu.",
                "disk.",
                "connections.",
                "logins.",
                "orders.",
                "revenue.",
            ],
            Self::CascadingFailure => &["network.", "cpu.", "load.", "connections.", "memory."],
            Self::SensorDropout | Self::CounterReset => &[],
        }
    }

    /// Whether `host` reports anything by which it could be seen.
    #[must_use]
    pub fn fits(self, host: &Host) -> bool {
        match self {
            Self::ConnectionExhaustion => host.profile.pool_limit.is_some(),
            Self::LatencyCreep => host.profile.service.is_some(),
            Self::TrafficSurge | Self::FrozenApp => {
                host.reports_system() || host.profile.service.is_some()
            }
            Self::CascadingFailure => host.reports_system() && !host.neighbours.is_empty(),
            Self::SensorDropout => true,
            // A resource without counters would show nothing.
            _ => host.reports_system(),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for FaultKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for FaultKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // In this form the settings can say which one was meant.
        text.parse()
            .map_err(|_| D::Error::unknown_variant(&text, Self::NAMES))
    }
}

/// A name that is no fault's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fault that can be injected")]
pub struct UnknownFault(pub String);

impl FromStr for FaultKind {
    type Err = UnknownFault;

    /// `memory-leak`; `memory_leak` and the aliases are understood too.
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let word = text.replace('_', "-");
        let by_name = Self::ALL.iter().find(|kind| kind.name() == word).copied();
        let by_alias = || {
            let alias = Self::ALIASES.iter().find(|(alias, _)| *alias == word);
            alias.map(|(_, kind)| *kind)
        };
        by_name
            .or_else(by_alias)
            .ok_or_else(|| UnknownFault(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_what_it_was_written_for() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            let json = serde_json::to_string(kind).expect("a word");
            assert_eq!(json, format!("{:?}", kind.name()));
            assert_eq!(
                serde_json::from_str::<FaultKind>(&json).expect("read back"),
                *kind
            );
        }
        assert_eq!("cpu-spike".parse(), Ok(FaultKind::CpuRunaway));
        let all = FaultKind::ALL.iter().map(|kind| kind.name());
        let aliases = FaultKind::ALIASES.iter().map(|(alias, _)| *alias);
        assert_eq!(all.chain(aliases).collect::<Vec<_>>(), FaultKind::NAMES);
        assert_eq!(
            "memory-leek".parse::<FaultKind>(),
            Err(UnknownFault("memory-leek".into()))
        );
    }
}
