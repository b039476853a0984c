-- How good the failure predictions have been, so that nobody has to take our word for it.
--
-- Everything is read off the rows of predictions: nothing is graded here that the projector has not graded already.
-- History that was imported or generated (backfill) is left out: it says nothing about warnings that people could use.
--
-- A prediction ends in one of four ways, and they are not equally good:
--   confirmed   the breach came: right
--   averted     an action or a change ran, and the breach did not come: right, as far as anybody can tell
--   expired     no breach by p90_at and a grace: a false alarm
--   withdrawn   the evidence went away before: said too early, and taken back. Not counted by precision, which asks
--               whether one can rely on what stands; counted by precision_strict, which asks what became of all warnings.

CREATE VIEW prediction_quality AS
SELECT
    CASE WHEN GROUPING(p.failure) = 1 THEN 'all' ELSE p.failure END AS failure,
    s.span,
    count(p.prediction_id) AS opened,
    count(*) FILTER (WHERE p.state = 'confirmed') AS confirmed,
    count(*) FILTER (WHERE p.state = 'averted') AS averted,
    count(*) FILTER (WHERE p.state = 'expired') AS expired,
    count(*) FILTER (WHERE p.state = 'withdrawn') AS withdrawn,
    count(*) FILTER (WHERE p.state = 'open') AS open,
    round(
        count(*) FILTER (WHERE p.state IN ('confirmed', 'averted'))::numeric
        / nullif(count(*) FILTER (WHERE p.state IN ('confirmed', 'averted', 'expired')), 0),
        2
    ) AS precision,
    round(
        count(*) FILTER (WHERE p.state = 'confirmed')::numeric
        / nullif(count(*) FILTER (WHERE p.state <> 'open'), 0),
        2
    ) AS precision_strict,
    make_interval(secs => round(
        percentile_cont(0.1) WITHIN GROUP (ORDER BY p.lead_seconds) FILTER (WHERE p.state = 'confirmed')
    )) AS lead_p10,
    make_interval(secs => round(
        percentile_cont(0.5) WITHIN GROUP (ORDER BY p.lead_seconds) FILTER (WHERE p.state = 'confirmed')
    )) AS lead_p50,
    make_interval(secs => round(
        percentile_cont(0.9) WITHIN GROUP (ORDER BY p.lead_seconds) FILTER (WHERE p.state = 'confirmed')
    )) AS lead_p90,
    round(
        avg((p.lead_seconds >= 900)::int) FILTER (WHERE p.state = 'confirmed'),
        2
    ) AS lead_15m_share,
    make_interval(secs => round(
        percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(extract(epoch FROM p.ended_at - p.p50_at))::double precision)
        FILTER (WHERE p.state = 'confirmed')
    )) AS p50_error,
    make_interval(secs => round(
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM p.ended_at - p.p50_at)::double precision)
        FILTER (WHERE p.state = 'confirmed')
    )) AS p50_late_by,
    round(
        avg((p.ended_at BETWEEN p.p10_at AND coalesce(p.p90_at, 'infinity'))::int) FILTER (WHERE p.state = 'confirmed'),
        2
    ) AS in_interval_share,
    t.tenant
FROM (SELECT 'default' AS tenant UNION SELECT DISTINCT tenant FROM predictions) t
CROSS JOIN (VALUES (1, '30 days', now() - interval '30 days'), (2, 'ever', '-infinity'::timestamptz)) s (ordinal, span, since)
LEFT JOIN predictions p ON p.tenant = t.tenant AND p.opened_at >= s.since AND NOT p.backfill
GROUP BY GROUPING SETS ((t.tenant, s.ordinal, s.span, p.failure), (t.tenant, s.ordinal, s.span))
-- Without any prediction the join still has its one empty row, which is no kind of failure.
HAVING GROUPING(p.failure) = 1 OR p.failure IS NOT NULL
ORDER BY t.tenant, s.ordinal, GROUPING(p.failure) DESC, p.failure;

COMMENT ON VIEW prediction_quality IS 'How failure predictions ended, per kind of failure: those opened in the last 30 days, and ever. The first line sums the kinds. Imported history is left out.';
COMMENT ON COLUMN prediction_quality.failure IS 'Which kind of failure was predicted; all: every kind together.';
COMMENT ON COLUMN prediction_quality.span IS 'Which predictions are counted: those opened in the last 30 days, or ever.';
COMMENT ON COLUMN prediction_quality.opened IS 'How many were said; the five states add up to it.';
COMMENT ON COLUMN prediction_quality.confirmed IS 'The breach came.';
COMMENT ON COLUMN prediction_quality.averted IS 'An action or a change ran, and the breach did not come.';
COMMENT ON COLUMN prediction_quality.expired IS 'No breach by p90_at and a grace: false alarms.';
COMMENT ON COLUMN prediction_quality.withdrawn IS 'The evidence went away before: taken back.';
COMMENT ON COLUMN prediction_quality.open IS 'Still expected; not graded yet.';
COMMENT ON COLUMN prediction_quality.precision IS 'Share that was right among those that stood to their end: (confirmed + averted) / (confirmed + averted + expired). Null before any has ended so.';
COMMENT ON COLUMN prediction_quality.precision_strict IS 'Share that came true among all that ended, withdrawn and averted ones counted against it: confirmed / (confirmed + averted + expired + withdrawn).';
COMMENT ON COLUMN prediction_quality.lead_p10 IS 'One confirmed prediction in ten was said less than this before the breach.';
COMMENT ON COLUMN prediction_quality.lead_p50 IS 'Half of the confirmed predictions were said at least this long before the breach.';
COMMENT ON COLUMN prediction_quality.lead_p90 IS 'One confirmed prediction in ten was said more than this before the breach.';
COMMENT ON COLUMN prediction_quality.lead_15m_share IS 'Share of confirmed predictions that were said at least 15 minutes before the breach.';
COMMENT ON COLUMN prediction_quality.p50_error IS 'Median distance between the breach and the p50_at that was said last before it; what was said first is not kept.';
COMMENT ON COLUMN prediction_quality.p50_late_by IS 'The same with its sign: positive when breaches come later than said, negative when they come earlier.';
COMMENT ON COLUMN prediction_quality.in_interval_share IS 'Share of confirmed predictions whose breach came within the p10_at to p90_at that was said last; 0.8 if the interval is honest.';
COMMENT ON COLUMN prediction_quality.tenant IS 'The owner; default unless tenants are configured.';

-- Later migrations of other tables were not known when the role was made.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'forewarn_ro') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO forewarn_ro;
    END IF;
END
$$;
