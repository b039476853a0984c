-- What the alerter writes, all of it in one transaction per interval (a span of the merged log): its own state, the
-- transitions of alerts, the alerts, and what has to be delivered. Rows of alerts, alert_history and
-- alerter_decisions are functions of the log; alert_history.published is the relay's own mark.

CREATE TABLE alerter_state (
    name text PRIMARY KEY CHECK (name = 'alerter'),
    epoch bigint NOT NULL,
    holder text NOT NULL,
    expires_at timestamptz NOT NULL,
    next_offsets bigint[] NOT NULL,
    checkpoint bytea NOT NULL,
    passed bigint NOT NULL,
    logged_at timestamptz,
    is_behind boolean NOT NULL,
    rules_digest text NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE alerter_state IS 'Lease and checkpoint of the alerter: one row. Never edit it by hand.';
COMMENT ON COLUMN alerter_state.name IS 'Always alerter.';
COMMENT ON COLUMN alerter_state.epoch IS 'Counts the changes of the holder. An alerter that lost the lease finds another epoch, and its transaction fails.';
COMMENT ON COLUMN alerter_state.holder IS 'The process that is active; others stand by.';
COMMENT ON COLUMN alerter_state.expires_at IS 'Another process may take over from then on, by the database''s clock.';
COMMENT ON COLUMN alerter_state.next_offsets IS 'The offset of anomaly_predictions to read next, by partition.';
COMMENT ON COLUMN alerter_state.checkpoint IS 'State of the alerts and of the merge of partitions, as of next_offsets.';
COMMENT ON COLUMN alerter_state.passed IS 'Messages that have passed since the beginning of the log.';
COMMENT ON COLUMN alerter_state.logged_at IS 'The log''s time of the last message that passed.';
COMMENT ON COLUMN alerter_state.is_behind IS 'Further behind the newest than alerter.behind_after: nothing is delivered until it has caught up, and then only the last state of each alert.';
COMMENT ON COLUMN alerter_state.rules_digest IS 'Digest of the rules in force.';
COMMENT ON COLUMN alerter_state.updated_at IS 'When it was moved last, by the database''s clock.';

CREATE TABLE alerter_decisions (
    number bigint PRIMARY KEY,
    passed bigint NOT NULL,
    partition bigint NOT NULL,
    left_out boolean NOT NULL,
    newest_at timestamptz NOT NULL
);

COMMENT ON TABLE alerter_decisions IS 'Where the order of the merged log was decided rather than found: a partition without a living writer was left out, or came back.';
COMMENT ON COLUMN alerter_decisions.number IS 'Counts the decisions from 1.';
COMMENT ON COLUMN alerter_decisions.passed IS 'How many messages had passed.';
COMMENT ON COLUMN alerter_decisions.partition IS 'Which partition.';
COMMENT ON COLUMN alerter_decisions.left_out IS 'True: left out from here on. False: it came back.';
COMMENT ON COLUMN alerter_decisions.newest_at IS 'The newest moment of the log that any partition had reached.';

CREATE TABLE alerts (
    alert_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    rule text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    state text NOT NULL CHECK (state IN ('predicted', 'open', 'acknowledged', 'resolved', 'silenced', 'dismissed')),
    resource text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    failure text CHECK (failure IN ('disk_full', 'memory_exhaustion', 'connection_exhaustion', 'file_descriptor_exhaustion')),
    prediction_id uuid,
    fingerprint text NOT NULL,
    title text NOT NULL,
    summary text NOT NULL,
    reason text,
    began_at timestamptz NOT NULL,
    opened_at timestamptz,
    changed_at timestamptz NOT NULL,
    resolved_at timestamptz,
    transitions bigint NOT NULL,
    reopened bigint NOT NULL,
    backfill boolean NOT NULL,
    src text NOT NULL
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX alerts_one_active ON alerts (tenant, fingerprint) WHERE state <> 'resolved';
CREATE INDEX alerts_opened ON alerts (opened_at DESC);
CREATE INDEX alerts_resource ON alerts (resource, opened_at DESC);

COMMENT ON TABLE alerts IS 'Findings of rules that need or needed attention, one row each.';
COMMENT ON COLUMN alerts.alert_id IS 'Made from the content: tenant, rule, fingerprint and the step with which it began.';
COMMENT ON COLUMN alerts.tenant IS 'The owner; default unless tenants are configured.';
COMMENT ON COLUMN alerts.rule IS 'Name of the rule that found it.';
COMMENT ON COLUMN alerts.severity IS 'info, low, medium, high or critical: from impact and time left.';
COMMENT ON COLUMN alerts.state IS 'predicted (a failure is expected), open, acknowledged, resolved; silenced, dismissed. A condition that does not hold for long enough yet is pending, and no alert: see condition_changes.';
COMMENT ON COLUMN alerts.resource IS 'Whom it is about: the name under which it sends metrics.';
COMMENT ON COLUMN alerts.kind IS 'What the resource is.';
COMMENT ON COLUMN alerts.subject IS 'What about it: a metric, a mount point, resource.';
COMMENT ON COLUMN alerts.failure IS 'How it fails, for alerts of failure prediction rules.';
COMMENT ON COLUMN alerts.prediction_id IS 'The failure prediction that began it or came true: key of predictions.';
COMMENT ON COLUMN alerts.fingerprint IS 'What it is about, as one text: there is one active alert per fingerprint.';
COMMENT ON COLUMN alerts.title IS 'What is or was wrong, in one line.';
COMMENT ON COLUMN alerts.summary IS 'The last that was said about it, in one line; for a resolved alert how it ended.';
COMMENT ON COLUMN alerts.reason IS 'Why it ended or came back.';
COMMENT ON COLUMN alerts.began_at IS 'End of the step with which it began, in the time of the measurement.';
COMMENT ON COLUMN alerts.opened_at IS 'The log''s time at which it was predicted or open first.';
COMMENT ON COLUMN alerts.changed_at IS 'The log''s time of its last transition.';
COMMENT ON COLUMN alerts.resolved_at IS 'The log''s time at which it ended; null while active.';
COMMENT ON COLUMN alerts.transitions IS 'How many transitions it has had.';
COMMENT ON COLUMN alerts.reopened IS 'How often it came back within its cooldown.';
COMMENT ON COLUMN alerts.backfill IS 'Whether its last transition comes from imported or generated history, which never notifies.';
COMMENT ON COLUMN alerts.src IS 'Where in the log the cause of its last transition is: log/partition/offset/sub of system_metrics.';

CREATE TABLE alert_history (
    alert_id uuid NOT NULL REFERENCES alerts (alert_id),
    sequence bigint NOT NULL,
    ordinal bigint NOT NULL UNIQUE,
    from_state text,
    to_state text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    title text NOT NULL,
    reason text,
    details jsonb NOT NULL,
    ts timestamptz NOT NULL,
    logged_at timestamptz NOT NULL,
    notify boolean NOT NULL,
    src text NOT NULL,
    published boolean NOT NULL DEFAULT false,
    PRIMARY KEY (alert_id, sequence)
);

CREATE INDEX alert_history_logged ON alert_history (logged_at DESC);
CREATE INDEX alert_history_unpublished ON alert_history (ordinal) WHERE NOT published;

COMMENT ON TABLE alert_history IS 'Every transition of every alert.';
COMMENT ON COLUMN alert_history.alert_id IS 'Which alert.';
COMMENT ON COLUMN alert_history.sequence IS 'Counts the alert''s transitions from 1.';
COMMENT ON COLUMN alert_history.ordinal IS 'Counts the transitions of all alerts from 1, in the order in which they happened.';
COMMENT ON COLUMN alert_history.from_state IS 'The state before; null for the first.';
COMMENT ON COLUMN alert_history.to_state IS 'The state from then on. Equal to from_state when only the severity rose, or when it came back and stayed.';
COMMENT ON COLUMN alert_history.severity IS 'How bad it was from then on.';
COMMENT ON COLUMN alert_history.title IS 'The transition in one line.';
COMMENT ON COLUMN alert_history.reason IS 'Why it ended or came back.';
COMMENT ON COLUMN alert_history.details IS 'The numbers behind the title: expected and actual, parts of the score, times to failure.';
COMMENT ON COLUMN alert_history.ts IS 'End of the step that brought it about, in the time of the measurement.';
COMMENT ON COLUMN alert_history.logged_at IS 'The log''s time of the transition.';
COMMENT ON COLUMN alert_history.notify IS 'Whether people are told: not of flapping, nor of history.';
COMMENT ON COLUMN alert_history.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics.';
COMMENT ON COLUMN alert_history.published IS 'Whether it is on alert_events. At least once: a crash may publish it again.';

CREATE VIEW active_alerts AS
SELECT severity, state, resource, title, rule, opened_at, changed_at, alert_id
FROM alerts
WHERE state <> 'resolved'
ORDER BY array_position(ARRAY['critical', 'high', 'medium', 'low', 'info'], severity), opened_at DESC;

COMMENT ON VIEW active_alerts IS 'What needs attention now, the worst first.';
