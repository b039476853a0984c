"""The peers of `cargo bench -p forewarn-features`: the same table of features with pandas and with polars.

Each is used as its makers would: whole columns at once, intermediate results shared, slopes in closed form. Prints the
time of the last of several runs and the last row, so that the benchmark can see that all compute the same.
"""

import json
import sys
import time

import numpy as np
import pandas as pd
import polars as pl

FLOOR = 0.001


def least(name, n):
    return max((n + 1) // 2, 2 if name in ("std", "slope") else 1)


def parse(transform):
    name, argument = transform.rsplit("_", 1)
    return name, 60 if argument == "1m" else int(argument)


def with_pandas(frame, transforms):
    shifted, cache, out = frame.shift(1), {}, [frame]

    def rolling(name, n):
        if (name, n) not in cache:
            cache[name, n] = getattr(frame.rolling(n, min_periods=least(name, n)), name)()
        return cache[name, n]

    at = np.arange(len(frame), dtype="float64")
    for transform in transforms:
        if transform == "diff":
            out.append(frame - shifted)
        elif transform == "rate_of_change":
            out.append(((frame - shifted) / shifted.abs()).where(shifted.abs() >= FLOOR))
        else:
            name, n = parse(transform)
            if name == "lag":
                out.append(frame.shift(n))
            elif name == "ewma":
                out.append(frame.ewm(span=n, adjust=True, ignore_na=False).mean())
            elif name == "zscore":
                out.append((frame - rolling("mean", n)) / rolling("std", n).clip(lower=FLOOR))
            elif name == "slope":
                # Covariance with the place over its variance.
                products = frame.mul(at, axis=0).rolling(n).mean()
                middle = pd.Series(at - (n - 1) / 2, index=frame.index)
                out.append((products - rolling("mean", n).mul(middle, axis=0)) / ((n * n - 1) / 12))
            else:
                out.append(rolling(name, n))
    return out


def with_polars(frame, columns, transforms):
    names = [f"c{i}" for i in range(columns)]
    out = []
    for transform in ["value", *transforms]:
        for name in names:
            x = pl.col(name)
            if transform == "value":
                made = x
            elif transform == "diff":
                made = x.diff()
            elif transform == "rate_of_change":
                before = x.shift(1)
                made = pl.when(before.abs() >= FLOOR).then((x - before) / before.abs())
            else:
                kind, n = parse(transform)
                rolling = lambda of, kind, n=n: getattr(of, f"rolling_{kind}")(n, min_samples=least(kind, n))
                if kind == "lag":
                    made = x.shift(n)
                elif kind == "ewma":
                    made = x.ewm_mean(span=n, adjust=True, ignore_nulls=False)
                elif kind == "zscore":
                    made = (x - rolling(x, "mean")) / rolling(x, "std").clip(FLOOR)
                elif kind == "slope":
                    products = (x * pl.col("at")).rolling_mean(n)
                    middle = pl.col("at") - (n - 1) / 2
                    made = (products - rolling(x, "mean") * middle) / ((n * n - 1) / 12)
                else:
                    made = rolling(x, kind)
            out.append(made.alias(f"{name}.{transform}"))
    return frame.lazy().select(out).collect()


def timed(run, runs):
    times = []
    for _ in range(runs):
        begun = time.process_time()
        result = run()
        times.append(time.process_time() - begun)
    return times[-1], result


def main():
    path, columns, runs, transforms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
    table = np.fromfile(path, dtype="<f8").reshape(-1, columns)

    frame = pd.DataFrame(np.asfortranarray(table))
    seconds, parts = timed(lambda: with_pandas(frame, transforms), runs)
    # Ours goes metric by metric.
    last = np.array([part.iloc[-1].to_numpy() for part in parts]).T.ravel()
    answer = {"pandas": {"seconds": seconds, "last": last.tolist()}}

    frame = pl.DataFrame({f"c{i}": table[:, i] for i in range(columns)})
    frame = frame.with_columns(at=pl.int_range(len(table)).cast(pl.Float64))
    seconds, result = timed(lambda: with_polars(frame, columns, transforms), runs)
    last = np.array(result.row(-1)).reshape(len(transforms) + 1, columns).T.ravel()
    answer["polars"] = {"seconds": seconds, "last": last.tolist()}
    json.dump(answer, sys.stdout)


main()
