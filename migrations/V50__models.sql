-- What the trainer made, and which model judges whom from when. Artefacts lie in the object store under their digests;
-- here is what people ask about them.

CREATE TABLE model_runs (
    run_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    resource text NOT NULL,
    feature_set text NOT NULL,
    model text NOT NULL,
    state text NOT NULL CHECK (state IN ('candidate', 'validated', 'champion', 'rejected', 'failed', 'retired')),
    digest text CHECK (digest ~ '^[0-9a-f]{64}$'),
    reason text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    data_from timestamptz,
    data_to timestamptz,
    steps bigint NOT NULL,
    quarantined_steps bigint NOT NULL,
    features jsonb NOT NULL,
    parameters jsonb NOT NULL,
    seed bigint NOT NULL,
    code_version text NOT NULL,
    scores jsonb NOT NULL
);

CREATE INDEX model_runs_resource ON model_runs (tenant, resource, feature_set, started_at DESC);
CREATE INDEX model_runs_started ON model_runs (started_at DESC);
CREATE INDEX model_runs_digest ON model_runs (digest);

COMMENT ON TABLE model_runs IS 'Every training: what it was made of, how good the model is, and what became of it.';
COMMENT ON COLUMN model_runs.run_id IS 'Which training.';
COMMENT ON COLUMN model_runs.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN model_runs.resource IS 'Whose model it is: the name under which the resource sends metrics.';
COMMENT ON COLUMN model_runs.feature_set IS 'Name and version of the features that it judges.';
COMMENT ON COLUMN model_runs.model IS 'What kind of model: isolation-forest.';
COMMENT ON COLUMN model_runs.state IS 'candidate (being made or proved), validated (proved, about to judge), champion (it judges), retired (it judged before), rejected (no better than the one that judges), failed (nothing came of it).';
COMMENT ON COLUMN model_runs.digest IS 'Digest of the bundle, under which the object store keeps it; null without one.';
COMMENT ON COLUMN model_runs.reason IS 'Why it was rejected or failed.';
COMMENT ON COLUMN model_runs.started_at IS 'When the training began.';
COMMENT ON COLUMN model_runs.finished_at IS 'When it was over; null while it runs, or when the trainer died in it.';
COMMENT ON COLUMN model_runs.data_from IS 'End of the first step of the history.';
COMMENT ON COLUMN model_runs.data_to IS 'End of its last step.';
COMMENT ON COLUMN model_runs.steps IS 'Steps of history.';
COMMENT ON COLUMN model_runs.quarantined_steps IS 'Of these, left out because something was wrong then, or minutes before or after.';
COMMENT ON COLUMN model_runs.features IS 'The metrics that it judges.';
COMMENT ON COLUMN model_runs.parameters IS 'The settings of the model and of its training.';
COMMENT ON COLUMN model_runs.seed IS 'From which everything random in it follows.';
COMMENT ON COLUMN model_runs.code_version IS 'The version of the trainer.';
COMMENT ON COLUMN model_runs.scores IS 'How well it tells injected faults from ordinary steps it has not seen, beside the model that judges: {auroc, found_at_1_percent, champion: {…}}.';

CREATE TABLE activations (
    activation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope text NOT NULL CHECK (scope ~ '^[^/]+/.+/[^/]+/[0-9]+$'),
    digest text CHECK (digest ~ '^[0-9a-f]{64}$'),
    from_log_time timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp() + interval '15 seconds'),
    reason text NOT NULL DEFAULT 'by hand',
    run_id uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    refused_from timestamptz,
    refusal text,
    CHECK ((refused_from IS NULL) = (refusal IS NULL))
);

CREATE INDEX activations_scope ON activations (scope, from_log_time DESC, activation_id DESC);
CREATE INDEX activations_refused ON activations (activation_id) WHERE refused_from IS NOT NULL;

COMMENT ON TABLE activations IS 'Which model judges whom, from which moment of the log on. To go back to an earlier model, insert one row with its scope and digest; to judge without, one with a null digest. Rows are never changed or deleted while the log still holds that time, or a replay would judge otherwise than it was judged.';
COMMENT ON COLUMN activations.activation_id IS 'Counts the rows in the order in which they were committed.';
COMMENT ON COLUMN activations.scope IS 'Whom: tenant/resource/feature set.';
COMMENT ON COLUMN activations.digest IS 'Digest of the bundle that judges beside the online detector; null for none.';
COMMENT ON COLUMN activations.from_log_time IS 'From this moment of the log on. At least 10 s ahead; left out, it is 15 s from now.';
COMMENT ON COLUMN activations.reason IS 'Why.';
COMMENT ON COLUMN activations.run_id IS 'The training that it comes from; null for one by hand.';
COMMENT ON COLUMN activations.created_at IS 'When it was written, by the database''s clock.';
COMMENT ON COLUMN activations.refused_from IS 'From this moment of the log on the row counts as if it were not there; null if it was taken.';
COMMENT ON COLUMN activations.refusal IS 'Why the predictor refused it. The last good model goes on judging.';

-- Readers fetch what is beyond the last number they have seen. So numbers must be committed in their order: whoever
-- inserts waits for the one before.
CREATE FUNCTION activations_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('forewarn.activations', 0));
    RETURN NULL;
END
$$;

CREATE TRIGGER activations_in_order BEFORE INSERT ON activations
    FOR EACH STATEMENT EXECUTE FUNCTION activations_in_order();

-- What a predictor has read holds for the next seconds of the log: no row may appear in them later.
CREATE FUNCTION activations_ahead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.from_log_time < clock_timestamp() + interval '10 seconds' THEN
        RAISE EXCEPTION 'from_log_time has to be at least 10 s ahead'
            USING HINT = 'Leave it out, and it is 15 s from now.', ERRCODE = 'check_violation';
    END IF;
    NEW.from_log_time := date_trunc('milliseconds', NEW.from_log_time);
    RETURN NEW;
END
$$;

CREATE TRIGGER activations_ahead BEFORE INSERT ON activations
    FOR EACH ROW EXECUTE FUNCTION activations_ahead();

CREATE VIEW models AS
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
WHERE r.digest IS NOT NULL
ORDER BY (a.digest IS NULL), r.resource, r.feature_set, r.finished_at DESC;

COMMENT ON VIEW models IS 'Every model that was made, those that judge now first. Its digest is what a rollback wants: INSERT INTO activations (scope, digest) VALUES (…).';
COMMENT ON COLUMN models.state IS 'champion: it judges now. Otherwise as the trainer left it.';
COMMENT ON COLUMN models.auroc IS 'Probability that a faulty step is more unusual to it than an ordinary one it has not seen; 0.5 is chance.';
COMMENT ON COLUMN models.judges_since IS 'Since when it judges, in the log''s time; null if it does not.';
COMMENT ON COLUMN models.trained_at IS 'When its training was over.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'forewarn_ro') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO forewarn_ro;
    END IF;
END
$$;
