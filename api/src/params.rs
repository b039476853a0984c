//! Query parameters, read against what the endpoint's own type documents: all mistakes at once, each with its remedy.
//!
//! A parameter that is not known is refused rather than passed over: `?severty=high` must not answer with everything.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::Query;
use axum::http::Uri;
use forewarn_config::nearest;
use forewarn_store::Timestamp;
use forewarn_types::{DEFAULT_TENANT, ResourceKey};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use utoipa::openapi::path::ParameterIn;
use uuid::Uuid;

use crate::page::{Binding, Cursor};
use crate::problem::{Problem, WrongParameter};

/// The longest name that the door lets in, so no longer one can be in the ledger.
const NAME_BYTES_MAX: usize = 1_024;
/// Items of one page at most.
pub(crate) const LIMIT_MAX: i64 = 1_000;
/// Items of one page unless asked otherwise.
const LIMIT: i64 = 100;

/// The query of an endpoint that takes no parameters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NoQuery {}

/// The query of one request.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    binding: Binding,
    wrong: Vec<WrongParameter>,
}

impl Params {
    /// The query of `uri`, of which `T` documents every parameter.
    pub(crate) fn of<T: IntoParams>(uri: &Uri) -> Self {
        let known: Vec<String> = T::into_params(|| Some(ParameterIn::Query))
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        let mut params = Self {
            pairs: Vec::new(),
            binding: Binding::default(),
            wrong: Vec::new(),
        };
        match Query::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Query(pairs)) => params.pairs = pairs,
            Err(_) => params.refuse(
                "query",
                "it cannot be read",
                "write it as name=value&name=value",
            ),
        }
        let names: Vec<String> = params.pairs.iter().map(|(name, _)| name.clone()).collect();
        for (at, name) in names.iter().enumerate() {
            if !known.contains(name) {
                params.refuse(
                    &shown(name),
                    "there is no such parameter here",
                    &remedy(name, &known),
                );
            } else if names[..at].contains(name) && name != TAG {
                params.refuse(name, "it is given twice", "give it once");
            }
        }
        params.binding = Binding::of(uri.path(), &params.pairs);
        params
    }

    /// Everything was understood, or what was not.
    ///
    /// # Errors
    /// A problem that names each parameter.
    pub(crate) fn finish(self) -> Result<Binding, Problem> {
        if self.wrong.is_empty() {
            Ok(self.binding)
        } else {
            Err(Problem::parameters(self.wrong))
        }
    }

    /// Adds a mistake that only the endpoint can see.
    pub(crate) fn refuse(&mut self, name: &str, detail: &str, remedy: &str) {
        self.wrong.push(WrongParameter {
            name: name.to_owned(),
            detail: detail.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    fn raw(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(found, _)| found == name)?;
        Some(value)
    }

    /// A name: of a resource, a metric, a rule.
    pub(crate) fn name(&mut self, name: &str) -> Option<String> {
        let value = self.raw(name)?.to_owned();
        match name_problem(&value) {
            None => Some(value),
            Some(problem) => {
                self.refuse(name, problem, "write the name as it is listed");
                None
            }
        }
    }

    /// A name without which there is no answer.
    pub(crate) fn required_name(&mut self, name: &str) -> String {
        if self.raw(name).is_none() {
            self.refuse(name, "it is missing", &format!("add {name}=…"));
        }
        self.name(name).unwrap_or_default()
    }

    /// The owner whose things are asked for.
    pub(crate) fn tenant(&mut self) -> String {
        self.name("tenant")
            .unwrap_or_else(|| DEFAULT_TENANT.to_owned())
    }

    /// Words out of a closed set, separated by commas; none for all.
    pub(crate) fn words(&mut self, name: &str, known: &[&str]) -> Option<Vec<String>> {
        let value = self.raw(name)?.to_owned();
        let words: Vec<String> = value
            .split(',')
            .map(|word| word.trim().to_owned())
            .collect();
        if let Some(wrong) = words.iter().find(|word| !known.contains(&word.as_str())) {
            let known: Vec<String> = known.iter().map(|word| (*word).to_owned()).collect();
            let detail = format!("`{}` is not one of its words", shown(wrong));
            self.refuse(name, &detail, &remedy(wrong, &known));
            return None;
        }
        Some(words)
    }

    /// One word out of a closed set.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, known: &[(&str, T)], default: T) -> T {
        let Some(value) = self.raw(name).map(str::to_owned) else {
            return default;
        };
        if let Some((_, meaning)) = known.iter().find(|(word, _)| *word == value) {
            return *meaning;
        }
        let known: Vec<String> = known.iter().map(|(word, _)| (*word).to_owned()).collect();
        let detail = format!("`{}` is not one of its words", shown(&value));
        self.refuse(name, &detail, &remedy(&value, &known));
        default
    }

    /// An instant.
    pub(crate) fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let value = self.raw(name)?.to_owned();
        let instant = parse_instant(&value);
        if instant.is_none() {
            let detail = format!("`{}` is not an instant", shown(&value));
            self.refuse(name, &detail, "write it as RFC 3339: 2026-01-31T12:00:00Z");
        }
        instant
    }

    /// `since` and `until`: the first moment in the span and the first after it.
    pub(crate) fn span(&mut self) -> (Option<Timestamp>, Option<Timestamp>) {
        let (since, until) = (self.instant("since"), self.instant("until"));
        if since
            .zip(until)
            .is_some_and(|(since, until)| since >= until)
        {
            self.refuse(
                "until",
                "it is not after `since`",
                "give a later `until`, or an earlier `since`",
            );
        }
        (since, until)
    }

    /// A span of time with its unit.
    pub(crate) fn duration(
        &mut self,
        name: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let value = self.raw(name)?.to_owned();
        let format = forewarn_config::duration::format;
        match forewarn_config::duration::parse(&value) {
            Ok(duration) if range.contains(&duration) => return Some(duration),
            Ok(_) => {
                let (least, most) = (format(*range.start()), format(*range.end()));
                let detail = format!("`{}` is out of range", shown(&value));
                self.refuse(name, &detail, &format!("give {least} to {most}"));
            }
            Err(_) => {
                let detail = format!("`{}` is not a span of time", shown(&value));
                self.refuse(name, &detail, "write it with a unit: 30s, 5m, 1h");
            }
        }
        None
    }

    /// A finite number.
    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.raw(name)?.to_owned();
        let number: Option<f64> = value.parse().ok().filter(|number: &f64| number.is_finite());
        if number.is_none() {
            let detail = format!("`{}` is not a number", shown(&value));
            self.refuse(name, &detail, "write it in digits: 1.5");
        }
        number
    }

    /// How many items a page may hold.
    pub(crate) fn limit(&mut self) -> i64 {
        let Some(value) = self.raw("limit").map(str::to_owned) else {
            return LIMIT;
        };
        match value.parse() {
            Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => limit,
            _ => {
                let detail = format!("`{}` is not a number of items", shown(&value));
                let remedy = format!("give 1 to {LIMIT_MAX}, and follow `next` for more");
                self.refuse("limit", &detail, &remedy);
                LIMIT
            }
        }
    }

    /// Where the page begins; none for the first.
    pub(crate) fn cursor<K: DeserializeOwned>(&mut self) -> Option<K> {
        let value = self.raw("cursor")?.to_owned();
        match Cursor::open(&value, self.binding) {
            Ok(key) => Some(key),
            Err(problem) => {
                self.refuse(
                    "cursor",
                    problem,
                    "give `next` of the page before, with the same other parameters; or begin without",
                );
                None
            }
        }
    }

    /// `tag=key=value`, as often as one likes.
    pub(crate) fn tags(&mut self) -> Vec<(String, String)> {
        let values: Vec<String> = self
            .pairs
            .iter()
            .filter(|(name, _)| name == TAG)
            .map(|(_, value)| value.clone())
            .collect();
        let mut tags = Vec::new();
        for value in values {
            match value.split_once('=') {
                Some((key, text))
                    if name_problem(key).is_none() && text.len() <= NAME_BYTES_MAX =>
                {
                    tags.push((key.to_owned(), text.to_owned()));
                }
                _ => {
                    let detail = format!("`{}` is not a tag", shown(&value));
                    self.refuse(TAG, &detail, "write it as tag=key=value: tag=cpu.mode=user");
                }
            }
        }
        tags
    }
}

/// The one parameter that may be repeated.
const TAG: &str = "tag";

/// Both ends of a span as PostgreSQL reads them.
pub(crate) fn texts(
    (since, until): (Option<Timestamp>, Option<Timestamp>),
) -> (Option<String>, Option<String>) {
    (
        since.map(|at| at.to_string()),
        until.map(|at| at.to_string()),
    )
}

/// An id in a path.
///
/// # Errors
/// A problem that names it.
pub(crate) fn id(name: &str, text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| {
        Problem::parameters(vec![WrongParameter {
            name: name.to_owned(),
            detail: format!("`{}` is not an id", shown(text)),
            remedy: "write it as it is listed: 8-4-4-4-12 hexadecimal digits".to_owned(),
        }])
    })
}

/// A resource in a path, of the tenant that the query names.
///
/// # Errors
/// A problem that says what is wrong with its name.
pub(crate) fn resource(tenant: String, text: String) -> Result<ResourceKey, Problem> {
    match name_problem(&text) {
        None => Ok(ResourceKey {
            tenant,
            resource: text,
        }),
        Some(problem) => Err(Problem::parameters(vec![WrongParameter {
            name: "resource".to_owned(),
            detail: problem.to_owned(),
            remedy: "write the name as it is listed, with a slash in it as %2F".to_owned(),
        }])),
    }
}

fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Some("it is longer than any name here");
    }
    // PostgreSQL cannot hold NUL, and the door lets no control character in.
    name.contains(char::is_control)
        .then_some("it holds control characters")
}

/// RFC 3339 with any offset. A plus that was not escaped arrives as a space, also in instants copied from our answers.
fn parse_instant(text: &str) -> Option<Timestamp> {
    let mended = match text.len().checked_sub(6) {
        Some(at) if text.as_bytes().get(at) == Some(&b' ') => {
            format!("{}+{}", &text[..at], &text[at + 1..])
        }
        _ => text.to_owned(),
    };
    let instant: jiff::Timestamp = mended.parse().ok()?;
    let micros = instant.as_microsecond();
    // Years before 1 cannot be written; nothing is that old.
    let stored = Timestamp::from_micros(micros);
    (stored.micros() == micros).then_some(stored)
}

/// What somebody wrote, short enough to be repeated.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn remedy(word: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "this endpoint takes no parameters".to_owned();
    }
    let all = known.join(", ");
    match nearest(word, known.iter().map(String::as_str)) {
        Some(candidate) => format!("did you mean `{candidate}`? Known are: {all}"),
        None => format!("known are: {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[derive(IntoParams)]
    #[allow(dead_code, reason = "only its description is used")]
    struct Known {
        severity: Option<String>,
        since: Option<String>,
        until: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
        step: Option<String>,
        tag: Option<String>,
        tenant: Option<String>,
        resource: Option<String>,
        min_score: Option<f64>,
    }

    fn params(query: &str) -> Params {
        Params::of::<Known>(&format!("/api/v1/x?{query}").parse().expect("a URI"))
    }

    fn check(query: &str, expected: Expect) {
        let mut params = params(query);
        params.words("severity", crate::words::SEVERITIES);
        params.span();
        params.limit();
        params.cursor::<(i64, Uuid)>();
        params.duration("step", Duration::from_secs(1)..=Duration::from_secs(3_600));
        params.tags();
        params.tenant();
        params.name("resource");
        params.number("min_score");
        let lines: Vec<String> = params
            .wrong
            .iter()
            .map(|wrong| format!("{}: {} -> {}\n", wrong.name, wrong.detail, wrong.remedy))
            .collect();
        expected.assert_eq(&lines.concat());
        assert_eq!(params.finish().is_ok(), lines.is_empty());
    }

    #[test]
    fn what_is_right_is_understood() {
        check(
            "severity=high,critical&since=2026-01-31T12:00:00Z&until=2026-01-31T14:00:00%2B01:00&limit=1000&step=1m\
             &tag=cpu.mode=user&tag=a==b&resource=web%2F01%20%C3%BC&min_score=1.5",
            expect![""],
        );
        let mut given = params("tag=cpu.mode=user&tag=a==b&severity=high,critical");
        assert_eq!(
            given.tags(),
            [
                ("cpu.mode".into(), "user".into()),
                ("a".into(), "=b".into())
            ]
        );
        assert_eq!(
            given.words("severity", crate::words::SEVERITIES),
            Some(vec!["high".into(), "critical".into()])
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_remedy() {
        check(
            "severty=high&severity=hgh&since=yesterday&limit=0&limit=5&step=5&tag=x&resource=&min_score=NaN&cursor=abc",
            expect![[r#"
                severty: there is no such parameter here -> did you mean `severity`? Known are: severity, since, until, limit, cursor, step, tag, tenant, resource, min_score
                limit: it is given twice -> give it once
                severity: `hgh` is not one of its words -> did you mean `high`? Known are: info, low, medium, high, critical
                since: `yesterday` is not an instant -> write it as RFC 3339: 2026-01-31T12:00:00Z
                limit: `0` is not a number of items -> give 1 to 1000, and follow `next` for more
                cursor: it is not a cursor of ours -> give `next` of the page before, with the same other parameters; or begin without
                step: `5` is not a span of time -> write it with a unit: 30s, 5m, 1h
                tag: `x` is not a tag -> write it as tag=key=value: tag=cpu.mode=user
                resource: it is empty -> write the name as it is listed
                min_score: `NaN` is not a number -> write it in digits: 1.5
            "#]],
        );
        check(
            "since=2026-01-31T12:00:00Z&until=2026-01-31T12:00:00Z&step=2h",
            expect![[r#"
                until: it is not after `since` -> give a later `until`, or an earlier `since`
                step: `2h` is out of range -> give 1s to 1h
            "#]],
        );
    }

    #[test]
    fn an_instant_that_was_copied_from_an_answer_is_understood() {
        let expected = "2026-01-31T12:00:00+00:00".parse().ok();
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00+00:00",
            "2026-01-31T12:00:00 00:00",
            "2026-01-31T14:00:00+02:00",
        ] {
            assert_eq!(parse_instant(text), expected, "{text}");
        }
        for text in [
            "",
            "now",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "é 00:00",
            "ééé 0:00",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
