-- Trainings that somebody asked for, by command or by POST /train. The row is what makes an order durable: it outlives
-- whoever asked and whoever serves it.

CREATE TABLE training_orders (
    command_id uuid PRIMARY KEY,
    tenant text NOT NULL,
    actor text NOT NULL,
    resources text[],
    state text NOT NULL CHECK (state IN ('waiting', 'done', 'refused')),
    reason text,
    attempts integer NOT NULL DEFAULT 0,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    CHECK ((ended_at IS NULL) = (state = 'waiting'))
);

CREATE INDEX training_orders_waiting ON training_orders (asked_at, command_id) WHERE state = 'waiting';

COMMENT ON TABLE training_orders IS 'Trainings that somebody asked for, and what became of them.';
COMMENT ON COLUMN training_orders.command_id IS 'Which command; its trainings bear it in model_runs.';
COMMENT ON COLUMN training_orders.tenant IS 'Whose resources.';
COMMENT ON COLUMN training_orders.actor IS 'Who asked.';
COMMENT ON COLUMN training_orders.resources IS 'Whom to train, due or not; null means whoever is due.';
COMMENT ON COLUMN training_orders.state IS 'waiting (its turn has not come, or is under way), done (model_runs says how each training ended), refused (nothing was trained; see reason).';
COMMENT ON COLUMN training_orders.reason IS 'Why it was refused, or what is left undone.';
COMMENT ON COLUMN training_orders.attempts IS 'How often it was begun without coming to an end: now, and whenever a trainer ended in the middle of it.';
COMMENT ON COLUMN training_orders.asked_at IS 'When it was asked for.';
COMMENT ON COLUMN training_orders.ended_at IS 'When it was done or refused; null while it waits.';

ALTER TABLE model_runs ADD COLUMN command_id uuid;
COMMENT ON COLUMN model_runs.command_id IS 'The order that it was made for; null when it was due by itself.';
CREATE INDEX model_runs_command ON model_runs (command_id) WHERE command_id IS NOT NULL;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'forewarn_ro') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO forewarn_ro;
    END IF;
END
$$;
