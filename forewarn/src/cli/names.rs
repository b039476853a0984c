//! Names that somebody mistyped: an empty answer about something that does not exist would look like silence.

use forewarn_config::nearest;
use forewarn_types::metric;
use serde::Deserialize;

use super::client::{Client, PAGE};
use super::outcome::Failure;

/// Names in a remedy at most.
const NAMES_MAX: usize = 12;

#[derive(Deserialize)]
struct Resource {
    resource: String,
}

#[derive(Deserialize)]
struct Series {
    metric: String,
}

/// The resources that there are, as many as one page holds.
pub(crate) async fn resources(client: &Client) -> Result<Vec<String>, Failure> {
    let listing = client.list(&["resources"], &[], PAGE).await?;
    let found: Vec<Resource> = listing.read()?;
    Ok(found.into_iter().map(|one| one.resource).collect())
}

/// Whether a resource is known; if not, who was meant.
pub(crate) async fn ensure_resource(client: &Client, name: &str) -> Result<(), Failure> {
    let query = [("resource", name.to_owned())];
    if !client
        .list(&["resources"], &query, 1)
        .await?
        .items
        .is_empty()
    {
        return Ok(());
    }
    let known = resources(client).await?;
    Err(Failure::not_found(
        format!("there is no resource `{name}`"),
        remedy(
            name,
            &known,
            "`forewarn health` lists those that were judged",
        ),
    ))
}

/// Why there is no such metric: the resource is not known, or has others.
pub(crate) async fn no_metric(
    client: &Client,
    resource: &str,
    metric: &str,
    data: &str,
) -> Failure {
    if let Err(failure) = ensure_resource(client, resource).await {
        return failure;
    }
    let query = [("data", data.to_owned())];
    let path = ["resources", resource, "series"];
    let found = match client.list(&path, &query, PAGE).await {
        Ok(listing) => listing.read::<Series>().unwrap_or_default(),
        Err(failure) => return failure,
    };
    let mut known: Vec<String> = found.into_iter().map(|one| one.metric).collect();
    known.dedup();
    let familiar: Vec<String> = metric::ALIASES
        .iter()
        .filter(|(_, name)| known.iter().any(|known| known == name))
        .map(|(alias, _)| (*alias).to_owned())
        .collect();
    let what = format!("`{resource}` has no metric `{metric}`");
    match nearest(metric, familiar.iter().map(String::as_str)) {
        Some(alias) => Failure::not_found(what, format!("did you mean `{alias}`?")),
        None => Failure::not_found(what, remedy(metric, &known, "it has none at all yet")),
    }
}

/// `did you mean …?`, or those there are if they are few, or `else_say`.
pub(crate) fn remedy(word: &str, known: &[String], else_say: &str) -> String {
    if let Some(name) = nearest(word, known.iter().map(String::as_str)) {
        return format!("did you mean `{name}`?");
    }
    match known.len() {
        0 => else_say.to_owned(),
        1..=NAMES_MAX => format!("there are `{}`", known.join("`, `")),
        many => format!(
            "there are {many}, such as `{}`; {else_say}",
            known[..3].join("`, `")
        ),
    }
}
