//! `models`: those that judge, how they were made, and the way back.

use forewarn_store::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::Cx;
use super::client::{Client, Listing, PAGE};
use super::names::{ensure_resource, remedy};
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::{Cell, Form, Table, Tone, clean};
use super::rollback::Rollback;
use super::times::{now, relative, short};

/// The models that judge, how they were made, and the way back
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Models {
    /// List the models that judge now
    List(List),
    /// Show how a model was made, and how good it is
    Show(Show),
    /// Have the model before judge again
    Rollback(Box<Rollback>),
}

/// List the models that judge now
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only of this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Every training, the latest first, whatever came of it
    #[arg(long)]
    all: bool,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    limit: u32,
}

/// Show how a model was made, and how good it is
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The id of a training or a model's digest, or the first six letters of them; or a resource, for the model that judges it
    #[arg(value_name = "MODEL")]
    model: String,
}

#[derive(Deserialize)]
struct Judging {
    resource: String,
    feature_set: String,
    model: String,
    digest: String,
    auroc: Option<f64>,
    judges_since: Option<Timestamp>,
    steps: i64,
    run_id: String,
}

#[derive(Deserialize)]
struct Run {
    run_id: String,
    resource: String,
    feature_set: String,
    model: String,
    state: String,
    digest: Option<String>,
    reason: Option<String>,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    data_from: Option<Timestamp>,
    data_to: Option<Timestamp>,
    steps: i64,
    quarantined_steps: i64,
    parameters: Value,
    code_version: String,
    scores: Value,
}

impl Models {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        match self {
            Self::List(list) => list.run(cx).await,
            Self::Show(show) => show.run(cx).await,
            Self::Rollback(rollback) => rollback.run(cx).await,
        }
    }
}

impl List {
    async fn run(self, cx: &Cx) -> Outcome {
        let client = cx.server()?;
        let query: Vec<_> = self
            .resource
            .clone()
            .map(|name| ("resource", name))
            .into_iter()
            .collect();
        let path: &[&str] = if self.all {
            &["models", "runs"]
        } else {
            &["models"]
        };
        let listing = client.list(path, &query, self.limit as usize).await?;
        if listing.items.is_empty()
            && let Some(resource) = &self.resource
        {
            ensure_resource(&client, resource).await?;
        }
        if cx.out.form() == Form::Json {
            cx.out.document(&listing)?;
            return Ok(Answer::Yes);
        }
        let table = if self.all {
            trainings(&listing)?
        } else {
            judging(&listing)?
        };
        if table.is_empty() {
            cx.out
                .say("no model; the online detectors judge alone until one is trained");
        } else {
            cx.out.table(&table)?;
        }
        if listing.next.is_some() {
            cx.out.say(&format!(
                "there are more than {}; --limit shows more of them",
                self.limit
            ));
        }
        Ok(Answer::Yes)
    }
}

fn judging(listing: &Listing) -> Result<Table, Failure> {
    let now = now();
    let mut table = Table::new([
        "RESOURCE",
        "FEATURES",
        "MODEL",
        "DIGEST",
        "AUROC",
        "STEPS",
        "JUDGES SINCE",
        "TRAINING",
    ])
    .right([4, 5]);
    for one in listing.read::<Judging>()? {
        table.row([
            Cell::new(one.resource),
            Cell::new(one.feature_set),
            Cell::new(one.model),
            digest(Some(&one.digest)),
            number(one.auroc),
            Cell::new(one.steps.to_string()),
            one.judges_since.map_or(Cell::new(""), |at| {
                Cell::two(relative(at, now), at.to_string())
            }),
            Cell::id(one.run_id),
        ]);
    }
    Ok(table)
}

fn trainings(listing: &Listing) -> Result<Table, Failure> {
    let now = now();
    let mut table = Table::new([
        "BEGAN", "RESOURCE", "FEATURES", "STATE", "DIGEST", "AUROC", "REASON", "TRAINING",
    ])
    .right([5])
    .longest(6);
    for one in listing.read::<Run>()? {
        table.row([
            Cell::two(relative(one.started_at, now), one.started_at.to_string()),
            Cell::new(one.resource),
            Cell::new(one.feature_set),
            Cell::word(&one.state),
            digest(one.digest.as_deref()),
            number(one.scores.get("auroc").and_then(Value::as_f64)),
            Cell::new(one.reason.unwrap_or_default()),
            Cell::id(one.run_id),
        ]);
    }
    Ok(table)
}

fn digest(digest: Option<&str>) -> Cell {
    let whole = digest.unwrap_or_default();
    Cell::two(whole.get(..12).unwrap_or(whole), whole)
}

fn number(value: Option<f64>) -> Cell {
    Cell::two(
        value.map_or("-".to_owned(), |value| format!("{value:.3}")),
        value.map_or(String::new(), |value| value.to_string()),
    )
}

impl Show {
    async fn run(self, cx: &Cx) -> Outcome {
        let client = cx.server()?;
        let id = if Uuid::parse_str(&self.model).is_ok() {
            self.model.clone()
        } else {
            self.training(&client).await?
        };
        let text = client
            .get(&["models", "runs", &id], &[])
            .await
            .map_err(|failure| {
                if failure.is(Code::NotFound) {
                    failure.with_remedy("`forewarn models list --all` shows those there are")
                } else {
                    failure
                }
            })?;
        if cx.out.form() == Form::Json {
            cx.out.document(&text)?;
            return Ok(Answer::Yes);
        }
        let run: Run = super::client::read(text.get())?;
        let now = now();
        let span = |from: Option<Timestamp>, to: Option<Timestamp>| match (from, to) {
            (Some(from), Some(to)) => format!("{} to {}", short(from), short(to)),
            _ => "none".to_owned(),
        };
        let took = match run.finished_at {
            Some(end) => format!(
                ", took {}",
                super::times::words(super::times::seconds(run.started_at, end))
            ),
            None => ", not over".to_owned(),
        };
        let mut lines = vec![
            (
                "model",
                format!("{} of {} on {}", run.model, run.resource, run.feature_set),
            ),
            ("state", cx.out.paint(Tone::of(&run.state), &run.state)),
            ("digest", run.digest.unwrap_or_else(|| "none".to_owned())),
            (
                "began",
                format!(
                    "{} ({}){took}",
                    short(run.started_at),
                    relative(run.started_at, now)
                ),
            ),
            ("history", span(run.data_from, run.data_to)),
            (
                "steps",
                format!("{}, of which {} left out", run.steps, run.quarantined_steps),
            ),
            ("scores", run.scores.to_string()),
            ("parameters", run.parameters.to_string()),
            ("made by", format!("forewarn {}", run.code_version)),
            ("training", run.run_id),
        ];
        if let Some(reason) = run.reason {
            lines.insert(2, ("reason", clean(&reason)));
        }
        for (name, text) in lines {
            if cx.out.form() == Form::Plain {
                cx.out.line(&format!("{name}\t{text}"))?;
            } else {
                cx.out.line(&format!(
                    "{}{text}",
                    cx.out.paint(Tone::Dim, &format!("{name:<12}"))
                ))?;
            }
        }
        Ok(Answer::Yes)
    }

    /// The training behind a digest or a resource's model.
    async fn training(&self, client: &Client) -> Result<String, Failure> {
        let of = [("resource", self.model.clone())];
        let judging: Vec<Judging> = client.list(&["models"], &of, 10).await?.read()?;
        match judging.as_slice() {
            [] => {}
            [one] => return Ok(one.run_id.clone()),
            many => {
                let ids: Vec<String> = many
                    .iter()
                    .map(|one| format!("{} ({})", one.run_id, one.feature_set))
                    .collect();
                return Err(Failure::usage(
                    format!("several models judge `{}`", self.model),
                    format!("name a training: {}", ids.join(", ")),
                ));
            }
        }
        let is_part = self.model.len() >= 6
            && self
                .model
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b'-');
        let runs: Vec<Run> = client.list(&["models", "runs"], &[], PAGE).await?.read()?;
        let begins = |run: &&Run| {
            let digest = run.digest.as_deref().unwrap_or_default();
            is_part && (digest.starts_with(&self.model) || run.run_id.starts_with(&self.model))
        };
        if let Some(run) = runs.iter().find(begins) {
            return Ok(run.run_id.clone());
        }
        // The latest training of a resource that no model judges: it says why.
        if let Some(run) = runs.iter().find(|run| run.resource == self.model) {
            return Ok(run.run_id.clone());
        }
        let mut known: Vec<String> = runs.into_iter().map(|run| run.resource).collect();
        known.sort();
        known.dedup();
        Err(Failure::not_found(
            format!("there is no model `{}`", self.model),
            remedy(
                &self.model,
                &known,
                "`forewarn models list --all` shows those there are",
            ),
        ))
    }
}
