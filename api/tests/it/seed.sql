-- Something of everything, as the projector, the alerter and the trainer would have written it.

INSERT INTO resources (tenant, resource, kind, state, state_since_at, first_step_at, last_step_at, verdict, score, confidence,
    eta_seconds, open_predictions, breached_at, reached, silent_since_at, feature_sets, logged_at, src)
VALUES
    ('default', 'web-01', 'server', 'at_risk', now() - interval '10 min', now() - interval '2 days', now() - interval '2 s', 'scored', 1.7, 0.9,
        NULL, 1, NULL, '[]', NULL, '{"host/1": {"ts": "2026-11-21T15:00:00+00:00", "state": "degraded"}}', now(), 'l/0/1/0'),
    ('default', '<script>alert("1")</script>&''x', 'application', 'degraded', now() - interval '3 min', now() - interval '1 day', now() - interval '40 s', 'scored', 2.5, 0.8,
        NULL, 0, NULL, '[]', NULL, '{}', now(), 'l/0/2/0'),
    ('default', 'db/01', 'database', 'critical', now() - interval '1 h', now() - interval '1 day', now() - interval '5 s', 'scored', 0.3, 0.8,
        NULL, 0, now() - interval '1 h', '["connection_exhaustion:pool"]', NULL, '{}', now(), 'l/0/3/0'),
    ('default', 'new', 'server', 'learning', now() - interval '1 min', now() - interval '1 min', now() - interval '1 s', 'learning', NULL, NULL,
        840, 0, NULL, '[]', NULL, '{}', now(), 'l/0/4/0'),
    ('acme', 'web-01', 'server', 'healthy', now() - interval '1 min', now() - interval '1 min', now(), NULL, NULL, NULL,
        NULL, 0, NULL, '[]', NULL, '{}', now(), 'l/0/5/0');

INSERT INTO resource_minutes (tenant, resource, minute_at, max_score, max_score_at, max_metric, scored_steps, anomalous_steps, learning_steps, other_steps)
VALUES ('default', 'web-01', now() - interval '5 min', 3.2, now() - interval '5 min', 'disk.used', 60, 7, 0, 0);

-- Many at equal moments, so that only the id tells them apart.
INSERT INTO anomalies (anomaly_id, tenant, resource, kind, level, metric, severity, ts, score, p, p0, confidence, value, expected,
    lower, upper, summary, parts, feature_set, model_set, step_ms, backfill, logged_at, src)
SELECT md5(i::text)::uuid, 'default', CASE WHEN i % 3 = 0 THEN 'db/01' ELSE 'web-01' END, 'server',
    CASE WHEN i % 2 = 0 THEN 'resource' ELSE 'series' END, 'cpu.utilization', CASE WHEN i % 5 = 0 THEN 'medium' ELSE 'low' END,
    '2026-11-20T10:00:00Z'::timestamptz + (i / 10) * interval '1 s', 1 + i / 100.0, 1e-300, 1.234567890123456e-9, 0.1, 0.97, 0.3,
    NULL, 0.8, 'cpu.utilization is 0.97, expected 0.3', '[{"metric": "cpu.utilization", "part": 0.7, "value": 0.97, "expected": 0.3}]',
    'host/1', 'abc', 1000, false, now(), 'l/0/6/0'
FROM generate_series(1, 250) i;

INSERT INTO predictions (prediction_id, tenant, resource, kind, failure, subject, state, title, why, first_action, opened_at, ts,
    p10_at, p50_at, p90_at, baseline_at, probability, horizon_seconds, used, limit_value, slope_per_second, ended_at, reason,
    lead_seconds, updates, backfill, logged_at, src)
VALUES
    ('00000000-0000-8000-8000-000000000001', 'default', 'web-01', 'server', 'disk_full', '/data', 'open',
        'web-01: /data will be full in about 42 min', 'It grows by 4.1 GB an hour.', 'Delete or move what is not needed.',
        now() - interval '10 min', now() - interval '1 min', now() + interval '30 min 30 s', now() + interval '42 min 30 s', now() + interval '70 min 30 s',
        NULL, 0.93, 86400, 8.7e9, 1.07e10, 1.2e6, NULL, NULL, NULL, 3, false, now(), 'l/0/7/0'),
    ('00000000-0000-8000-8000-000000000002', 'default', 'db/01', 'database', 'connection_exhaustion', 'pool', 'confirmed',
        'db/01: pool is used up', 'It was.', 'Raise it.',
        now() - interval '2 h', now() - interval '1 h', now() - interval '70 min', now() - interval '61 min', now() - interval '50 min',
        NULL, 1, 86400, 100, 100, 0.1, now() - interval '1 h', 'the limit was reached', 3600, 9, false, now(), 'l/0/8/0');

INSERT INTO alerts (alert_id, tenant, rule, severity, state, resource, kind, subject, failure, prediction_id, fingerprint, title,
    summary, reason, began_at, opened_at, changed_at, resolved_at, transitions, reopened, backfill, src)
VALUES
    ('00000000-0000-8000-8000-00000000000a', 'default', 'running-out', 'high', 'predicted', 'web-01', 'server', '/data', 'disk_full',
        '00000000-0000-8000-8000-000000000001', 'running-out:web-01:/data', 'web-01: /data will be full in about 42 min',
        'web-01: /data will be full in about 42 min', NULL, now() - interval '10 min', now() - interval '10 min', now() - interval '10 min', NULL, 1, 0, false, 'l/0/7/0'),
    ('00000000-0000-8000-8000-00000000000b', 'default', 'unlike-itself', 'medium', 'open', '<script>alert("1")</script>&''x', 'application', 'resource', NULL,
        NULL, 'unlike-itself:x', '<img src=x onerror=alert(1)> is unlike itself', 'score 2.5', NULL, now() - interval '3 min', now() - interval '3 min', now() - interval '3 min', NULL, 1, 0, false, 'l/0/9/0'),
    ('00000000-0000-8000-8000-00000000000c', 'default', 'silent', 'high', 'resolved', 'db/01', 'database', 'resource', NULL,
        NULL, 'silent:db/01', 'db/01 is silent', 'it sends again', 'it sends again', now() - interval '1 day', now() - interval '1 day', now() - interval '23 h', now() - interval '23 h', 2, 0, false, 'l/0/10/0');

INSERT INTO alert_history (alert_id, sequence, ordinal, from_state, to_state, severity, title, reason, details, ts, logged_at, notify, src)
VALUES
    ('00000000-0000-8000-8000-00000000000a', 1, 3, NULL, 'predicted', 'high', 'web-01: /data will be full', NULL, '{"p50_seconds": 2520}', now(), now(), true, 'l/0/7/0'),
    ('00000000-0000-8000-8000-00000000000c', 1, 1, NULL, 'open', 'high', 'db/01 is silent', NULL, '{}', now(), now(), true, 'l/0/10/0'),
    ('00000000-0000-8000-8000-00000000000c', 2, 2, 'open', 'resolved', 'high', 'db/01 sends again', 'it sends again', '{}', now(), now(), true, 'l/0/11/0');

INSERT INTO deliveries (delivery_id, alert_id, sequence, receiver, state, attempts, due_at, claimed_until, last_error, created_at, settled_at)
VALUES
    ('00000000-0000-8000-8000-0000000000d1', '00000000-0000-8000-8000-00000000000c', 1, 'console', 'delivered', 1, now(), NULL, NULL, now(), now()),
    ('00000000-0000-8000-8000-0000000000d2', '00000000-0000-8000-8000-00000000000c', 1, 'hook', 'pending', 2, now(), NULL, 'status 503', now(), NULL),
    ('00000000-0000-8000-8000-0000000000d3', '00000000-0000-8000-8000-00000000000c', 2, 'console', 'delivered', 1, now(), NULL, NULL, now(), now());

INSERT INTO delivery_attempts (delivery_id, attempt, started_at, finished_at, outcome, detail)
VALUES
    ('00000000-0000-8000-8000-0000000000d2', 1, now(), now(), 'transient', 'status 503'),
    ('00000000-0000-8000-8000-0000000000d2', 2, now(), NULL, NULL, NULL);

INSERT INTO alerter_state (name, epoch, holder, expires_at, next_offsets, checkpoint, passed, logged_at, is_behind, rules_digest, updated_at)
VALUES ('alerter', 1, 'x', now(), '{0}', '', 1, now(), false, 'r', now());

INSERT INTO consumer_offsets (consumer_group, log_id, topic, partition, next_offset, owner)
VALUES ('projector', '00000000-0000-8000-8000-000000000001', 'anomaly_predictions', 0, 1, 'x');

INSERT INTO model_runs (run_id, tenant, resource, feature_set, model, state, digest, reason, started_at, finished_at, data_from, data_to,
    steps, quarantined_steps, features, parameters, seed, code_version, scores)
VALUES
    ('00000000-0000-8000-8000-0000000000e1', 'default', 'web-01', 'host/1', 'isolation-forest', 'champion', repeat('a', 64), NULL,
        now() - interval '2 h', now() - interval '1 h', now() - interval '1 day', now() - interval '2 h', 79200, 60, '["cpu.utilization"]', '{"trees": 100}', 7, '0.1.0', '{"auroc": 0.987}'),
    ('00000000-0000-8000-8000-0000000000e2', 'default', 'db/01', 'database/1', 'isolation-forest', 'failed', NULL, 'too few steps',
        now() - interval '30 min', NULL, NULL, NULL, 0, 0, '[]', '{}', 7, '0.1.0', '{}');

-- Judging since an hour: the table takes only what lies ahead.
ALTER TABLE activations DISABLE TRIGGER activations_ahead;
INSERT INTO activations (scope, digest, from_log_time, reason, run_id)
VALUES ('default/web-01/host/1', repeat('a', 64), now() - interval '1 h', 'trained', '00000000-0000-8000-8000-0000000000e1');
INSERT INTO activations (scope, digest, from_log_time, reason, refused_from, refusal)
VALUES ('default/db/01/database/1', repeat('b', 64), now() - interval '1 min', 'by hand', now(), 'the store has no such bundle');
ALTER TABLE activations ENABLE TRIGGER activations_ahead;

INSERT INTO alert_commands VALUES (
    '00000000-0000-8000-8000-0000000000c0', 'default', '00000000-0000-8000-8000-00000000000a', 'acknowledge', 'ada', 'looking',
    'already', NULL, 'already acknowledged by bob', now(), 'c/0/5/0');
