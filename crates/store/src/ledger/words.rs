//! What rows say to people: one line each, made from the row's own numbers and nothing else.

use forewarn_messages::{FailurePrediction, Part, SeriesVerdict};
use forewarn_types::FailureKind;
use forewarn_types::quantity::{bytes, quantity, short};

/// Names of an anomaly's largest parts that its summary tells.
const PARTS_TOLD: usize = 3;

/// Takes out what PostgreSQL's text cannot hold: NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `cpu.utilization 97 % (expected 12 %), load.1m 9.1 (expected 0.4)`
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

/// `cpu.utilization 97 % (expected 12 %)`
pub(super) fn series_anomaly(series: &SeriesVerdict) -> String {
    text(&deviation(&series.metric, series.value, series.expected))
}

fn deviation(metric: &str, value: f32, expected: f32) -> String {
    format!(
        "{metric} {} (expected {})",
        quantity(metric, value.into()),
        quantity(metric, expected.into())
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

/// `8.1 GiB used, counts as full at 9.5 GiB, growing by 1.2 MiB/s`
pub(super) fn prediction_why(prediction: &FailurePrediction) -> String {
    let in_bytes = matches!(
        prediction.failure,
        FailureKind::DiskFull | FailureKind::MemoryExhaustion
    );
    let amount = |value: f64| if in_bytes { bytes(value) } else { short(value) };
    let full = match prediction.failure {
        FailureKind::DiskFull => "full",
        _ => "used up",
    };
    let direction = if prediction.slope < 0.0 {
        "shrinking"
    } else {
        "growing"
    };
    format!(
        "{} used, counts as {full} at {}, {direction} by {}/s",
        amount(prediction.used),
        amount(prediction.limit),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_character_never_reaches_the_database() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
    }
}
