//! Numbers and instants as people say them.

use forewarn_store::Timestamp;

/// A span of time in at most two units: `42 min`, `1 h 10 min`, `3 d 4 h`.
pub(crate) fn span(seconds: f64) -> String {
    // More than anybody waits for, and far from what an i64 holds.
    let seconds = seconds.abs().min(1e12).round() as i64;
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let Some(first) = units.iter().position(|(_, length)| seconds >= *length) else {
        return "0 s".to_owned();
    };
    let (unit, length) = units[first];
    let whole = format!("{} {unit}", seconds / length);
    // Seconds beside minutes are noise, except at the very end of a countdown.
    match units.get(first + 1) {
        Some(&(unit, smaller)) if seconds % length >= smaller && (unit != "s" || seconds < 120) => {
            format!("{whole} {} {unit}", seconds % length / smaller)
        }
        _ => whole,
    }
}

/// `2026-11-21 15:47 UTC`, without the day when it is that of `now`.
pub(crate) fn clock(at: Timestamp, now: Timestamp) -> String {
    let (text, today) = (at.to_string(), now.to_string());
    let (day, time) = (&text[..10], &text[11..16]);
    if day == &today[..10] {
        format!("{time} UTC")
    } else {
        format!("{day} {time} UTC")
    }
}

/// `2026-11-21 15:47:18 UTC`
pub(crate) fn instant(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", &text[..10], &text[11..19])
}

/// `1 alert`, `3 alerts`.
pub(crate) fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Words of the code as words of people: `at_risk` is `at risk`.
pub(crate) fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A text as one segment of a path or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte as char);
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_two_units_at_most() {
        for (seconds, expected) in [
            (0.0, "0 s"),
            (0.4, "0 s"),
            (59.0, "59 s"),
            (61.0, "1 min 1 s"),
            (179.0, "2 min"),
            (-2_520.0, "42 min"),
            (4_210.0, "1 h 10 min"),
            (3_610.0, "1 h"),
            (273_600.0, "3 d 4 h"),
            (f64::INFINITY, "11574074 d 1 h"),
        ] {
            assert_eq!(span(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn the_day_is_left_out_when_it_is_today() {
        let now: Timestamp = "2026-11-21T15:47:18.123+00:00".parse().expect("an instant");
        let then: Timestamp = "2026-11-22T00:00:00+00:00".parse().expect("an instant");
        assert_eq!(clock(now, now), "15:47 UTC");
        assert_eq!(clock(then, now), "2026-11-22 00:00 UTC");
        assert_eq!(instant(now), "2026-11-21 15:47:18 UTC");
    }

    #[test]
    fn a_name_stays_within_its_segment() {
        assert_eq!(escaped("a/b?c=d&\"é"), "a%2Fb%3Fc%3Dd%26%22%C3%A9");
    }
}
