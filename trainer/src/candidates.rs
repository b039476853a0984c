//! Whom to train, and what is known of their past: asked of PostgreSQL.

use forewarn_detect::training::Span;
use forewarn_store::postgres::{ClientError, Session};
use forewarn_types::{EventTime, ResourceKey};

/// A resource under one feature set, with the model that judges it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Whom.
    pub resource: ResourceKey,
    /// Under which features.
    pub feature_set: String,
    /// Where its history begins: the end of the first step that was ever judged, or earlier if the order says so.
    pub first_step: EventTime,
    /// End of the last one.
    pub last_step: EventTime,
    /// Digest of the model that judges or is about to.
    pub champion: Option<String>,
    /// Age in seconds of the last training that ended, whatever became of it.
    pub trained_seconds_ago: Option<f64>,
}

/// Everybody who has been judged within the last day, those without a model first, then by the age of their last
/// training.
///
/// # Errors
/// The client's error.
pub async fn candidates(session: &Session) -> Result<Vec<Candidate>, ClientError> {
    let rows = session
        .query(
            "SELECT r.tenant, r.resource, f.key, (extract(epoch FROM r.first_step_at) * 1000)::bigint, \
                    (extract(epoch FROM r.last_step_at) * 1000)::bigint, a.digest, \
                    extract(epoch FROM clock_timestamp() - t.finished_at)::double precision \
             FROM resources r \
             CROSS JOIN LATERAL jsonb_object_keys(r.feature_sets) AS f (key) \
             LEFT JOIN LATERAL (SELECT digest FROM activations \
                 WHERE scope = r.tenant || '/' || r.resource || '/' || f.key AND refused_from IS NULL \
                 ORDER BY from_log_time DESC, activation_id DESC LIMIT 1) a ON true \
             LEFT JOIN LATERAL (SELECT finished_at FROM model_runs m \
                 WHERE m.tenant = r.tenant AND m.resource = r.resource AND m.feature_set = f.key \
                       AND m.finished_at IS NOT NULL \
                 ORDER BY m.started_at DESC LIMIT 1) t ON true \
             WHERE r.last_step_at > clock_timestamp() - interval '1 day' \
             ORDER BY (a.digest IS NOT NULL), t.finished_at NULLS FIRST, r.tenant, r.resource, f.key",
            &[],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| Candidate {
            resource: ResourceKey {
                tenant: row.get(0),
                resource: row.get(1),
            },
            feature_set: row.get(2),
            first_step: EventTime(row.get(3)),
            last_step: EventTime(row.get(4)),
            champion: row.get(5),
            trained_seconds_ago: row.get(6),
        })
        .collect())
}

/// When something was wrong with a resource: minutes with an anomaly, failures that were predicted and came or are still
/// expected, times in which a limit was reached.
///
/// # Errors
/// The client's error.
pub async fn flagged(
    session: &Session,
    resource: &ResourceKey,
    from: EventTime,
    to: EventTime,
) -> Result<Vec<Span>, ClientError> {
    let (from, to) = (from.millis(), to.millis());
    let rows = session
        .query(
            "WITH span AS (SELECT to_timestamp($3::bigint / 1000.0) AS since, to_timestamp($4::bigint / 1000.0) AS until) \
             SELECT (extract(epoch FROM s.begins) * 1000)::bigint, (extract(epoch FROM least(s.ends, span.until)) * 1000)::bigint FROM ( \
                 SELECT minute_at AS begins, minute_at + interval '1 minute' AS ends \
                 FROM resource_minutes WHERE tenant = $1 AND resource = $2 AND anomalous_steps > 0 \
                 UNION ALL \
                 SELECT opened_at, coalesce(ended_at, 'infinity'::timestamptz) \
                 FROM predictions WHERE tenant = $1 AND resource = $2 AND state IN ('open', 'confirmed', 'averted') \
                 UNION ALL \
                 SELECT ts, ends FROM (SELECT ts, to_state, \
                     coalesce(lead(ts) OVER (ORDER BY ts), 'infinity'::timestamptz) AS ends \
                     FROM resource_changes WHERE tenant = $1 AND resource = $2) c WHERE to_state = 'critical' \
             ) s (begins, ends), span \
             WHERE s.ends > span.since AND s.begins < span.until \
             ORDER BY 1",
            &[&resource.tenant, &resource.resource, &from, &to],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let (begins, ends): (i64, i64) = (row.get(0), row.get(1));
            (EventTime(begins), EventTime(ends))
        })
        .collect())
}
