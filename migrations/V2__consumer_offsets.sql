-- How far each consumer has come in each partition of the log. Moved by compare-and-set in the transaction that writes
-- what was read, so rows and offset are always of the same moment.

CREATE TABLE consumer_offsets (
    consumer_group text NOT NULL,
    log_id uuid NOT NULL,
    topic text NOT NULL,
    partition bigint NOT NULL CHECK (partition >= 0),
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    done_offset bigint,
    done_sub bigint,
    owner text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer_group, log_id, topic, partition)
) WITH (fillfactor = 50);

COMMENT ON TABLE consumer_offsets IS 'How far each consumer has come in each partition; part of the transactions that write the ledger. Never edit it by hand.';
COMMENT ON COLUMN consumer_offsets.consumer_group IS 'Who reads: projector.';
COMMENT ON COLUMN consumer_offsets.log_id IS 'Identity of the partition''s history: a topic that was deleted and made again has another.';
COMMENT ON COLUMN consumer_offsets.topic IS 'What is read, without the prefix of topics.';
COMMENT ON COLUMN consumer_offsets.partition IS 'Which partition of it.';
COMMENT ON COLUMN consumer_offsets.next_offset IS 'The offset to read next; everything before has had its effect.';
COMMENT ON COLUMN consumer_offsets.done_offset IS 'Offset of the root record (in system_metrics) of the last record done; what does not lie beyond is a repetition.';
COMMENT ON COLUMN consumer_offsets.done_sub IS 'Place of the last record done among those that its root record caused.';
COMMENT ON COLUMN consumer_offsets.owner IS 'The process that moved it last.';
COMMENT ON COLUMN consumer_offsets.updated_at IS 'When it was moved last, by the database''s clock.';
