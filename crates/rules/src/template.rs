//! One line for people with a few named places in it. No logic: a summary that needs more is a different rule.

use std::fmt;

/// A place in a template that the alert fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// Name of the resource.
    Resource,
    /// What about it: a metric, a mount point.
    Subject,
    /// The metric.
    Metric,
    /// What was measured.
    Value,
    /// What it was compared with.
    Threshold,
    /// What was expected.
    Expected,
    /// The anomaly score.
    Score,
    /// How it will fail.
    Failure,
    /// How long until then.
    TimeLeft,
}

impl Placeholder {
    const ALL: [Self; 9] = [
        Self::Resource,
        Self::Subject,
        Self::Metric,
        Self::Value,
        Self::Threshold,
        Self::Expected,
        Self::Score,
        Self::Failure,
        Self::TimeLeft,
    ];

    /// As it is written between braces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Subject => "subject",
            Self::Metric => "metric",
            Self::Value => "value",
            Self::Threshold => "threshold",
            Self::Expected => "expected",
            Self::Score => "score",
            Self::Failure => "failure",
            Self::TimeLeft => "time_left",
        }
    }
}

/// A parsed summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Placeholder),
}

impl Template {
    /// Reads a template in which only `allowed` places may occur. `{{` and `}}` are literal braces.
    ///
    /// # Errors
    /// Says which place is unknown or where a brace is missing.
    pub fn parse(text: &str, allowed: &[Placeholder]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..];
            if brace.starts_with("{{") || brace.starts_with("}}") {
                literal.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            if brace.starts_with('}') {
                return Err("`}` without `{`; write `}}` for a brace".into());
            }
            let Some(end) = brace.find('}') else {
                return Err("`{` without `}`; write `{{` for a brace".into());
            };
            let name = &brace[1..end];
            let place = Placeholder::ALL
                .into_iter()
                .find(|place| place.as_str() == name && allowed.contains(place));
            let Some(place) = place else {
                let known: Vec<_> = allowed
                    .iter()
                    .map(|place| format!("{{{}}}", place.as_str()))
                    .collect();
                let name: String = name.chars().take(40).collect();
                return Err(format!(
                    "unknown placeholder `{{{name}}}`, this type knows {}",
                    known.join(", ")
                ));
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Place(place));
            rest = &brace[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// The line, with `fill` giving the text of each place.
    #[must_use]
    pub fn render(&self, fill: impl Fn(Placeholder) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Place(place) => fill(*place),
            })
            .collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(|place| format!("{{{}}}", place.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &[Placeholder] = &[Placeholder::Resource, Placeholder::Value];

    #[test]
    fn places_are_filled_and_braces_can_be_written() {
        let template =
            Template::parse("{resource} {{is}} at {value}%", ALLOWED).expect("it is well formed");
        let line = template.render(|place| match place {
            Placeholder::Resource => "web-01".into(),
            _ => "97".into(),
        });
        assert_eq!(line, "web-01 {is} at 97%");
    }

    #[test]
    fn mistakes_are_named_with_their_remedy() {
        let error = |text| Template::parse(text, ALLOWED).expect_err("it is malformed");
        assert_eq!(
            error("{host}"),
            "unknown placeholder `{host}`, this type knows {resource}, {value}"
        );
        assert_eq!(
            error("{score}"),
            "unknown placeholder `{score}`, this type knows {resource}, {value}"
        );
        assert_eq!(error("a { b"), "`{` without `}`; write `{{` for a brace");
        assert_eq!(error("a } b"), "`}` without `{`; write `}}` for a brace");
    }
}
