-- People acknowledge and resolve alerts. What became of a command is a row, written in the interval in which its turn came:
-- whoever sent it waits for the row, a refusal is one like any other, and a command that comes again changes nothing.

CREATE TABLE alert_commands (
    command_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    alert_id uuid NOT NULL,
    deed text NOT NULL CHECK (deed IN ('acknowledge', 'resolve')),
    actor text NOT NULL,
    message text,
    outcome text NOT NULL CHECK (outcome IN ('done', 'already', 'over', 'unknown')),
    sequence bigint CHECK ((sequence IS NOT NULL) = (outcome = 'done')),
    detail text,
    logged_at timestamptz NOT NULL,
    src text NOT NULL
);

CREATE INDEX alert_commands_alert ON alert_commands (alert_id, logged_at);

COMMENT ON TABLE alert_commands IS 'What people decided about alerts, and what came of it: a function of the log, like the alerts themselves.';
COMMENT ON COLUMN alert_commands.command_id IS 'Made by whoever asked. The same id is the same command, however often it is sent.';
COMMENT ON COLUMN alert_commands.tenant IS 'Whose alert; default unless tenants are configured.';
COMMENT ON COLUMN alert_commands.alert_id IS 'Which alert, if there is one of this id.';
COMMENT ON COLUMN alert_commands.deed IS 'What was wanted: acknowledge or resolve.';
COMMENT ON COLUMN alert_commands.actor IS 'Who decided: a person''s name as they gave it, or a program''s.';
COMMENT ON COLUMN alert_commands.message IS 'What they said about it.';
COMMENT ON COLUMN alert_commands.outcome IS 'done; already (it was so before); over (refused: a resolved alert is not acknowledged); unknown (refused: there was no such alert).';
COMMENT ON COLUMN alert_commands.sequence IS 'The transition of the alert that it brought about.';
COMMENT ON COLUMN alert_commands.detail IS 'Why nothing was done, in words.';
COMMENT ON COLUMN alert_commands.logged_at IS 'The log''s time of the command.';
COMMENT ON COLUMN alert_commands.src IS 'The command''s place in the log: log/partition/offset/sub of commands.';

ALTER TABLE alert_history
    ADD COLUMN actor text,
    ADD COLUMN message text,
    ADD COLUMN command_id uuid;

COMMENT ON COLUMN alert_history.actor IS 'Who brought it about, where it was a person; null where it was the log.';
COMMENT ON COLUMN alert_history.message IS 'What they said about it.';
COMMENT ON COLUMN alert_history.command_id IS 'The command by which they did: key of alert_commands.';
COMMENT ON COLUMN alert_history.src IS 'Where in the log the cause is: log/partition/offset/sub of system_metrics, or of commands where command_id is given.';
COMMENT ON COLUMN alert_history.notify IS 'Whether people are told: not of flapping, nor of history, nor of an acknowledgement.';

COMMENT ON COLUMN alerts.src IS 'Where in the log the cause of its last transition is: log/partition/offset/sub of system_metrics, or of commands where a person caused it.';
COMMENT ON COLUMN alerter_state.next_offsets IS 'The offset of anomaly_predictions to read next, by partition, and behind them that of commands.';
COMMENT ON COLUMN alerter_decisions.partition IS 'Which partition; one more than there are is commands.';
