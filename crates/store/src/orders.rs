//! `training_orders`: trainings that somebody asked for, from the asking to what became of them.

use deadpool_postgres::GenericClient;
use uuid::Uuid;

/// So many may wait; whoever asks for more is refused.
pub const WAITING_MAX: i64 = 1_000;

/// A training that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which command.
    pub command: Uuid,
    /// Whose resources.
    pub tenant: String,
    /// Who asks.
    pub actor: String,
    /// Whom to train, due or not; `None` means whoever is due.
    pub resources: Option<Vec<String>>,
    /// History is looked for from here on, in milliseconds since the epoch, though nobody judged it.
    pub since: Option<i64>,
    /// How often it was begun without an end: whoever began it ended first.
    pub attempts: i32,
}

/// How an order ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEnd {
    /// Its trainings are over.
    Done,
    /// Nothing was trained.
    Refused,
}

/// Writes an order down, unless it is there already. Returns whether there is room for it.
///
/// # Errors
/// The client's error.
pub async fn put(
    client: &impl GenericClient,
    order: &Order,
) -> Result<bool, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "WITH full_up AS (SELECT count(*) >= $5 AS is_full FROM training_orders WHERE state = 'waiting') \
             INSERT INTO training_orders (command_id, tenant, actor, resources, since, state, reason, ended_at) \
             SELECT $1, $2, $3, $4, to_timestamp($6::bigint / 1000.0), \
                    CASE WHEN is_full THEN 'refused' ELSE 'waiting' END, \
                    CASE WHEN is_full THEN 'too many orders wait already' END, \
                    CASE WHEN is_full THEN clock_timestamp() END FROM full_up \
             ON CONFLICT (command_id) DO NOTHING RETURNING state",
        )
        .await?;
    let (command, resources) = (&order.command, &order.resources);
    let row = client
        .query_opt(
            &statement,
            &[
                command,
                &order.tenant,
                &order.actor,
                resources,
                &WAITING_MAX,
                &order.since,
            ],
        )
        .await?;
    Ok(row.is_none_or(|row| row.get::<_, String>(0) == "waiting"))
}

/// The order that has waited longest.
///
/// # Errors
/// The client's error.
pub async fn next(client: &impl GenericClient) -> Result<Option<Order>, tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "SELECT command_id, tenant, actor, resources, (extract(epoch FROM since) * 1000)::bigint, attempts FROM training_orders \
             WHERE state = 'waiting' ORDER BY asked_at, command_id LIMIT 1",
        )
        .await?;
    let row = client.query_opt(&statement, &[]).await?;
    Ok(row.map(|row| Order {
        command: row.get(0),
        tenant: row.get(1),
        actor: row.get(2),
        resources: row.get(3),
        since: row.get(4),
        attempts: row.get(5),
    }))
}

/// Writes down that an order is begun, or (with -1) that it broke off for a reason that says nothing about it.
///
/// # Errors
/// The client's error.
pub async fn attempt(
    client: &impl GenericClient,
    command: Uuid,
    more: i32,
) -> Result<(), tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "UPDATE training_orders SET attempts = attempts + $2 WHERE command_id = $1 AND state = 'waiting'",
        )
        .await?;
    client.execute(&statement, &[&command, &more]).await?;
    Ok(())
}

/// Ends an order that waits.
///
/// # Errors
/// The client's error.
pub async fn end(
    client: &impl GenericClient,
    command: Uuid,
    end: OrderEnd,
    reason: Option<&str>,
) -> Result<(), tokio_postgres::Error> {
    let statement = client
        .prepare_cached(
            "UPDATE training_orders SET state = $2, reason = $3, ended_at = clock_timestamp() \
             WHERE command_id = $1 AND state = 'waiting'",
        )
        .await?;
    let state = match end {
        OrderEnd::Done => "done",
        OrderEnd::Refused => "refused",
    };
    client
        .execute(&statement, &[&command, &state, &reason])
        .await?;
    Ok(())
}
