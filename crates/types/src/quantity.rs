//! Numbers as people read them: one place, so that the same value looks the same in every line.

/// A value of a metric of the standard sets: ratios in percent, bytes in binary multiples, the rest with three or four
/// significant digits. `cpu.utilization` 0.973 is `97.3 %`, `memory.used` 8.7e9 is `8.1 GiB`.
#[must_use]
pub fn quantity(metric: &str, value: f64) -> String {
    let metric = metric.strip_suffix(".value").unwrap_or(metric);
    match metric {
        "memory.used" => bytes(value),
        "network.receive" | "network.transmit" | "disk.read" | "disk.write" => {
            format!("{}/s", bytes(value))
        }
        "filesystem.fill_rate" => format!("{}/s", percent(value)),
        _ if is_ratio(metric) => percent(value),
        _ => plain(value),
    }
}

fn is_ratio(metric: &str) -> bool {
    matches!(
        metric,
        "cpu.user" | "cpu.system" | "cpu.iowait" | "filesystem.inodes"
    ) || metric.ends_with(".utilization")
        || metric.ends_with(".busy")
        || metric.starts_with("pressure.")
}

/// A share in percent, with one digit behind the point where there is one to show: `97.3 %`, `0.04 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = if value != 0.0 && value.abs() < 0.1 {
        2
    } else {
        1
    };
    format!("{} %", trimmed(format!("{value:.digits$}")))
}

/// An amount of bytes: `8.1 GiB`.
#[must_use]
pub fn bytes(amount: f64) -> String {
    let (mut value, mut unit) = (amount, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", short(value))
}

/// A number without a unit: four significant digits, and thousands of thousands by their letters.
fn plain(value: f64) -> String {
    let size = value.abs();
    let large = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    if let Some((scale, letter)) = large.into_iter().find(|(scale, _)| size >= *scale)
        && (10_000.0..1e15).contains(&size)
    {
        return format!("{:.1} {letter}", value / scale);
    }
    if (1.0..10_000.0).contains(&size) {
        let digits = 3 - size.log10().floor().clamp(0.0, 3.0) as usize;
        return trimmed(format!("{value:.digits$}"));
    }
    short(value)
}

/// Three significant digits: `0.00123`, `12.3`.
#[must_use]
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = 2 - value.abs().log10().floor().clamp(-30.0, 30.0) as i32;
    if !(-6..=9).contains(&digits) {
        return format!("{value:.2e}");
    }
    trimmed(format!("{value:.*}", usize::try_from(digits).unwrap_or(0)))
}

/// Without the zeros that say nothing.
fn trimmed(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_like_a_person_wrote_them() {
        for (metric, value, text) in [
            ("cpu.utilization", 0.973, "97.3 %"),
            ("cpu.utilization.value", 0.1, "10 %"),
            ("cpu.user", 0.083, "8.3 %"),
            ("pressure.io", 0.0, "0 %"),
            ("filesystem.fill_rate", 0.0117, "1.2 %/s"),
            ("filesystem.fill_rate", 0.0004, "0.04 %/s"),
            ("memory.used", 8.7e9, "8.1 GiB"),
            ("disk.write", 1_572_864.0, "1.5 MiB/s"),
            ("load.1m", 3.25, "3.25"),
            ("load.1m", 0.0, "0"),
            ("load.1m", 0.123_456, "0.123"),
            ("processes.count", 4096.0, "4096"),
            ("orders.per_minute", -12_345.0, "-12.3 k"),
            ("orders.per_minute", 1e-12, "1.00e-12"),
            ("orders.per_minute", 9.2e18, "9.20e18"),
        ] {
            assert_eq!(quantity(metric, value), text, "{metric} {value}");
        }
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(short(-12.34), "-12.3");
    }

    #[test]
    fn no_number_is_too_odd() {
        for value in [f64::NAN, f64::INFINITY, f64::MIN, f64::MIN_POSITIVE] {
            for metric in ["cpu.user", "memory.used", "load.1m"] {
                assert!(!quantity(metric, value).is_empty());
            }
        }
    }
}
