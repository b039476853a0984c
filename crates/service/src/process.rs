//! What Prometheus' users expect to know of a process: memory, file descriptors, processor time. From `/proc/self`,
//! at the moment somebody asks.

use std::fs;

/// Ticks per second in `/proc/self/stat`: `USER_HZ`, part of Linux's interface to programs and 100 everywhere.
const TICKS_PER_SECOND: f64 = 100.0;

/// The metrics in Prometheus' text format; what the system does not tell is left out.
pub(crate) fn render() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let metrics = [
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory that is really in RAM.",
            kibibytes(&status, "VmRSS:").map(|size| size * 1024.0),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Memory that is mapped.",
            kibibytes(&status, "VmSize:").map(|size| size * 1024.0),
        ),
        (
            "process_threads",
            "gauge",
            "Threads of the process.",
            kibibytes(&status, "Threads:"),
        ),
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time spent in user and system mode.",
            ticks(&stat, 11)
                .zip(ticks(&stat, 12))
                .map(|(user, system)| user + system),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start of the process since the Unix epoch.",
            started(&stat),
        ),
        (
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            open_files(),
        ),
        (
            "process_max_fds",
            "gauge",
            "How many there may be.",
            open_files_max(),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in metrics {
        if let Some(value) = value {
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            ));
        }
    }
    text
}

/// The number behind a name in `/proc/self/status`.
fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat`, counted from 0 behind the program's name (which may hold spaces), in seconds.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').nth(field)?.parse::<f64>().ok()? / TICKS_PER_SECOND)
}

fn started(stat: &str) -> Option<f64> {
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = kernel
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(booted + ticks(stat, 19)?)
}

#[allow(clippy::cast_precision_loss, reason = "nobody has 2^52 files open")]
fn open_files() -> Option<f64> {
    // Reading the folder opens one itself.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as f64 - 1.0).max(0.0))
}

fn open_files_max() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn all_of_them_are_told_and_plausible() {
        let text = render();
        let value = |name: &str| -> f64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.expect(name).parse().expect(name)
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age} s old");
    }

    #[test]
    fn a_program_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "1 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 4242 1 1";
        assert_eq!(ticks(stat, 11), Some(2.5));
        assert_eq!(ticks(stat, 12), Some(0.5));
        assert_eq!(ticks(stat, 19), Some(42.42));
    }
}
