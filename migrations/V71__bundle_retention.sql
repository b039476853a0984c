-- Models that have not judged for longer than the log remembers are deleted, all but the newest few of each resource.

ALTER TABLE model_runs ADD COLUMN bundle_deleted_at timestamptz;
COMMENT ON COLUMN model_runs.bundle_deleted_at IS 'When its bundle was deleted: one cannot go back to it any more; null while it is kept.';

CREATE OR REPLACE VIEW models AS
SELECT
    r.resource,
    r.feature_set,
    r.model,
    CASE WHEN a.digest = r.digest THEN 'champion' ELSE r.state END AS state,
    round((r.scores ->> 'auroc')::numeric, 3) AS auroc,
    r.data_from,
    r.data_to,
    r.steps,
    r.quarantined_steps,
    a.from_log_time AS judges_since,
    r.finished_at AS trained_at,
    r.digest,
    r.tenant,
    r.run_id
FROM model_runs r
LEFT JOIN LATERAL (
    SELECT digest, from_log_time
    FROM activations
    WHERE scope = r.tenant || '/' || r.resource || '/' || r.feature_set AND refused_from IS NULL AND from_log_time <= now()
    ORDER BY from_log_time DESC, activation_id DESC
    LIMIT 1
) a ON a.digest = r.digest
WHERE r.digest IS NOT NULL AND r.bundle_deleted_at IS NULL
ORDER BY (a.digest IS NULL), r.resource, r.feature_set, r.finished_at DESC;

COMMENT ON VIEW models IS 'Every model that is kept, those that judge now first. Its digest is what a rollback wants: INSERT INTO activations (scope, digest) VALUES (…).';
