"""The peer of `cargo bench -p forewarn-models`: scikit-learn's isolation forest on the same rows, on one thread.

Reads the table of f32 that the first argument names, with as many columns as the second says. Then answers commands, a
line of JSON each, so that both sides can take turns in one run: `about` (version, trees, and scores of the first rows),
and `bulk`, `single`, `fit`, `fit_week` (seconds of processor time; for a single row, for all rows, for a week of minutes).
"""

import json
import sys
import time

import numpy as np
import sklearn
from sklearn.ensemble import IsolationForest

SINGLES = 100
WEEK = 7 * 24 * 60


def new():
    return IsolationForest(n_estimators=100, max_samples=256, random_state=7, n_jobs=1)


def tree(estimator):
    nodes = estimator.tree_
    return {
        "left": nodes.children_left.tolist(),
        "right": nodes.children_right.tolist(),
        "column": nodes.feature.tolist(),
        "threshold": nodes.threshold.tolist(),
        "rows": nodes.n_node_samples.tolist(),
    }


def singles(forest, rows):
    for at in range(SINGLES):
        forest.score_samples(rows[at : at + 1])


def timed(run):
    begun = time.process_time()
    run()
    return time.process_time() - begun


def main():
    path, columns = sys.argv[1], int(sys.argv[2])
    rows = np.fromfile(path, dtype="<f4").reshape(-1, columns)
    forest = new().fit(rows)
    singles(forest, rows)
    for command in sys.stdin:
        match command.strip():
            case "about":
                answer = {
                    "version": sklearn.__version__,
                    "trees": [tree(estimator) for estimator in forest.estimators_],
                    "scores": (-forest.score_samples(rows[:1000])).tolist(),
                }
            case "bulk":
                answer = timed(lambda: forest.score_samples(rows))
            case "single":
                answer = timed(lambda: singles(forest, rows)) / SINGLES
            case "fit":
                answer = timed(lambda: new().fit(rows))
            case "fit_week":
                answer = timed(lambda: new().fit(rows[:WEEK]))
        print(json.dumps(answer), flush=True)


main()
