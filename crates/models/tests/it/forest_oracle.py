"""The oracle of the isolation forest: scikit-learn fits one, shows its trees, and scores rows with it.

Reads {"rows", "planted"} from stdin. Writes the trees; probes, which are rows that stand on thresholds as exactly as an
f32 can, or one f32 beside them; the scores of the probes; and the scores of `planted`.
"""

import json
import sys

import numpy as np
from sklearn.ensemble import IsolationForest


def tree(estimator):
    nodes = estimator.tree_
    return {
        "left": nodes.children_left.tolist(),
        "right": nodes.children_right.tolist(),
        "column": nodes.feature.tolist(),
        "threshold": nodes.threshold.tolist(),
        "rows": nodes.n_node_samples.tolist(),
    }


def probes(forest, rows, rng):
    """Rows of the training, with most values moved to thresholds of their columns."""
    thresholds = [[] for _ in range(rows.shape[1])]
    for estimator in forest.estimators_:
        nodes = estimator.tree_
        for column, threshold in zip(nodes.feature, nodes.threshold):
            if column >= 0:
                thresholds[column].append(threshold)
    found = rows[rng.integers(len(rows), size=600)].copy()
    for row in found:
        for column, choices in enumerate(thresholds):
            if choices and rng.random() < 0.8:
                near = np.float32(rng.choice(choices))
                towards = np.float32(rng.choice([-np.inf, np.inf]))
                row[column] = near if rng.random() < 0.5 else np.nextafter(near, towards)
    return found


def main():
    task = json.load(sys.stdin)
    rows = np.array(task["rows"], dtype=np.float32)
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=7, n_jobs=1).fit(rows)
    found = probes(forest, rows, np.random.default_rng(7))
    answer = {
        "trees": [tree(estimator) for estimator in forest.estimators_],
        "probes": found.astype(np.float64).tolist(),
        "scores": (-forest.score_samples(found)).tolist(),
        "planted": (-forest.score_samples(np.array(task["planted"], dtype=np.float32))).tolist(),
    }
    json.dump(answer, sys.stdout)


main()
