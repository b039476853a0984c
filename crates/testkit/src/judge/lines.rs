//! Tables against the reference, as text: one line per row, equal tables, equal lines.

use std::collections::BTreeMap;

use super::Report;

/// Compares two sets of lines, whatever their order. A line's first word names its table.
#[must_use]
pub fn lines(expected: &str, actual: &str) -> Report {
    let mut report = Report::default();
    let mut balance: BTreeMap<&str, i64> = BTreeMap::new();
    for line in expected.lines() {
        *balance.entry(line).or_default() += 1;
    }
    let mut agreed: BTreeMap<&str, u64> = BTreeMap::new();
    for line in actual.lines() {
        let left = balance.entry(line).or_default();
        *left -= 1;
        if *left >= 0 {
            *agreed.entry(table(line)).or_default() += 1;
        }
    }
    // A row that differs shows as one line missing and one too many; beside each other they tell what differs.
    let missing: Vec<&str> = balance
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(line, _)| *line)
        .collect();
    let mut surplus: Vec<&str> = balance
        .iter()
        .filter(|(_, count)| **count < 0)
        .map(|(line, _)| *line)
        .collect();
    for line in missing {
        // Rows begin with their key, so the row that should be this one is the one that begins alike.
        let twin = surplus
            .iter()
            .position(|other| common(line, other) >= KEY_BYTES);
        match twin.map(|at| surplus.remove(at)) {
            Some(other) => report.differ(|| {
                let from = common(line, other).saturating_sub(30);
                format!(
                    "{}: …{} instead of …{}",
                    cut(line, 0, 90),
                    cut(other, from, 120),
                    cut(line, from, 120)
                )
            }),
            None => report.differ(|| format!("missing: {}", cut(line, 0, 300))),
        }
    }
    for line in surplus {
        report.differ(|| format!("not in the reference: {}", cut(line, 0, 300)));
    }
    for (table, count) in agreed {
        report.agree(format!("rows of {table}"), count);
    }
    report
}

/// Lines that agree in this many bytes have the same table and the same id.
const KEY_BYTES: usize = 60;

fn table(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

fn cut(line: &str, from: usize, length: usize) -> String {
    String::from_utf8_lossy(&line.as_bytes()[from.min(line.len())..(from + length).min(line.len())])
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u32, rest: &str) -> String {
        format!(
            "anomalies {{\"anomaly_id\":\"00000000-0000-8000-8000-0000{id:08}\",\"pad\":\"xxxxxx\",\"rest\":\"{rest}\"}}\n"
        )
    }

    #[test]
    fn order_does_not_matter_and_every_row_counts_once() {
        let (a, b) = (row(1, "a"), row(2, "b"));
        let report = lines(&format!("{a}{b}"), &format!("{b}{a}"));
        assert!(report.is_clean());
        assert_eq!(report.agreed("rows of anomalies"), 2);
        assert!(
            lines(&a, &format!("{a}{a}"))
                .to_string()
                .contains("not in the reference: anomalies")
        );
        assert!(
            lines(&format!("{a}{b}"), &b)
                .to_string()
                .contains("missing: anomalies")
        );
    }

    #[test]
    fn a_row_with_another_value_is_one_difference_that_shows_both() {
        let report = lines(&row(1, "right"), &row(1, "wrong")).to_string();
        assert!(report.contains("1 differences"), "{report}");
        assert!(
            report.contains("wrong") && report.contains("right"),
            "{report}"
        );
    }
}
