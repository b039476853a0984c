//! What rows say to people: one line each, made from the row's own numbers and nothing else.

use forewarn_messages::{FailurePrediction, Part, SeriesVerdict};
use forewarn_types::FailureKind;

/// Names of an anomaly's largest parts that its summary tells.
const PARTS_TOLD: usize = 3;

/// Takes out what PostgreSQL's text cannot hold: NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `cpu.utilization 0.97 (expected 0.12), load.1m 9.1 (expected 0.4)`
pub(super) fn resource_anomaly(parts: &[Part]) -> String {
    if parts.is_empty() {
        return "unusual as a whole".to_owned();
    }
    let told = parts
        .iter()
        .take(PARTS_TOLD)
        .map(|part| deviation(&part.metric, part.value, part.expected));
    let mut summary = text(&told.collect::<Vec<_>>().join(", "));
    if parts.len() > PARTS_TOLD {
        summary.push_str(&format!(" and {} more", parts.len() - PARTS_TOLD));
    }
    summary
}

/// `cpu.utilization 0.97 (expected 0.12)`
pub(super) fn series_anomaly(series: &SeriesVerdict) -> String {
    text(&deviation(&series.metric, series.value, series.expected))
}

fn deviation(metric: &str, value: f32, expected: f32) -> String {
    format!(
        "{metric} {} (expected {})",
        short(value.into()),
        short(expected.into())
    )
}

/// `disk /data of web-01 fills up`
pub(super) fn prediction_title(prediction: &FailurePrediction) -> String {
    let (resource, subject) = (&prediction.resource.resource, &prediction.subject);
    text(&match prediction.failure {
        FailureKind::DiskFull => format!("disk {subject} of {resource} fills up"),
        FailureKind::MemoryExhaustion => format!("{resource} runs out of memory"),
        FailureKind::ConnectionExhaustion => {
            format!("{resource} runs out of connections ({subject})")
        }
        FailureKind::FileDescriptorExhaustion => format!("{resource} runs out of file descriptors"),
    })
}

/// `8.1 GiB of 10 GiB used (81 %), growing by 1.2 MiB/s`
pub(super) fn prediction_why(prediction: &FailurePrediction) -> String {
    let bytes = matches!(
        prediction.failure,
        FailureKind::DiskFull | FailureKind::MemoryExhaustion
    );
    let amount = |value: f64| if bytes { size(value) } else { short(value) };
    let share = 100.0 * prediction.used / prediction.limit;
    let direction = if prediction.slope < 0.0 {
        "shrinking"
    } else {
        "growing"
    };
    format!(
        "{} of {} used ({} %), {direction} by {}/s",
        amount(prediction.used),
        amount(prediction.limit),
        short(share),
        amount(prediction.slope.abs())
    )
}

/// What to do first about a failure of this kind.
pub(super) fn first_action(prediction: &FailurePrediction) -> String {
    let subject = &prediction.subject;
    text(&match prediction.failure {
        FailureKind::DiskFull => format!("find what grows: du -xh {subject} | sort -h | tail; then free or add space"),
        FailureKind::MemoryExhaustion => "find what grows: ps aux --sort=-rss | head; then restart it or add memory".into(),
        FailureKind::ConnectionExhaustion => {
            "find who holds connections without using them; then close these or raise the limit".into()
        }
        FailureKind::FileDescriptorExhaustion => {
            "find who holds them: lsof -n | cut -d' ' -f1 | sort | uniq -c | sort -n | tail; then restart it or raise fs.file-max".into()
        }
    })
}

/// Three significant digits, as people say numbers.
fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = 2 - value.abs().log10().floor().clamp(-30.0, 30.0) as i32;
    if !(-6..=9).contains(&digits) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `8.1 GiB`
fn size(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value.abs() < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", short(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_with_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.123_456, "0.123"),
            (0.5, "0.5"),
            (-12.34, "-12.3"),
            (1234.5, "1234"),
            (1e-12, "1.00e-12"),
            (9.2e18, "9.20e18"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(size(8.7e9), "8.1 GiB");
        assert_eq!(size(0.0), "0 B");
    }

    #[test]
    fn a_null_character_never_reaches_the_database() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
    }
}
