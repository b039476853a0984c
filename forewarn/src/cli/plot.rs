//! A look ahead as a drawing: history, cone and limit, in a file that any browser shows, on light and dark grounds alike.

use std::fmt::Write as _;

use forewarn_store::Timestamp;

use super::predict::Ahead;
use super::times::seconds;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
/// Left, right, top and bottom of the field.
const FIELD: (f64, f64, f64, f64) = (76.0, 820.0, 48.0, 336.0);

/// Colours that stand out from white and from near-black, with their names for both.
const STYLE: &str = "\
    svg{--ground:#fff;--ink:#1f2328;--dim:#59636e;--line:#d1d9e0;--data:#0969da;--limit:#cf222e}\
    @media(prefers-color-scheme:dark){svg{--ground:#0d1117;--ink:#e6edf3;--dim:#9198a1;--line:#3d444d;--data:#58a6ff;\
    --limit:#ff7b72}}\
    text{font:12px system-ui,sans-serif;fill:var(--dim)}.title{font-size:15px;fill:var(--ink)}\
    .grid{stroke:var(--line);stroke-width:1}.history{fill:none;stroke:var(--data);stroke-width:1.5}\
    .cone{fill:var(--data);opacity:.22}.expected{fill:none;stroke:var(--data);stroke-width:1.5;stroke-dasharray:5 4}\
    .limit{stroke:var(--limit);stroke-width:1.5}.said{fill:var(--limit)}.now{stroke:var(--dim);stroke-dasharray:2 3}";

/// Draws a look ahead.
pub(super) fn draw(title: &str, ahead: &Ahead, unit: Option<&str>) -> String {
    let begin = ahead.points.first().map_or(ahead.as_of, |(at, _)| *at);
    let past = seconds(begin, ahead.as_of);
    let horizon = ahead.cone.last().map_or(1.0, |(at, _)| *at);
    let (left, right, top, bottom) = FIELD;
    let whole = (past + horizon).max(1.0);
    let (least, most) = range(ahead);
    let x = |at: f64| left + (right - left) * ((past + at) / whole).clamp(0.0, 1.0);
    let y =
        |value: f64| bottom - (bottom - top) * ((value - least) / (most - least)).clamp(0.0, 1.0);
    let path = |points: &mut dyn Iterator<Item = (f64, f64)>| {
        points.fold(String::new(), |mut path, (at, value)| {
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if path.is_empty() { 'M' } else { 'L' },
                x(at),
                y(value)
            );
            path
        })
    };

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-label=\"{0}\"><style>{STYLE}</style><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         style=\"fill:var(--ground)\"/><text class=\"title\" x=\"{left}\" y=\"28\">{0}</text>\n",
        escape(title)
    );
    for k in 0..=4 {
        let level = least + (most - least) * f64::from(k) / 4.0;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text x=\"{1}\" y=\"{2:.1}\" \
             text-anchor=\"end\">{3}</text>",
            y(level),
            left - 8.0,
            y(level) + 4.0,
            escape(&value(level, unit))
        );
    }
    for k in 0..=5 {
        let at = -past + whole * f64::from(k) / 5.0;
        let moment = ahead.as_of.plus_seconds(at).unwrap_or(ahead.as_of);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(at),
            bottom + 20.0,
            label(moment, whole)
        );
    }
    let upper = ahead.cone.iter().map(|(at, [_, _, high])| (*at, *high));
    let lower = ahead.cone.iter().rev().map(|(at, [low, _, _])| (*at, *low));
    let _ = writeln!(
        svg,
        "<path class=\"cone\" d=\"{}Z\"/>",
        path(&mut upper.chain(lower))
    );
    let expected = &mut ahead.cone.iter().map(|(at, [_, middle, _])| (*at, *middle));
    let _ = writeln!(svg, "<path class=\"expected\" d=\"{}\"/>", path(expected));
    let history = &mut ahead
        .points
        .iter()
        .map(|(at, value)| (seconds(ahead.as_of, *at), *value));
    let _ = writeln!(svg, "<path class=\"history\" d=\"{}\"/>", path(history));
    let _ = writeln!(
        svg,
        "<line class=\"now\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>",
        x(0.0)
    );
    if let Some(limit) = &ahead.limit {
        let _ = writeln!(
            svg,
            "<line class=\"limit\" x1=\"{left}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text class=\"said\" \
             x=\"{1}\" y=\"{2:.1}\">limit {3} ({4})</text>",
            y(limit.value),
            left + 6.0,
            y(limit.value) - 5.0,
            escape(&value(limit.value, unit)),
            escape(&limit.by)
        );
        if let Some(p50) = ahead
            .p50_at
            .map(|at| seconds(ahead.as_of, at))
            .filter(|at| *at <= horizon)
        {
            let _ = writeln!(
                svg,
                "<circle class=\"said\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                x(p50),
                y(limit.value)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// From below everything that is drawn to above it. A cone without bounds does not press the rest flat.
fn range(ahead: &Ahead) -> (f64, f64) {
    let history = ahead.points.iter().map(|(_, value)| *value);
    let limit = ahead.limit.iter().map(|limit| limit.value);
    let known = history
        .chain(limit)
        .chain([ahead.expected, ahead.now])
        .filter(|value| value.is_finite());
    let (least, most) = known.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    );
    if !least.is_finite() {
        return (0.0, 1.0);
    }
    let span = (most - least).max(most.abs() * 1e-3).max(1e-9);
    let (least, most) = (
        least.min(ahead.low.max(least - span)),
        most.max(ahead.high.min(most + span)),
    );
    let margin = 0.06 * (most - least).max(span);
    // What has never been below nothing is not drawn below it.
    let floor = if least >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    ((least - margin).max(floor), most + margin)
}

/// A moment on the axis, as fine as its span needs.
fn label(at: Timestamp, whole: f64) -> String {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    if whole < 600.0 {
        part(11, 19).to_owned()
    } else if whole < 2.0 * 86_400.0 {
        format!("{} UTC", part(11, 16))
    } else {
        format!("{} {}", part(5, 10), part(11, 16))
    }
}

/// A value in its unit, for people.
pub(super) fn value(value: f64, unit: Option<&str>) -> String {
    match unit {
        Some("1") => format!("{:.1} %", 100.0 * value),
        Some(unit @ ("By" | "By/s")) => {
            let names = ["B", "kB", "MB", "GB", "TB", "PB"];
            let mut scaled = value;
            let mut at = 0;
            while scaled.abs() >= 1_000.0 && at + 1 < names.len() {
                scaled /= 1_000.0;
                at += 1;
            }
            format!("{scaled:.1} {}{}", names[at], unit.trim_start_matches("By"))
        }
        other => {
            let digits = if value.abs() >= 1_000.0 {
                0
            } else if value.abs() >= 10.0 {
                1
            } else {
                3
            };
            let unit = other
                .map(|unit| format!(" {}", unit.trim_matches(['{', '}'])))
                .unwrap_or_default();
            format!("{value:.digits$}{unit}")
        }
    }
}

fn escape(text: &str) -> String {
    super::output::clean(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::predict::Limit;

    #[test]
    fn a_drawing_is_well_formed_whatever_its_title_says() {
        let as_of = Timestamp::from_micros(1_800_000_000_000_000);
        let at = |seconds: f64| as_of.plus_seconds(seconds).expect("an instant");
        let ahead = Ahead {
            tags: String::new(),
            as_of,
            now: 0.6,
            low: 0.7,
            expected: 0.9,
            high: f64::INFINITY,
            limit: Some(Limit {
                value: 0.95,
                by: "rule <x>".into(),
            }),
            p10_at: None,
            p50_at: Some(at(900.0)),
            p90_at: None,
            probability: Some(0.5),
            reason: None,
            points: (0..60)
                .map(|k| (at(f64::from(k - 59) * 10.0), 0.01 * f64::from(k)))
                .collect(),
            cone: vec![(0.0, [0.6; 3]), (900.0, [0.7, 0.9, f64::INFINITY])],
        };
        let svg = draw("<script>&\"\x1b", &ahead, Some("1"));
        assert!(
            !svg.contains("<script>") && !svg.contains("NaN") && !svg.contains("inf"),
            "{svg}"
        );
        // Every element is closed, in order.
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("it ends");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().expect("a name")),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn values_are_said_in_their_unit() {
        assert_eq!(value(0.655, Some("1")), "65.5 %");
        assert_eq!(value(8.7e9, Some("By")), "8.7 GB");
        assert_eq!(value(1_500.0, Some("By/s")), "1.5 kB/s");
        assert_eq!(value(12.34, Some("{thread}")), "12.3 thread");
        assert_eq!(value(0.1234, None), "0.123");
    }
}
