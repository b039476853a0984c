//! `predict`: one look ahead at a metric of one's choice, by the same trend and the same honest interval as the predictor's.
//!
//! It is a look and not a record: it sees one window of a chart, where the predictor watches every limited thing at six
//! resolutions and waits for lasting evidence. What Forewarn itself expects is told by `explain`.

use std::path::PathBuf;
use std::time::Duration;

use forewarn_features::{Combine, FeatureSets};
use forewarn_forecast::history::Point;
use forewarn_forecast::outlook::{Abstain, Outlook, outlook};
use forewarn_rules::{Operator, RuleConfig, RuleSet, failure_of};
use forewarn_store::Timestamp;
use forewarn_types::{DEFAULT_TENANT, Kind, ResourceKey, metric};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Client, read};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table, Tone};
use super::query::{Answered, Ask, Series, series, words as tag_words};
use super::settings::{SettingsArgs, wrong};
use super::times::{now, relative, seconds, short, span, words};
use super::{Cx, plot};

/// Points of a window: enough for a trend and its noise.
const POINTS: f64 = 120.0;

/// Windows are this many horizons long, since a trend sees two and a half of its own lengths ahead at most.
const WINDOWS: u32 = 2;
const WINDOW_LEAST: Duration = Duration::from_secs(15 * 60);

/// Normal deviate of the ninetieth percentile.
const Z90: f64 = 1.281_551_565_545;

/// Look ahead: where a metric is going, and when it reaches its limit
///
/// The limit is what the rules in the settings say of the metric, unless --limit says another. One look at one window:
/// what Forewarn itself expects is told by `forewarn explain RESOURCE`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    forewarn predict web-01 cpu_usage\n  \
    forewarn predict web-01 disk_usage --horizon 7d --limit 0.9 --plot disk.svg")]
pub(crate) struct Predict {
    /// Whose
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// A metric (system.cpu.utilization), a familiar name (cpu_usage) or a metric of a feature set (cpu.utilization)
    #[arg(value_name = "METRIC")]
    metric: String,
    /// How far ahead
    #[arg(long, default_value = "30m", value_parser = span, value_name = "SPAN")]
    horizon: Duration,
    /// The window that the trend is taken from; unset, twice the horizon, and 15m at least
    #[arg(long, value_parser = span, value_name = "SPAN")]
    window: Option<Duration>,
    /// The limit, in the metric's unit (shares are 0 to 1)
    #[arg(long, value_parser = finite, allow_negative_numbers = true, value_name = "VALUE")]
    limit: Option<f64>,
    /// Only series with this tag; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Draw it: a file for any browser
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

fn finite(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok();
    value
        .filter(|value| value.is_finite())
        .ok_or_else(|| "write a number in digits, such as 0.9".to_owned())
}

/// What a metric's name leads to.
#[derive(Debug, PartialEq, Eq)]
struct Meant {
    data: &'static str,
    name: String,
    /// Its name in a feature set, under which rules speak of it.
    feature: Option<String>,
}

/// A limit, and who says so.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Limit {
    pub(super) value: f64,
    pub(super) by: String,
}

/// The outlook of one series.
#[derive(Debug, Serialize)]
pub(super) struct Ahead {
    pub(super) tags: String,
    /// The moment of the last point, from which everything counts.
    pub(super) as_of: Timestamp,
    pub(super) now: f64,
    /// At the horizon: one in ten lower, as likely lower as higher, one in ten higher.
    pub(super) low: f64,
    pub(super) expected: f64,
    pub(super) high: f64,
    pub(super) limit: Option<Limit>,
    pub(super) p10_at: Option<Timestamp>,
    pub(super) p50_at: Option<Timestamp>,
    pub(super) p90_at: Option<Timestamp>,
    /// That the limit is reached within the horizon.
    pub(super) probability: Option<f64>,
    /// Why no crossing is claimed.
    pub(super) reason: Option<&'static str>,
    #[serde(skip)]
    pub(super) points: Vec<(Timestamp, f64)>,
    /// Seconds from the last point on, with what is expected then.
    #[serde(skip)]
    pub(super) cone: Vec<(f64, [f64; 3])>,
}

#[derive(Deserialize)]
struct Resource {
    kind: Kind,
}

impl Predict {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let mut settings = cx.settings(&self.settings)?;
        let sets = settings.made("feature_sets", FeatureSets::extended);
        let rules = settings.made("rules", |rules| RuleSet::for_sets(rules, &sets));
        settings.finish().map_err(|errors| wrong(&errors))?;
        let client = cx.client()?;
        let of = [("resource", self.resource.clone())];
        let found: Vec<Resource> = client.list(&["resources"], &of, 1).await?.read()?;
        let kind = found.first().map_or(Kind::Server, |found| found.kind);
        let key = ResourceKey {
            tenant: DEFAULT_TENANT.to_owned(),
            resource: self.resource.clone(),
        };
        let (meant, answered) = self.history(&client, &sets, kind).await?;
        let limit = match self.limit {
            Some(value) => Some(Limit {
                value,
                by: "--limit".to_owned(),
            }),
            None => meant
                .feature
                .as_deref()
                .and_then(|feature| ruled(&rules, &key, kind, feature)),
        };
        let unit = answered
            .unit
            .clone()
            .or_else(|| unit(&sets, meant.feature.as_deref()));
        let mut all: Vec<Ahead> = answered
            .series
            .iter()
            .filter_map(|series| {
                ahead(
                    series,
                    limit.as_ref(),
                    self.horizon.as_secs_f64(),
                    bounds(&meant.name, unit.as_deref()),
                )
            })
            .collect();
        if all.is_empty() {
            return Err(Failure::not_found(
                format!(
                    "`{}` of `{}` was not measured within the window",
                    self.metric, self.resource
                ),
                "give a longer --window, or see `forewarn health` for whether the resource is silent",
            ));
        }
        // What reaches its limit first comes first.
        all.sort_by(|a, b| {
            let place = |ahead: &Ahead| ahead.p50_at.map_or(i64::MAX, Timestamp::micros);
            place(a)
                .cmp(&place(b))
                .then_with(|| b.expected.total_cmp(&a.expected))
        });
        self.tell(cx, &meant, unit.as_deref(), &all)?;
        if let (Some(path), Some(first)) = (&self.plot, all.first()) {
            let title = format!("{}  {}  {}", self.resource, meant.name, first.tags);
            let drawing = plot::draw(title.trim_end(), first, unit.as_deref());
            std::fs::write(path, drawing).map_err(|error| {
                Failure::new(
                    Code::Refused,
                    format!("{} cannot be written: {error}", path.display()),
                    "name a file in a folder that is there, and that this user may write",
                )
            })?;
            let which = if all.len() > 1 {
                format!(" ({})", first.tags)
            } else {
                String::new()
            };
            cx.out
                .say(&format!("the drawing{which} is in {}", path.display()));
        }
        Ok(Answer::Yes)
    }

    /// The window behind the look, as what the name most likely means.
    async fn history(
        &self,
        client: &Client,
        sets: &FeatureSets,
        kind: Kind,
    ) -> Result<(Meant, Answered), Failure> {
        let window = self
            .window
            .unwrap_or_else(|| self.horizon.saturating_mul(WINDOWS).max(WINDOW_LEAST));
        let until = now();
        let since = super::times::Moment::Ago(window).from(until);
        let step = (window.as_secs_f64() / POINTS).max(1.0).round();
        let mut ask = Ask {
            data: String::new(),
            metric: None,
            since,
            until,
            step: Some(Duration::from_secs_f64(step.min(7.0 * 86_400.0))),
            aggregate: "mean".to_owned(),
            tags: self.tag.clone(),
        };
        let first = meaning(sets, kind, &self.metric);
        let samples = Meant {
            data: "samples",
            name: metric::canonical(&self.metric).to_owned(),
            feature: first.feature.clone(),
        };
        if first.data == "features" {
            (ask.data, ask.metric) = (first.data.to_owned(), Some(first.name.clone()));
            match series(client, &self.resource, &ask).await {
                Ok(text) => {
                    let answered: Answered = read(text.get())?;
                    if !answered.series.is_empty() {
                        return Ok((first, answered));
                    }
                }
                // Perhaps it is measured, and nobody makes features of it.
                Err(failure) if failure.is(Code::NotFound) => {}
                Err(failure) => return Err(failure),
            }
        }
        (ask.data, ask.metric) = (samples.data.to_owned(), Some(samples.name.clone()));
        let text = series(client, &self.resource, &ask).await?;
        Ok((samples, read(text.get())?))
    }

    fn tell(
        &self,
        cx: &Cx,
        meant: &Meant,
        unit: Option<&str>,
        all: &[Ahead],
    ) -> Result<(), Failure> {
        match cx.out.form() {
            Form::Json => cx.out.document(&json!({
                "resource": self.resource,
                "metric": meant.name,
                "data": meant.data,
                "unit": unit,
                "horizon_seconds": self.horizon.as_secs_f64(),
                "items": all,
            })),
            Form::Plain => {
                let mut table = Table::default();
                let optional = |at: Option<Timestamp>| {
                    Cell::new(at.map(|at| at.to_string()).unwrap_or_default())
                };
                for one in all {
                    table.row([
                        Cell::new(&one.tags),
                        Cell::new(one.now.to_string()),
                        Cell::new(one.low.to_string()),
                        Cell::new(one.expected.to_string()),
                        Cell::new(one.high.to_string()),
                        Cell::new(
                            one.limit
                                .as_ref()
                                .map(|limit| limit.value.to_string())
                                .unwrap_or_default(),
                        ),
                        optional(one.p10_at),
                        optional(one.p50_at),
                        optional(one.p90_at),
                        Cell::new(one.probability.map(|p| p.to_string()).unwrap_or_default()),
                        Cell::new(one.reason.unwrap_or_default()),
                    ]);
                }
                cx.out.table(&table)
            }
            Form::Table => {
                for one in all {
                    self.paragraph(cx, meant, unit, one)?;
                }
                Ok(())
            }
        }
    }

    fn paragraph(
        &self,
        cx: &Cx,
        meant: &Meant,
        unit: Option<&str>,
        one: &Ahead,
    ) -> Result<(), Failure> {
        let now = now();
        let value = |value: f64| plot::value(value, unit);
        cx.out.line(&format!(
            "{}  {}  {}",
            cx.out.paint(Tone::Strong, &self.resource),
            cx.out.paint(Tone::Strong, &meant.name),
            cx.out.paint(Tone::Dim, &one.tags)
        ))?;
        let age = seconds(one.as_of, now);
        let old = if age > 120.0 {
            format!("  (measured {} ago)", words(age))
        } else {
            String::new()
        };
        let mut lines = vec![
            ("now".to_owned(), format!("{}{old}", value(one.now))),
            (
                format!("in {}", words(self.horizon.as_secs_f64())),
                format!(
                    "{} ({} to {}; four times in five)",
                    value(one.expected),
                    value(one.low),
                    value(one.high)
                ),
            ),
        ];
        let crossing = match (&one.limit, one.p50_at) {
            (None, _) => "no rule has a limit for it; --limit gives one".to_owned(),
            (Some(limit), None) => format!(
                "{} ({}): {}",
                value(limit.value),
                limit.by,
                one.reason
                    .unwrap_or("not crossed as far as the trend can see")
            ),
            (Some(limit), Some(p50)) => {
                let earliest = one
                    .p10_at
                    .map_or(String::new(), |at| words(seconds(now, at).max(0.0)));
                let latest = one
                    .p90_at
                    .map_or("later than the trend can see".to_owned(), |at| {
                        words(seconds(now, at))
                    });
                format!(
                    "{} ({}): crossed {} ({earliest} to {latest}), at {}; {:.0} % likely within {}",
                    value(limit.value),
                    limit.by,
                    relative(p50, now),
                    short(p50),
                    100.0 * one.probability.unwrap_or(0.0),
                    words(self.horizon.as_secs_f64())
                )
            }
        };
        lines.push(("limit".to_owned(), crossing));
        for (name, text) in lines {
            cx.out.line(&format!(
                "  {}{text}",
                cx.out.paint(Tone::Dim, &format!("{name:<12}"))
            ))?;
        }
        Ok(())
    }
}

/// What a name leads to: a metric of the resource's feature sets where there is one, since that is what is judged. What is
/// the greatest of several things is looked at thing by thing.
fn meaning(sets: &FeatureSets, kind: Kind, name: &str) -> Meant {
    let canonical = metric::canonical(name);
    let metrics = || sets.for_kind(kind).flat_map(|set| &set.metrics);
    if let Some(metric) = metrics().find(|metric| metric.name == name) {
        return Meant {
            data: "features",
            name: metric.name.clone(),
            feature: Some(metric.name.clone()),
        };
    }
    match metrics().find(|metric| metric.operand.from == canonical && metric.over.is_none()) {
        Some(metric) if metric.operand.combine != Combine::Max => Meant {
            data: "features",
            name: metric.name.clone(),
            feature: Some(metric.name.clone()),
        },
        found => Meant {
            data: "samples",
            name: canonical.to_owned(),
            feature: found.map(|metric| metric.name.clone()),
        },
    }
}

fn unit(sets: &FeatureSets, feature: Option<&str>) -> Option<String> {
    let feature = feature?;
    let metrics = sets.all().iter().flat_map(|set| &set.metrics);
    metrics
        .into_iter()
        .find(|metric| metric.name == feature)
        .map(|metric| metric.unit.clone())
}

/// The lowest limit that a rule has for this metric of this resource.
fn ruled(rules: &RuleSet, key: &ResourceKey, kind: Kind, feature: &str) -> Option<Limit> {
    let said = rules
        .rules()
        .iter()
        .filter(|rule| rule.matches(key, kind))
        .filter_map(|rule| {
            let value = match rule.config() {
                RuleConfig::Threshold(config)
                    if config.metric == feature
                        && !config.rate
                        && matches!(config.operator, Operator::Above | Operator::AtLeast) =>
                {
                    config.value
                }
                RuleConfig::FailurePrediction(config)
                    if failure_of(feature).is_some_and(|failure| config.covers(failure)) =>
                {
                    config.reached
                }
                _ => return None,
            };
            Some(Limit {
                value,
                by: format!("rule {}", rule.name()),
            })
        });
    said.reduce(|a, b| if b.value < a.value { b } else { a })
}

/// What a level cannot leave: a used share is between nothing and all, any other share is not below nothing.
fn bounds(metric: &str, unit: Option<&str>) -> (f64, f64) {
    match unit {
        Some("1") if metric.ends_with(".utilization") => (0.0, 1.0),
        Some("1") => (0.0, f64::INFINITY),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// The outlook of a series; none without any point.
fn ahead(
    series: &Series,
    limit: Option<&Limit>,
    horizon: f64,
    bounds: (f64, f64),
) -> Option<Ahead> {
    let (first, last) = (series.points.first()?.ts, series.points.last()?.ts);
    let points: Vec<Point> = series
        .points
        .iter()
        .map(|point| Point {
            at: seconds(first, point.ts),
            level: point.value,
        })
        .collect();
    let judged = limit.map(|limit| outlook(&points, limit.value));
    let crossing: Option<&Outlook> = judged.as_ref().and_then(|judged| judged.as_ref().ok());
    let course = Course::of(&points, limit.map(|limit| limit.value).zip(crossing));
    let at = |seconds: f64| course.at(seconds, bounds);
    let cone = (0..=40_u8)
        .map(|k| f64::from(k) / 40.0 * horizon)
        .map(|s| (s, at(s)))
        .collect();
    let [low, expected, high] = at(horizon);
    let moment = |seconds: Option<f64>| seconds.and_then(|seconds| last.plus_seconds(seconds));
    let reason = match &judged {
        Some(Err(abstain)) => Some(in_words(*abstain, points.len())),
        _ => None,
    };
    let mut tags = series.tags.clone();
    // They tell of the set, which the metric's name does already.
    tags.remove("feature_set");
    tags.remove("step_ms");
    Some(Ahead {
        tags: tag_words(&tags),
        as_of: last,
        now: course.now,
        low,
        expected,
        high,
        limit: limit.cloned(),
        p10_at: moment(crossing.map(|outlook| outlook.p10)),
        p50_at: moment(crossing.map(|outlook| outlook.p50)),
        p90_at: moment(crossing.and_then(|outlook| outlook.p90)),
        probability: crossing.map(|outlook| outlook.probability(horizon)),
        reason,
        points: series
            .points
            .iter()
            .map(|point| (point.ts, point.value))
            .collect(),
        cone,
    })
}

/// Where a level is going.
struct Course {
    now: f64,
    /// Up or down.
    sign: f64,
    trend: Option<Outlook>,
    /// Without a trend it stays within this of where it is.
    spread: f64,
}

impl Course {
    fn of(points: &[Point], crossing: Option<(f64, &Outlook)>) -> Self {
        if let Some((limit, outlook)) = crossing {
            return Self {
                now: limit - outlook.distance(),
                sign: 1.0,
                trend: Some(*outlook),
                spread: 0.0,
            };
        }
        for sign in [1.0, -1.0] {
            let turned: Vec<Point> = points
                .iter()
                .map(|point| Point {
                    at: point.at,
                    level: sign * point.level,
                })
                .collect();
            if let Some((now, outlook)) = trend(&turned) {
                return Self {
                    now: sign * now,
                    sign,
                    trend: Some(outlook),
                    spread: 0.0,
                };
            }
        }
        let recent = &points[points.len() - points.len().div_ceil(4)..];
        let now = median(recent.iter().map(|point| point.level));
        let spread = Z90 * 1.4826 * median(points.iter().map(|point| (point.level - now).abs()));
        Self {
            now,
            sign: 1.0,
            trend: None,
            spread,
        }
    }

    /// Lower, expected and higher level after so many seconds.
    fn at(&self, seconds: f64, (least, most): (f64, f64)) -> [f64; 3] {
        let [low, middle, high] = match &self.trend {
            Some(outlook) => outlook.growth(seconds),
            None => [-self.spread, 0.0, self.spread],
        };
        let mut levels = [low, middle, high].map(|growth| self.now + self.sign * growth);
        levels.sort_by(f64::total_cmp);
        // What has been measured beyond is believed.
        let (least, most) = (least.min(self.now), most.max(self.now));
        levels.map(|level| level.clamp(least, most))
    }
}

/// The trend of a climb without any limit: towards what it reaches after one more window at its pace.
fn trend(points: &[Point]) -> Option<(f64, Outlook)> {
    let third = points.len() / 3;
    if third == 0 {
        return None;
    }
    let mean = |points: &[Point]| {
        points.iter().map(|point| point.level).sum::<f64>() / points.len() as f64
    };
    let end = mean(&points[points.len() - third..]);
    let rise = end - mean(&points[..third]);
    let limit = end + 2.0 * rise;
    let outlook = outlook(points, limit).ok()?;
    Some((limit - outlook.distance(), outlook))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Points without which no window has a trend.
const POINTS_LEAST: usize = 20;

const fn in_words(abstain: Abstain, points: usize) -> &'static str {
    match abstain {
        Abstain::TooFew if points < POINTS_LEAST => {
            "too few points for a trend; give a longer --window"
        }
        // Restart or mere noise: what has just fallen has not climbed since.
        Abstain::TooFew => "no trend since its last great fall; a longer --window may show one",
        Abstain::NotClimbing => "it does not climb beyond its own noise",
        Abstain::Plateau => "it has climbed and all but stopped",
        Abstain::TooFar => "further ahead than this window can see; give a longer --window",
        Abstain::Reached => "it is reached already",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_what_is_judged() {
        let sets = FeatureSets::standard();
        let meant = |name| {
            let meant = meaning(&sets, Kind::Server, name);
            (meant.data, meant.name, meant.feature)
        };
        let cpu = (
            "features",
            "cpu.utilization".to_owned(),
            Some("cpu.utilization".to_owned()),
        );
        for name in ["cpu_usage", "system.cpu.utilization", "cpu.utilization"] {
            assert_eq!(meant(name), cpu);
        }
        assert_eq!(
            meant("disk_usage"),
            (
                "samples",
                "system.filesystem.utilization".to_owned(),
                Some("filesystem.utilization".to_owned())
            )
        );
        assert_eq!(meant("orders"), ("samples", "orders".to_owned(), None));
    }

    #[test]
    fn the_course_follows_climbs_and_falls_and_stays_otherwise() {
        let wave = |k: u32| 0.002 * f64::from(k * 7 % 5);
        let points = |slope: f64| -> Vec<Point> {
            (0..120)
                .map(|k| Point {
                    at: f64::from(k) * 10.0,
                    level: 0.5 + slope * f64::from(k) + wave(k),
                })
                .collect()
        };
        for slope in [0.002, -0.002] {
            let [low, middle, high] = Course::of(&points(slope), None).at(600.0, (0.0, 1.0));
            let expected = 0.5 + slope * 180.0;
            assert!(
                (middle - expected).abs() < 0.03,
                "{middle} is not {expected}"
            );
            assert!(low < middle && middle < high);
        }
        let [low, middle, high] = Course::of(&points(0.0), None).at(600.0, (0.0, 1.0));
        assert!((middle - 0.504).abs() < 0.005, "{middle}");
        assert!(low <= middle && middle <= high && high - low < 0.05);
        let few = [Point {
            at: 0.0,
            level: 1.0,
        }];
        assert_eq!(
            Course::of(&few, None).at(60.0, (0.0, f64::INFINITY)),
            [1.0; 3]
        );
    }
}
