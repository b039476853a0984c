-- The outbox: what has to be told to whom. Rows are written in the alerter's interval, so no transition is forgotten,
-- and moved by the workers that deliver them. These instants are the database's clock: a delivery is an effect in the
-- world, not a fact of the log.

CREATE TABLE deliveries (
    delivery_id uuid PRIMARY KEY,
    alert_id uuid NOT NULL,
    sequence bigint NOT NULL,
    receiver text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'sending', 'delivered', 'superseded', 'failed')),
    attempts bigint NOT NULL,
    due_at timestamptz NOT NULL,
    claimed_until timestamptz,
    last_error text,
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    UNIQUE (alert_id, receiver, sequence),
    FOREIGN KEY (alert_id, sequence) REFERENCES alert_history (alert_id, sequence)
) WITH (fillfactor = 70);

CREATE INDEX deliveries_unsettled ON deliveries (receiver, due_at) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_sending ON deliveries (receiver, claimed_until) WHERE state = 'sending';

COMMENT ON TABLE deliveries IS 'One notification of one transition to one receiver. At least once: attempts whose outcome is unknown are repeated under the same delivery_id.';
COMMENT ON COLUMN deliveries.delivery_id IS 'Made from the content: alert, sequence and receiver. Receivers see it as Idempotency-Key.';
COMMENT ON COLUMN deliveries.alert_id IS 'Which alert.';
COMMENT ON COLUMN deliveries.sequence IS 'Which of its transitions.';
COMMENT ON COLUMN deliveries.receiver IS 'Name of the receiver.';
COMMENT ON COLUMN deliveries.state IS 'pending, sending (an attempt is on its way, or its process died), delivered, superseded (a newer transition of the alert is told instead), failed (refused for good, or not accepted within alerter.give_up_after).';
COMMENT ON COLUMN deliveries.attempts IS 'Attempts begun so far.';
COMMENT ON COLUMN deliveries.due_at IS 'No attempt before then.';
COMMENT ON COLUMN deliveries.claimed_until IS 'Until then the attempt on its way is waited for; afterwards its outcome is unknown.';
COMMENT ON COLUMN deliveries.last_error IS 'Why the last attempt failed. Never holds an address or a secret.';
COMMENT ON COLUMN deliveries.created_at IS 'When it was written.';
COMMENT ON COLUMN deliveries.settled_at IS 'When it was delivered, superseded or given up.';

CREATE TABLE delivery_attempts (
    delivery_id uuid NOT NULL REFERENCES deliveries (delivery_id),
    attempt bigint NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome text CHECK (outcome IN ('delivered', 'transient', 'permanent')),
    detail text,
    PRIMARY KEY (delivery_id, attempt)
);

COMMENT ON TABLE delivery_attempts IS 'Every attempt, written before it is made: one without an outcome was cut off, and may or may not have arrived.';
COMMENT ON COLUMN delivery_attempts.delivery_id IS 'Of which delivery.';
COMMENT ON COLUMN delivery_attempts.attempt IS 'Counts from 1.';
COMMENT ON COLUMN delivery_attempts.started_at IS 'When it began.';
COMMENT ON COLUMN delivery_attempts.finished_at IS 'When its outcome was known; null if it never was.';
COMMENT ON COLUMN delivery_attempts.outcome IS 'delivered, transient (it is tried again) or permanent (it is not).';
COMMENT ON COLUMN delivery_attempts.detail IS 'The receiver''s answer or the error, without any address or secret.';
