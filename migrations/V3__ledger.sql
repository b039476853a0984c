-- What the projector writes. Every row is a function of anomaly_predictions alone: no column has a default, none holds
-- a clock's reading, and src says where in the log the row comes from. States are text with a check, so a new one is no
-- change of type. Instants end in _at; ts is the time of a measurement.

CREATE TABLE anomalies (
    anomaly_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    resource text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('server', 'container', 'database', 'cache', 'load_balancer', 'storage', 'network', 'queue', 'service', 'application', 'serverless', 'ml_model', 'custom')),
    level text NOT NULL CHECK (level IN ('resource', 'series')),
    metric text,
    severity text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    ts timestamptz NOT NULL,
    score real NOT NULL,
    p double precision,
    p0 double precision,
    confidence real,
    value real,
    expected real,
    lower real,
    upper real,
    summary text NOT NULL,
    parts jsonb NOT NULL,
    feature_set text NOT NULL,
    model_set text NOT NULL,
    step_ms bigint NOT NULL,
    backfill boolean NOT NULL,
    logged_at timestamptz NOT NULL,
    src text NOT NULL
);

CREATE INDEX anomalies_ts ON anomalies (ts DESC);
CREATE INDEX anomalies_resource ON anomalies (resource, metric, ts DESC);

COMMENT ON TABLE anomalies IS 'Steps that were judged anomalous: score above 1, for a resource as a whole and for each metric on its own.';
COMMENT ON COLUMN anomalies.anomaly_id IS 'Made from the content: feature vector, level and model set.';
COMMENT ON COLUMN anomalies.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN anomalies.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN anomalies.kind IS 'What the resource is.';
COMMENT ON COLUMN anomalies.level IS 'Whether the resource as a whole is unusual, or one metric on its own.';
COMMENT ON COLUMN anomalies.metric IS 'The unusual metric; for a whole resource the one with the largest part. Null if no part is known.';
COMMENT ON COLUMN anomalies.severity IS 'From impact: medium when several metrics are unusual or the score is 2 or more, else low. High and critical need a predicted failure.';
COMMENT ON COLUMN anomalies.ts IS 'End of the judged step, in the time of the measurement.';
COMMENT ON COLUMN anomalies.score IS 'ln(p) / ln(p0): 1 is as rare as the alarm budget allows, 2 is the square as rare.';
COMMENT ON COLUMN anomalies.p IS 'Tail probability: how likely an incident-free five minutes hold a peak at least this high.';
COMMENT ON COLUMN anomalies.p0 IS 'The tail probability that the alarm budget allows.';
COMMENT ON COLUMN anomalies.confidence IS 'How much data stands behind the score, 0 to 1.';
COMMENT ON COLUMN anomalies.value IS 'What was measured, in the metric''s unit.';
COMMENT ON COLUMN anomalies.expected IS 'What was expected.';
COMMENT ON COLUMN anomalies.lower IS 'Lower edge of what would not have been an anomaly; for single metrics, and null where less is never one.';
COMMENT ON COLUMN anomalies.upper IS 'Upper edge of what would not have been an anomaly; for single metrics, and null where more is never one.';
COMMENT ON COLUMN anomalies.summary IS 'The anomaly in one line.';
COMMENT ON COLUMN anomalies.parts IS 'What the score of a whole resource consists of, largest first: [{metric, part, value, expected}]; the parts sum to the score.';
COMMENT ON COLUMN anomalies.feature_set IS 'Name and version of the features that were judged.';
COMMENT ON COLUMN anomalies.model_set IS 'Digest of what judged.';
COMMENT ON COLUMN anomalies.step_ms IS 'Length of the step in milliseconds.';
COMMENT ON COLUMN anomalies.backfill IS 'Whether it comes from imported or generated history, which never notifies.';
COMMENT ON COLUMN anomalies.logged_at IS 'The log''s time at which the cause was taken in.';
COMMENT ON COLUMN anomalies.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics.';

CREATE TABLE predictions (
    prediction_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    resource text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('server', 'container', 'database', 'cache', 'load_balancer', 'storage', 'network', 'queue', 'service', 'application', 'serverless', 'ml_model', 'custom')),
    failure text NOT NULL CHECK (failure IN ('disk_full', 'memory_exhaustion', 'connection_exhaustion', 'file_descriptor_exhaustion')),
    subject text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'confirmed', 'averted', 'expired', 'withdrawn')),
    title text NOT NULL,
    why text NOT NULL,
    first_action text NOT NULL,
    opened_at timestamptz NOT NULL,
    ts timestamptz NOT NULL,
    p10_at timestamptz,
    p50_at timestamptz,
    p90_at timestamptz,
    baseline_at timestamptz,
    probability double precision NOT NULL,
    horizon_seconds double precision NOT NULL,
    used double precision NOT NULL,
    limit_value double precision NOT NULL,
    slope_per_second double precision NOT NULL,
    ended_at timestamptz,
    reason text,
    lead_seconds double precision,
    updates bigint NOT NULL,
    backfill boolean NOT NULL,
    logged_at timestamptz NOT NULL,
    src text NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX predictions_open ON predictions (p50_at) WHERE state = 'open';
CREATE INDEX predictions_resource ON predictions (resource, opened_at DESC);

COMMENT ON TABLE predictions IS 'Failures that are or were expected, one row each, updated until the prediction ends.';
COMMENT ON COLUMN predictions.prediction_id IS 'Made from the content: resource, failure, subject and first step.';
COMMENT ON COLUMN predictions.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN predictions.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN predictions.kind IS 'What the resource is.';
COMMENT ON COLUMN predictions.failure IS 'How it will fail.';
COMMENT ON COLUMN predictions.subject IS 'What will reach its limit: a mount point, memory, a pool.';
COMMENT ON COLUMN predictions.state IS 'open, or how it ended: confirmed (the breach came), averted (something was done), expired (no breach by p90_at plus grace), withdrawn (the evidence went away).';
COMMENT ON COLUMN predictions.title IS 'The prediction in one line.';
COMMENT ON COLUMN predictions.why IS 'What it is founded on.';
COMMENT ON COLUMN predictions.first_action IS 'What to do first.';
COMMENT ON COLUMN predictions.opened_at IS 'The step at which it was said first.';
COMMENT ON COLUMN predictions.ts IS 'The step as of which the row speaks.';
COMMENT ON COLUMN predictions.p10_at IS 'The limit is reached before this moment with a probability of one in ten.';
COMMENT ON COLUMN predictions.p50_at IS 'The limit is as likely reached before this moment as after.';
COMMENT ON COLUMN predictions.p90_at IS 'The limit is reached after this moment with a probability of one in ten; null when that is beyond what the trend supports.';
COMMENT ON COLUMN predictions.baseline_at IS 'What a least-squares line says (predict_linear); null for never.';
COMMENT ON COLUMN predictions.probability IS 'Probability that the limit is reached within horizon_seconds.';
COMMENT ON COLUMN predictions.horizon_seconds IS 'How far ahead the probability looks.';
COMMENT ON COLUMN predictions.used IS 'What is used, in the unit of limit_value.';
COMMENT ON COLUMN predictions.limit_value IS 'The level at which it counts as failed.';
COMMENT ON COLUMN predictions.slope_per_second IS 'Recent growth per second.';
COMMENT ON COLUMN predictions.ended_at IS 'The step at which it ended; null while open.';
COMMENT ON COLUMN predictions.reason IS 'Why it ended, in a few words.';
COMMENT ON COLUMN predictions.lead_seconds IS 'For a confirmed one: time between saying it first and the breach.';
COMMENT ON COLUMN predictions.updates IS 'How many times it was said, the first time and the end included.';
COMMENT ON COLUMN predictions.backfill IS 'Whether it comes from imported or generated history, which never notifies.';
COMMENT ON COLUMN predictions.logged_at IS 'The log''s time at which the cause was taken in.';
COMMENT ON COLUMN predictions.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics.';

CREATE TABLE condition_changes (
    change_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    resource text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('server', 'container', 'database', 'cache', 'load_balancer', 'storage', 'network', 'queue', 'service', 'application', 'serverless', 'ml_model', 'custom')),
    rule text NOT NULL,
    rules_digest text NOT NULL,
    subject text NOT NULL,
    holds boolean NOT NULL,
    value double precision,
    threshold double precision,
    ts timestamptz NOT NULL,
    backfill boolean NOT NULL,
    logged_at timestamptz NOT NULL,
    src text NOT NULL
);

CREATE INDEX condition_changes_resource ON condition_changes (resource, ts DESC);

COMMENT ON TABLE condition_changes IS 'When the condition of a rule began and ceased to hold for a resource.';
COMMENT ON COLUMN condition_changes.change_id IS 'Made from the content: resource, rule, subject, direction and step.';
COMMENT ON COLUMN condition_changes.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN condition_changes.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN condition_changes.kind IS 'What the resource is.';
COMMENT ON COLUMN condition_changes.rule IS 'Name of the rule.';
COMMENT ON COLUMN condition_changes.rules_digest IS 'Digest of the rules in force.';
COMMENT ON COLUMN condition_changes.subject IS 'What was compared: a metric, a mount point, resource.';
COMMENT ON COLUMN condition_changes.holds IS 'Whether it holds from this step on.';
COMMENT ON COLUMN condition_changes.value IS 'What was measured, where a value is compared.';
COMMENT ON COLUMN condition_changes.threshold IS 'What it was compared with.';
COMMENT ON COLUMN condition_changes.ts IS 'End of the step at which it changed.';
COMMENT ON COLUMN condition_changes.backfill IS 'Whether it comes from imported or generated history, which never notifies.';
COMMENT ON COLUMN condition_changes.logged_at IS 'The log''s time at which the cause was taken in.';
COMMENT ON COLUMN condition_changes.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics.';

CREATE TABLE resources (
    tenant text NOT NULL,
    resource text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('server', 'container', 'database', 'cache', 'load_balancer', 'storage', 'network', 'queue', 'service', 'application', 'serverless', 'ml_model', 'custom')),
    state text NOT NULL CHECK (state IN ('learning', 'healthy', 'degraded', 'at_risk', 'critical', 'silent')),
    state_since_at timestamptz NOT NULL,
    first_step_at timestamptz NOT NULL,
    last_step_at timestamptz NOT NULL,
    verdict text CHECK (verdict IN ('scored', 'learning', 'gap', 'out_of_range')),
    score real,
    confidence real,
    eta_seconds double precision,
    open_predictions bigint NOT NULL,
    breached_at timestamptz,
    reached jsonb NOT NULL,
    silent_since_at timestamptz,
    feature_sets jsonb NOT NULL,
    logged_at timestamptz NOT NULL,
    src text NOT NULL,
    PRIMARY KEY (tenant, resource)
) WITH (fillfactor = 50);

COMMENT ON TABLE resources IS 'Every resource that was ever judged, and how it is doing.';
COMMENT ON COLUMN resources.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN resources.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN resources.kind IS 'What the resource is.';
COMMENT ON COLUMN resources.state IS 'How it is doing. silent: it stopped sending; critical: a limit is reached; at_risk: a failure is predicted; degraded: unusual; learning: too little has been seen.';
COMMENT ON COLUMN resources.state_since_at IS 'Since when it is in this state.';
COMMENT ON COLUMN resources.first_step_at IS 'The first step that was judged.';
COMMENT ON COLUMN resources.last_step_at IS 'The last step that was judged.';
COMMENT ON COLUMN resources.verdict IS 'What could be said about the last step.';
COMMENT ON COLUMN resources.score IS 'Score of the last step; above 1 is an anomaly.';
COMMENT ON COLUMN resources.confidence IS 'How much data stands behind the score, 0 to 1.';
COMMENT ON COLUMN resources.eta_seconds IS 'While learning: seconds of data still wanted.';
COMMENT ON COLUMN resources.open_predictions IS 'How many failures are predicted.';
COMMENT ON COLUMN resources.breached_at IS 'When a predicted limit was reached last; null once it is left again.';
COMMENT ON COLUMN resources.reached IS 'Limits that are reached and not left again: ["failure:subject"].';
COMMENT ON COLUMN resources.silent_since_at IS 'Since when it is silent, in the log''s time; null while it sends.';
COMMENT ON COLUMN resources.feature_sets IS 'What each feature set said last: {name: {ts, state}}.';
COMMENT ON COLUMN resources.logged_at IS 'The log''s time at which the cause was taken in.';
COMMENT ON COLUMN resources.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics.';

CREATE TABLE resource_changes (
    change_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    resource text NOT NULL,
    from_state text CHECK (from_state IN ('learning', 'healthy', 'degraded', 'at_risk', 'critical', 'silent')),
    to_state text NOT NULL CHECK (to_state IN ('learning', 'healthy', 'degraded', 'at_risk', 'critical', 'silent')),
    ts timestamptz NOT NULL,
    logged_at timestamptz NOT NULL,
    src text NOT NULL
);

CREATE INDEX resource_changes_resource ON resource_changes (resource, ts DESC);

COMMENT ON TABLE resource_changes IS 'Every change of a resource''s state.';
COMMENT ON COLUMN resource_changes.change_id IS 'Made from the content: resource, both states and the moment.';
COMMENT ON COLUMN resource_changes.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN resource_changes.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN resource_changes.from_state IS 'The state before; null for a new resource.';
COMMENT ON COLUMN resource_changes.to_state IS 'The state from then on.';
COMMENT ON COLUMN resource_changes.ts IS 'The step that brought it about; for silent the log''s time at which it was noticed.';
COMMENT ON COLUMN resource_changes.logged_at IS 'The log''s time at which the cause was taken in.';
COMMENT ON COLUMN resource_changes.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics.';

CREATE TABLE resource_minutes (
    tenant text NOT NULL,
    resource text NOT NULL,
    minute_at timestamptz NOT NULL,
    max_score real,
    max_score_at timestamptz,
    max_metric text,
    scored_steps bigint NOT NULL,
    anomalous_steps bigint NOT NULL,
    learning_steps bigint NOT NULL,
    other_steps bigint NOT NULL,
    PRIMARY KEY (tenant, resource, minute_at)
) WITH (fillfactor = 50);

CREATE INDEX resource_minutes_minute ON resource_minutes (minute_at DESC);

COMMENT ON TABLE resource_minutes IS 'One row per resource and minute: its worst score, and how its steps were judged.';
COMMENT ON COLUMN resource_minutes.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN resource_minutes.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN resource_minutes.minute_at IS 'Start of the minute.';
COMMENT ON COLUMN resource_minutes.max_score IS 'The highest score, of the resource as a whole or of one metric; null if no step was scored.';
COMMENT ON COLUMN resource_minutes.max_score_at IS 'End of the step that had it.';
COMMENT ON COLUMN resource_minutes.max_metric IS 'The metric whose score it is, or the one with the largest part in it; null if nothing was unusual.';
COMMENT ON COLUMN resource_minutes.scored_steps IS 'Steps that were scored, anomalous ones included.';
COMMENT ON COLUMN resource_minutes.anomalous_steps IS 'Steps with an anomaly, of the resource as a whole or of one metric.';
COMMENT ON COLUMN resource_minutes.learning_steps IS 'Steps too early to judge.';
COMMENT ON COLUMN resource_minutes.other_steps IS 'Steps without values, or outside what the model was made for.';
