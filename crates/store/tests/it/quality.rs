//! The view `prediction_quality`, row by row.

use forewarn_testkit::database::Database;

/// One prediction: its failure, state, days since it was said, lead in seconds, seconds by which the breach came later than
/// the p50 that was said last, half the width of p10 to p90 in seconds, and whether it is history.
type Said = (&'static str, &'static str, f64, Option<f64>, f64, f64, bool);

const SAID: &[Said] = &[
    (
        "disk_full",
        "confirmed",
        1.0,
        Some(600.0),
        -30.0,
        60.0,
        false,
    ),
    (
        "disk_full",
        "confirmed",
        1.0,
        Some(1_800.0),
        90.0,
        60.0,
        false,
    ),
    (
        "disk_full",
        "confirmed",
        40.0,
        Some(5_400.0),
        0.0,
        60.0,
        false,
    ),
    ("disk_full", "averted", 2.0, None, 0.0, 60.0, false),
    ("disk_full", "expired", 2.0, None, 0.0, 60.0, false),
    ("disk_full", "withdrawn", 3.0, None, 0.0, 60.0, false),
    ("disk_full", "open", 0.1, None, 0.0, 60.0, false),
    ("memory_exhaustion", "open", 0.1, None, 0.0, 60.0, false),
    // Generated history would flatter us.
    (
        "disk_full",
        "confirmed",
        1.0,
        Some(86_400.0),
        0.0,
        60.0,
        true,
    ),
];

#[tokio::test]
async fn predictions_are_graded_per_kind_of_failure() {
    let Some(database) = Database::create("prediction_quality").await else {
        return;
    };
    let postgres = database.start().await;
    let session = postgres.session().await.expect("a connection");
    let sql = "SELECT concat_ws(' ', failure, span, opened, confirmed, averted, expired, withdrawn, open,
            coalesce(precision::text, '-'), coalesce(precision_strict::text, '-'),
            coalesce(lead_p10::text, '-'), coalesce(lead_p50::text, '-'), coalesce(lead_p90::text, '-'),
            coalesce(lead_15m_share::text, '-'), coalesce(p50_error::text, '-'), coalesce(p50_late_by::text, '-'),
            coalesce(in_interval_share::text, '-'), tenant)
        FROM prediction_quality";
    let lines = async || -> Vec<String> {
        let rows = session.query(sql, &[]).await.expect("the view");
        rows.iter().map(|row| row.get(0)).collect()
    };
    // Before anything was ever said it is a view with two lines, not without any.
    assert_eq!(
        lines().await,
        [
            "all 30 days 0 0 0 0 0 0 - - - - - - - - - default",
            "all ever 0 0 0 0 0 0 - - - - - - - - - default",
        ]
    );
    for (index, (failure, state, days, lead, late, width, backfill)) in SAID.iter().enumerate() {
        let ended = *state != "open";
        let insert = "INSERT INTO predictions (prediction_id, tenant, resource, kind, failure, subject, state, title, why,
                first_action, opened_at, ts, p10_at, p50_at, p90_at, baseline_at, probability, horizon_seconds, used,
                limit_value, slope_per_second, ended_at, reason, lead_seconds, updates, backfill, logged_at, src)
            SELECT md5($1)::uuid, 'default', 'web-01', 'server', $2, '/', $3, '', '', '', opened, ended,
                ended + make_interval(secs => -$6::float8 - $7::float8), ended + make_interval(secs => -$6::float8),
                ended + make_interval(secs => -$6::float8 + $7::float8),
                NULL, 1, 1, 1, 1, 1, CASE WHEN $8 THEN ended END, NULL, $5::float8, 1, $9, now(), ''
            FROM (SELECT now() - make_interval(secs => $4::float8 * 86400) AS opened) o,
                LATERAL (SELECT opened + make_interval(secs => coalesce($5::float8, 3600)) AS ended) e";
        session
            .execute(
                insert,
                &[
                    &index.to_string(),
                    failure,
                    state,
                    days,
                    lead,
                    late,
                    width,
                    &ended,
                    backfill,
                ],
            )
            .await
            .expect("a prediction");
    }
    assert_eq!(
        lines().await,
        [
            "all 30 days 7 2 1 1 1 2 0.75 0.40 00:12:00 00:20:00 00:28:00 0.50 00:01:00 00:00:30 0.50 default",
            "disk_full 30 days 6 2 1 1 1 1 0.75 0.40 00:12:00 00:20:00 00:28:00 0.50 00:01:00 00:00:30 0.50 default",
            "memory_exhaustion 30 days 1 0 0 0 0 1 - - - - - - - - - default",
            "all ever 8 3 1 1 1 2 0.80 0.50 00:14:00 00:30:00 01:18:00 0.67 00:00:30 00:00:00 0.67 default",
            "disk_full ever 7 3 1 1 1 1 0.80 0.50 00:14:00 00:30:00 01:18:00 0.67 00:00:30 00:00:00 0.67 default",
            "memory_exhaustion ever 1 0 0 0 0 1 - - - - - - - - - default",
        ]
    );
    let undescribed = "SELECT attname::text FROM pg_attribute
        WHERE attrelid = 'prediction_quality'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL";
    let rows = session
        .query(undescribed, &[])
        .await
        .expect("the catalogue");
    assert!(rows.is_empty(), "every column is described");
    let granted = "SELECT has_table_privilege('forewarn_ro', 'prediction_quality', 'SELECT')";
    let row = session
        .query_one(granted, &[])
        .await
        .expect("the catalogue");
    assert!(row.get::<_, bool>(0));
    session.give_back();
    database.drop().await;
}
