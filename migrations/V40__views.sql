-- What people look at first. Views add nothing to the ledger: the time that is left and the age of things are as of now,
-- everything else is as the tables have it.

CREATE VIEW recent_anomalies AS
SELECT
    ts,
    resource,
    metric,
    severity,
    round(score::numeric, 2) AS score,
    summary,
    value,
    expected,
    level,
    round(confidence::numeric, 2) AS confidence,
    kind,
    tenant,
    backfill,
    anomaly_id
FROM anomalies
ORDER BY ts DESC, score DESC, anomaly_id;

COMMENT ON VIEW recent_anomalies IS 'Anomalies, the newest first; at equal times the strongest.';
COMMENT ON COLUMN recent_anomalies.ts IS 'End of the judged step, in the time of the measurement.';
COMMENT ON COLUMN recent_anomalies.metric IS 'The unusual metric; for a whole resource the one with the largest part.';
COMMENT ON COLUMN recent_anomalies.score IS 'Above 1 is an anomaly; 2 is the square as rare as 1.';
COMMENT ON COLUMN recent_anomalies.summary IS 'The anomaly in one line.';
COMMENT ON COLUMN recent_anomalies.level IS 'Whether the resource as a whole is unusual, or one metric on its own.';

CREATE VIEW open_predictions AS
SELECT
    resource,
    title,
    p50_at - now() AS time_to_failure,
    round(probability::numeric, 2) AS probability,
    why,
    first_action,
    p10_at,
    p50_at AS breach_at,
    p90_at,
    failure,
    subject,
    used,
    limit_value,
    slope_per_second,
    opened_at,
    ts AS said_at,
    kind,
    tenant,
    prediction_id
FROM predictions
WHERE state = 'open'
ORDER BY p50_at NULLS LAST, prediction_id;

COMMENT ON VIEW open_predictions IS 'What is expected to fail, the next failure first.';
COMMENT ON COLUMN open_predictions.time_to_failure IS 'From now until breach_at; negative when that has passed and the end is not known yet.';
COMMENT ON COLUMN open_predictions.breach_at IS 'The limit is as likely reached before this moment as after.';
COMMENT ON COLUMN open_predictions.said_at IS 'The step as of which this is said.';
COMMENT ON COLUMN open_predictions.first_action IS 'What to do first.';

CREATE VIEW system_health_summary AS
SELECT
    r.resource,
    r.state,
    now() - r.state_since_at AS state_for,
    round(r.score::numeric, 2) AS last_score,
    round(m.max_score::numeric, 2) AS max_score_1h,
    coalesce(m.anomalous_steps, 0) AS anomalous_steps_1h,
    r.open_predictions,
    p.next_failure,
    p.next_failure_at - now() AS time_to_failure,
    coalesce(a.open_alerts, 0) AS open_alerts,
    a.worst_severity,
    make_interval(secs => r.eta_seconds) AS learning_for_another,
    r.last_step_at,
    r.kind,
    r.tenant
FROM resources r
LEFT JOIN (
    SELECT tenant, resource, max(max_score) AS max_score, sum(anomalous_steps)::bigint AS anomalous_steps
    FROM resource_minutes
    WHERE minute_at > now() - interval '1 hour'
    GROUP BY tenant, resource
) m ON m.tenant = r.tenant AND m.resource = r.resource
LEFT JOIN (
    SELECT DISTINCT ON (tenant, resource) tenant, resource, title AS next_failure, p50_at AS next_failure_at
    FROM predictions
    WHERE state = 'open'
    ORDER BY tenant, resource, p50_at NULLS LAST, prediction_id
) p ON p.tenant = r.tenant AND p.resource = r.resource
LEFT JOIN (
    SELECT
        tenant,
        resource,
        count(*) AS open_alerts,
        (ARRAY['info', 'low', 'medium', 'high', 'critical'])[
            max(array_position(ARRAY['info', 'low', 'medium', 'high', 'critical'], severity))
        ] AS worst_severity
    FROM alerts
    WHERE state IN ('predicted', 'open', 'acknowledged')
    GROUP BY tenant, resource
) a ON a.tenant = r.tenant AND a.resource = r.resource
ORDER BY
    array_position(ARRAY['critical', 'at_risk', 'silent', 'degraded', 'learning', 'healthy'], r.state),
    r.resource,
    r.tenant;

COMMENT ON VIEW system_health_summary IS 'Every resource in one line, those in trouble first.';
COMMENT ON COLUMN system_health_summary.state IS 'learning, healthy, degraded, at_risk, critical or silent.';
COMMENT ON COLUMN system_health_summary.state_for IS 'For how long it has been in this state.';
COMMENT ON COLUMN system_health_summary.max_score_1h IS 'The highest score of the last hour; above 1 is an anomaly.';
COMMENT ON COLUMN system_health_summary.next_failure IS 'The failure that is expected next.';
COMMENT ON COLUMN system_health_summary.time_to_failure IS 'From now until that failure is as likely to have come as not.';
COMMENT ON COLUMN system_health_summary.open_alerts IS 'Alerts that are predicted, open or acknowledged.';
COMMENT ON COLUMN system_health_summary.learning_for_another IS 'While learning: how much data is still wanted.';

-- Later migrations of other tables were not known when the role was made.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'forewarn_ro') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO forewarn_ro;
    END IF;
END
$$;
