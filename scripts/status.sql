-- One line a resource, for the terminal of `make run`.
SELECT to_char(now(), 'HH24:MI:SS'),
       resource,
       CASE
           WHEN state = 'learning' AND eta_seconds IS NOT NULL
               THEN 'learning, ' || ceil(eta_seconds / 60) || ' min to go'
           ELSE state
       END,
       CASE WHEN score IS NOT NULL THEN 'score ' || round(score::numeric, 2) ELSE '' END,
       CASE WHEN open_predictions > 0 THEN open_predictions || ' failures predicted' ELSE '' END
FROM resources
ORDER BY resource;
