//! `models rollback`: an earlier model judges again. It is one row more in `activations`; nothing is changed or deleted.

use forewarn_store::activations::{self, Activation};
use forewarn_store::postgres::{Postgres, guarded_commit};
use forewarn_types::{DEFAULT_TENANT, ResourceKey};
use serde_json::json;
use uuid::Uuid;

use super::Cx;
use super::names::remedy;
use super::outcome::{Answer, Code, Failure, Outcome};
use super::output::Form;
use super::settings::{SettingsArgs, away, ledger, open, wrong};
use super::times::short;

/// Have the model before judge again
///
/// Writes one row into the ledger (`activations`), which takes effect some 15 seconds later without any restart. Without
/// --yes it says what it would do, and ends with 3.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Whose model
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// The model that is to judge: the beginning of its digest, or `none` for the online detector alone; unset, the one
    /// that judged before
    #[arg(long, value_name = "DIGEST")]
    to: Option<String>,
    /// Which features it judges, if there are models for several: host/1
    #[arg(long, value_name = "NAME/VERSION")]
    feature_set: Option<String>,
    /// Whose resource
    #[arg(long, default_value = DEFAULT_TENANT, value_name = "NAME")]
    tenant: String,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// Say what it would do, and end with 0
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// What is to be done.
struct Plan {
    scope: String,
    feature_set: String,
    now: Option<String>,
    then: Option<String>,
    run: Option<Uuid>,
}

impl Rollback {
    pub(super) async fn run(self, cx: &Cx) -> Outcome {
        let mut settings = cx.settings(&self.settings)?;
        let config = ledger(&mut settings);
        settings.finish().map_err(|errors| wrong(&errors))?;
        let postgres = open(&config)?;
        let plan = self.plan(&postgres).await?;
        let (now, then) = (named(plan.now.as_deref()), named(plan.then.as_deref()));
        let what = format!(
            "{} ({}) would be judged by {then} instead of {now}",
            self.resource, plan.feature_set
        );
        if self.dry_run {
            self.tell(cx, &plan, None, &what)?;
            return Ok(Answer::Yes);
        }
        if !self.yes {
            return Err(Failure::new(
                Code::Refused,
                what,
                "say it again with --yes to have it done",
            ));
        }
        let from = activate(&postgres, &plan).await?;
        let back = plan
            .now
            .as_deref()
            .map_or("none", |digest| &digest[..digest.len().min(12)]);
        let done = format!(
            "{} ({}) is judged by {then} instead of {now} from {} on; undo: forewarn models rollback {} --to {back} --yes",
            self.resource,
            plan.feature_set,
            short(from),
            self.resource
        );
        self.tell(cx, &plan, Some(from), &done)?;
        Ok(Answer::Yes)
    }

    fn tell(
        &self,
        cx: &Cx,
        plan: &Plan,
        from: Option<forewarn_store::Timestamp>,
        words: &str,
    ) -> Result<(), Failure> {
        if cx.out.form() == Form::Json {
            return cx.out.document(&json!({
                "resource": self.resource,
                "feature_set": plan.feature_set,
                "digest_before": plan.now,
                "digest": plan.then,
                "from_log_time": from,
                "done": from.is_some(),
            }));
        }
        cx.out.line(words)
    }

    async fn plan(&self, postgres: &Postgres) -> Result<Plan, Failure> {
        let session = postgres.session().await.map_err(away)?;
        let feature_set = self.feature_set(&session).await?;
        let key = ResourceKey {
            tenant: self.tenant.clone(),
            resource: self.resource.clone(),
        };
        let scope = activations::scope(&key, &feature_set);
        let reading = activations::read(&*session, 0).await.map_err(said)?;
        let now = reading.clock;
        let all: activations::Activations = reading.rows.into_iter().collect();
        let current = all.at(&scope, now);
        let judges = current.and_then(|row| row.digest.clone());
        // What is about to judge has been decided already.
        let coming = all
            .from(&scope, now)
            .last()
            .and_then(|row| row.digest.clone());
        let then = match self.to.as_deref() {
            Some("none") => None,
            Some(wanted) => Some(self.chosen(&session, &feature_set, wanted).await?),
            None => self.before(&all, &scope, current)?,
        };
        if then == coming && then == judges {
            return Err(Failure::new(
                Code::Conflict,
                format!(
                    "{} judges `{}` already",
                    named(then.as_deref()),
                    self.resource
                ),
                "name another with --to; `forewarn models list --all` shows those there are",
            ));
        }
        let run = match &then {
            Some(digest) => Some(self.made(&session, &feature_set, digest).await?),
            None => None,
        };
        session.give_back();
        Ok(Plan {
            scope,
            feature_set,
            now: judges,
            then,
            run: run.flatten(),
        })
    }

    /// The features that the resource's models judge.
    async fn feature_set(
        &self,
        session: &forewarn_store::postgres::Session,
    ) -> Result<String, Failure> {
        let rows = session
            .query(
                "SELECT DISTINCT feature_set FROM model_runs WHERE tenant = $1 AND resource = $2 AND digest IS NOT NULL \
                 ORDER BY 1",
                &[&self.tenant, &self.resource],
            )
            .await
            .map_err(said)?;
        let sets: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        match (&self.feature_set, sets.as_slice()) {
            (_, []) => {
                let rows = session
                    .query(
                        "SELECT DISTINCT resource FROM model_runs WHERE tenant = $1 AND digest IS NOT NULL \
                         ORDER BY 1 LIMIT 1000",
                        &[&self.tenant],
                    )
                    .await
                    .map_err(said)?;
                let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                Err(Failure::not_found(
                    format!("no model was ever made for `{}`", self.resource),
                    remedy(
                        &self.resource,
                        &known,
                        "`forewarn train RESOURCE` has one made",
                    ),
                ))
            }
            (Some(set), sets) if sets.contains(set) => Ok(set.clone()),
            (Some(set), sets) => Err(Failure::not_found(
                format!("`{}` has no model for the features `{set}`", self.resource),
                remedy(set, sets, ""),
            )),
            (None, [set]) => Ok(set.clone()),
            (None, sets) => Err(Failure::usage(
                format!(
                    "`{}` has models for several sets of features",
                    self.resource
                ),
                format!("name one with --feature-set: {}", sets.join(", ")),
            )),
        }
    }

    /// The digest that begins so.
    async fn chosen(
        &self,
        session: &forewarn_store::postgres::Session,
        feature_set: &str,
        wanted: &str,
    ) -> Result<String, Failure> {
        let rows = session
            .query(
                "SELECT digest FROM model_runs WHERE tenant = $1 AND resource = $2 AND feature_set = $3 \
                 AND starts_with(digest, $4) GROUP BY digest LIMIT 2",
                &[&self.tenant, &self.resource, &feature_set, &wanted],
            )
            .await
            .map_err(said)?;
        match rows.as_slice() {
            [row] => Ok(row.get(0)),
            [] => Err(Failure::not_found(
                format!(
                    "`{}` has no model whose digest begins with `{wanted}`",
                    self.resource
                ),
                format!(
                    "`forewarn models list --all --resource {}` shows those it has",
                    self.resource
                ),
            )),
            _ => Err(Failure::usage(
                format!("several models begin with `{wanted}`"),
                "write more of the digest",
            )),
        }
    }

    /// What judged before the row in force.
    fn before(
        &self,
        all: &activations::Activations,
        scope: &str,
        current: Option<&Activation>,
    ) -> Result<Option<String>, Failure> {
        let judges = current.and_then(|row| row.digest.clone());
        let earlier = all
            .iter()
            .filter(|row| row.scope == scope && row.refused_from.is_none())
            .filter(|row| {
                current.is_some_and(|current| (row.from, row.id) < (current.from, current.id))
            });
        match earlier.filter(|row| row.digest != judges).last() {
            Some(row) => Ok(row.digest.clone()),
            None => Err(Failure::not_found(
                format!("no other model has judged `{}` before", self.resource),
                "`--to none` leaves it to the online detector alone; --to DIGEST chooses a model",
            )),
        }
    }

    /// The training that a model comes from; it must still be on the shelf.
    async fn made(
        &self,
        session: &forewarn_store::postgres::Session,
        feature_set: &str,
        digest: &str,
    ) -> Result<Option<Uuid>, Failure> {
        let row = session
            .query_opt(
                "SELECT run_id, bundle_deleted_at IS NOT NULL FROM model_runs \
                 WHERE tenant = $1 AND resource = $2 AND feature_set = $3 AND digest = $4 ORDER BY started_at DESC LIMIT 1",
                &[&self.tenant, &self.resource, &feature_set, &digest],
            )
            .await
            .map_err(said)?;
        match row.map(|row| (row.get(0), row.get::<_, bool>(1))) {
            Some((_, true)) => Err(Failure::not_found(
                format!("the model {} is not kept any more", named(Some(digest))),
                "choose another with --to, or have one made: `forewarn train`",
            )),
            Some((run, false)) => Ok(Some(run)),
            None => Ok(None),
        }
    }
}

async fn activate(postgres: &Postgres, plan: &Plan) -> Result<forewarn_store::Timestamp, Failure> {
    let mut session = postgres.session().await.map_err(away)?;
    let transaction = session.begin().await.map_err(said)?;
    let (_, from) = activations::activate(
        &transaction,
        &plan.scope,
        plan.then.as_deref(),
        None,
        "rolled back by hand",
        plan.run,
    )
    .await
    .map_err(said)?;
    guarded_commit(transaction).await.map_err(|error| {
        Failure::new(
            Code::Unreachable,
            error.to_string(),
            "look at `forewarn models list` and do it again if need be",
        )
    })?;
    session.give_back();
    Ok(from.into())
}

fn said(error: forewarn_store::postgres::ClientError) -> Failure {
    let code = error.code().map_or("", |code| code.code()).to_owned();
    let what = forewarn_store::postgres::describe(&error);
    match code.as_str() {
        "42501" => Failure::new(
            Code::Unauthorised,
            what,
            "use an address whose user owns the ledger",
        ),
        "42P01" => Failure::not_found(
            what,
            "the ledger has no schema yet; any service makes it when it starts",
        ),
        _ => away(what),
    }
}

fn named(digest: Option<&str>) -> String {
    digest.map_or("the online detector alone".to_owned(), |digest| {
        digest[..digest.len().min(12)].to_owned()
    })
}
