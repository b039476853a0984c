-- How far back an order's trainings look. Without it a training looks back to the first step that was judged, which a
-- history that was taken in from elsewhere lies before.

ALTER TABLE training_orders ADD COLUMN since timestamptz;
COMMENT ON COLUMN training_orders.since IS 'History before the first judged step counts from here on; null means that there is none.';
