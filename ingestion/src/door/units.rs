//! Units: known ones are converted to base units (seconds, bytes, ratios), others are refused rather than guessed.

/// A factor as multiplication and division, so that 7 % is exactly 0.07.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Factor {
    multiply: f64,
    divide: f64,
}

impl Factor {
    /// `value` in the base unit.
    pub(super) fn apply(self, value: f64) -> f64 {
        value * self.multiply / self.divide
    }
}

/// Unit, its base unit, and the factor between them.
const UNITS: &[(&str, &str, f64, f64)] = &[
    ("1", "1", 1.0, 1.0),
    ("ratio", "1", 1.0, 1.0),
    ("%", "1", 1.0, 100.0),
    ("percent", "1", 1.0, 100.0),
    ("s", "s", 1.0, 1.0),
    ("ns", "s", 1.0, 1e9),
    ("us", "s", 1.0, 1e6),
    ("µs", "s", 1.0, 1e6),
    ("ms", "s", 1.0, 1e3),
    ("min", "s", 60.0, 1.0),
    ("h", "s", 3_600.0, 1.0),
    ("d", "s", 86_400.0, 1.0),
    ("By", "By", 1.0, 1.0),
    ("B", "By", 1.0, 1.0),
    ("bytes", "By", 1.0, 1.0),
    ("KiB", "By", 1_024.0, 1.0),
    ("KiBy", "By", 1_024.0, 1.0),
    ("MiB", "By", 1_048_576.0, 1.0),
    ("MiBy", "By", 1_048_576.0, 1.0),
    ("GiB", "By", 1_073_741_824.0, 1.0),
    ("GiBy", "By", 1_073_741_824.0, 1.0),
    ("TiB", "By", 1_099_511_627_776.0, 1.0),
    ("TiBy", "By", 1_099_511_627_776.0, 1.0),
    ("kB", "By", 1e3, 1.0),
    ("kBy", "By", 1e3, 1.0),
    ("MB", "By", 1e6, 1.0),
    ("MBy", "By", 1e6, 1.0),
    ("GB", "By", 1e9, 1.0),
    ("GBy", "By", 1e9, 1.0),
    ("TB", "By", 1e12, 1.0),
    ("TBy", "By", 1e12, 1.0),
];

/// Units of metrics that people push and that the collector does not have. Business numbers are told per minute, as
/// people count them.
const PUSHED: &[(&str, &str)] = &[
    ("logins.per_minute", "{login}/min"),
    ("orders.per_minute", "{order}/min"),
    ("revenue.per_minute", "{currency}/min"),
    ("db.client.operation.duration", "s"),
    ("http.server.request.duration", "s"),
    ("db.client.connection.count", "{connection}"),
    ("db.client.connection.max", "{connection}"),
];

/// The base unit of a metric, where Forewarn knows the metric. By convention every `….utilization` is a ratio.
pub(super) fn base_unit(metric: &str) -> Option<&'static str> {
    forewarn_types::metric::unit(metric)
        .or_else(|| {
            PUSHED
                .iter()
                .find(|(name, _)| *name == metric)
                .map(|(_, unit)| *unit)
        })
        .or_else(|| metric.ends_with(".utilization").then_some("1"))
}

/// Why a unit is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Unknown,
    /// It measures something else than the metric; with the metric's unit.
    Other(&'static str),
}

/// How to get from `unit` to the base unit of a metric, or to that of the unit itself for a metric of the sender's own.
pub(super) fn convert(unit: &str, base: Option<&'static str>) -> Result<Factor, Refused> {
    let (found, multiply, divide) = resolve(unit).ok_or(Refused::Unknown)?;
    match base {
        // So are counts per minute, whatever they are sent per.
        Some(base) if is_per_minute(base) => {
            let is_rate = found.strip_suffix("/s").is_some_and(is_counted);
            if is_rate {
                let multiply = multiply * 60.0;
                Ok(Factor { multiply, divide })
            } else if is_counted(unit) || unit == "1" {
                Ok(Factor { multiply, divide })
            } else {
                Err(Refused::Other(base))
            }
        }
        // Counted things are one unit, whatever they are called, and a plain `1` counts too.
        Some(base) if is_counted(base) && (is_counted(unit) || unit == "1") => {
            Ok(Factor { multiply, divide })
        }
        Some(base) if found != base => Err(Refused::Other(base)),
        _ => Ok(Factor { multiply, divide }),
    }
}

/// Base unit and factor of a unit; of a rate, those of what is counted, per second.
fn resolve(unit: &str) -> Option<(String, f64, f64)> {
    for (per, seconds) in [("/s", 1.0), ("/min", 60.0), ("/h", 3_600.0)] {
        if let Some(counted) = unit.strip_suffix(per) {
            let (base, multiply, divide) = simple(counted)?;
            return Some((format!("{base}/s"), multiply, divide * seconds));
        }
    }
    simple(unit)
}

fn simple(unit: &str) -> Option<(String, f64, f64)> {
    if is_counted(unit) {
        return Some((unit.to_owned(), 1.0, 1.0));
    }
    UNITS
        .iter()
        .find(|(name, ..)| *name == unit)
        .map(|(_, base, multiply, divide)| ((*base).to_owned(), *multiply, *divide))
}

/// `{order}/min`
fn is_per_minute(unit: &str) -> bool {
    unit.strip_suffix("/min").is_some_and(is_counted)
}

/// `{request}`: things that are counted, whatever they are.
fn is_counted(unit: &str) -> bool {
    unit.len() > 2 && unit.len() <= 64 && unit.starts_with('{') && unit.ends_with('}')
}

/// The units in which a base unit may be sent.
pub(super) fn accepted(base: &str) -> String {
    if is_counted(base) {
        return format!("{base} or 1");
    }
    if let Some(counted) = base.strip_suffix("/min") {
        return format!("{base}, {counted}/s, {counted}/h or 1");
    }
    let names: Vec<&str> = UNITS
        .iter()
        .filter(|(_, b, ..)| *b == base)
        .map(|(name, ..)| *name)
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_base(unit: &str, base: Option<&'static str>, value: f64) -> Option<f64> {
        convert(unit, base).ok().map(|factor| factor.apply(value))
    }

    #[test]
    fn units_become_base_units_without_noise() {
        assert_eq!(to_base("%", Some("1"), 7.0), Some(0.07));
        assert_eq!(to_base("%", Some("1"), 58.0), Some(0.58));
        assert_eq!(to_base("ms", Some("s"), 250.0), Some(0.25));
        assert_eq!(to_base("MiB", Some("By"), 2.0), Some(2_097_152.0));
        assert_eq!(to_base("{order}/min", None, 90.0), Some(1.5));
        assert_eq!(to_base("MB/s", None, 3.0), Some(3e6));
        assert_eq!(to_base("1", Some("{process}"), 3.0), Some(3.0));
    }

    #[test]
    fn business_numbers_stay_per_minute_whatever_they_are_sent_per() {
        let orders = base_unit("orders.per_minute");
        for (unit, value) in [("{order}/min", 42.0), ("{order}/h", 2_520.0), ("1", 42.0)] {
            assert_eq!(to_base(unit, orders, value), Some(42.0), "{unit}");
        }
        let revenue = base_unit("revenue.per_minute");
        assert_eq!(to_base("{EUR}/min", revenue, 12.5), Some(12.5));
        assert_eq!(to_base("{EUR}/s", revenue, 0.5), Some(30.0));
        assert!(convert("ms", revenue).is_err());
    }

    #[test]
    fn what_the_feature_sets_read_is_what_the_door_stores() {
        let sets = forewarn_features::FeatureSets::standard();
        let metrics = sets.all().iter().flat_map(|set| &set.metrics);
        let mut compared = 0;
        for metric in metrics.filter(|metric| metric.over.is_none()) {
            if metric.operand.reading == forewarn_features::Reading::Gauge
                && let Some(base) = base_unit(&metric.operand.from)
            {
                assert_eq!(metric.unit, base, "{}", metric.name);
                compared += 1;
            }
        }
        assert!(compared >= 10, "{compared}");
    }

    #[test]
    fn what_measures_something_else_is_refused() {
        assert_eq!(
            convert("%", Some("{process}")),
            Err(Refused::Other("{process}"))
        );
        assert_eq!(convert("ms", Some("By")), Err(Refused::Other("By")));
        assert_eq!(convert("{thing}", Some("1")), Err(Refused::Other("1")));
        assert_eq!(convert("%/s", Some("1")), Err(Refused::Other("1")));
        for unknown in ["furlong", "", "{}", "MS", "/s"] {
            assert_eq!(convert(unknown, None), Err(Refused::Unknown), "{unknown:?}");
        }
    }
}
