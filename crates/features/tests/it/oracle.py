"""Computes every feature from its definition, with pandas, knowing nothing of the engine.

Reads one JSON document from stdin and writes the features of each step to stdout.
The definitions stand in the documentation of `Transform`; this is their second, independent reading.
"""

import json
import math
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

SPANS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


def values_on_grid(metric, step, first, last):
    """One value per step: the last sample of the step, or the counter's rate between used samples."""
    used = {}
    for time, value in metric["samples"]:
        number = time // step + 1
        if number not in used or time >= used[number][0]:
            used[number] = (time, value)
    series = pd.Series(np.nan, index=range(first, last + 1), dtype="float64")
    before = None
    for number in sorted(used):
        time, value = used[number]
        if metric["as"] == "gauge":
            series[number] = value
        elif before is not None and time - before[0] <= 5 * step:
            grown = value if metric["as"] == "rate" and value < before[1] else value - before[1]
            series[number] = grown / ((time - before[0]) / 1_000)
        before = (time, value)
    return series


def window(argument, step):
    """A number of steps, or a number of minutes where more than 60 steps would be needed."""
    if argument.isdigit():
        return "steps", int(argument)
    span = int(argument[:-1]) * SPANS[argument[-1]]
    steps = max(1, span // step)
    return ("steps", steps) if steps <= 60 else ("minutes", span // 60_000)


def line(y):
    at = np.flatnonzero(~np.isnan(y))
    return np.polyfit(at.astype("float64"), y[at], 1)[0]


def over_steps(series, name, n, step, exact):
    least = max(math.ceil(n / 2), 2 if name in ("std", "slope") else 1)
    if least > n:
        return series * np.nan
    rolling = series.rolling(n, min_periods=least)
    if name == "slope":
        return rolling.apply(line, raw=True) / (step / 1_000)
    if exact and name in ("mean", "std"):
        # pandas updates its windows and loses digits of large numbers: it gives the window, numpy the statistic.
        return rolling.apply(lambda x: np.nanstd(x, ddof=1) if name == "std" else np.nanmean(x), raw=True)
    return getattr(rolling, name)()


def over_minutes(series, name, minutes, step, _exact):
    """The minute of each step so far, and the whole minutes before it."""
    minute = np.array([(number * step - 1) // 60_000 for number in series.index])
    values = series.to_numpy()
    least = max(math.ceil(minutes * 60_000 // step / 2), 2)
    whole = pd.DataFrame({"minute": minute, "value": values}).groupby("minute")["value"]
    whole = {"median": whole.median(), "slope": whole.mean()}.get(name)
    statistic = {"mean": np.mean, "std": lambda x: np.std(x, ddof=1), "min": np.min, "max": np.max}.get(name)
    out = np.full(len(values), np.nan)
    for i in range(len(values)):
        now = minute[i]
        inside = values[np.searchsorted(minute, now - minutes + 1) : i + 1]
        inside = inside[~np.isnan(inside)]
        if len(inside) < least:
            continue
        if statistic:
            out[i] = statistic(inside)
            continue
        per_minute = whole[(whole.index > now - minutes) & (whole.index < now)].copy()
        so_far = pd.Series(values[np.searchsorted(minute, now) : i + 1])
        per_minute[now] = so_far.median() if name == "median" else so_far.mean()
        per_minute = per_minute.dropna()
        if name == "median":
            out[i] = per_minute.median()
        elif len(per_minute) >= 2:
            at = per_minute.index.to_numpy(dtype="float64")
            out[i] = np.polyfit(at - at[0], per_minute.to_numpy(), 1)[0] / 60
    return pd.Series(out, index=series.index)


def feature(series, floor, transform, step, exact):
    if transform == "value":
        return series
    if transform == "diff":
        return series - series.shift(1)
    if transform == "rate_of_change":
        before = series.shift(1)
        return ((series - before) / before.abs()).where(before.abs() >= floor)
    name, argument = transform.rsplit("_", 1)
    if name == "lag":
        return series.shift(int(argument))
    if name == "ewma":
        span = int(argument)
        weight, weights = 0.0, []
        for present in series.notna():
            weight = weight * (1 - 2 / (span + 1)) + present
            weights.append(weight)
        # pandas would tell the mean of a past of which nothing is left.
        forgotten = pd.Series(weights, index=series.index) < 1e-9
        return series.ewm(span=span, adjust=True, ignore_na=False).mean().mask(forgotten)
    unit, n = window(argument, step)
    over = over_steps if unit == "steps" else over_minutes
    if name == "zscore":
        std = over(series, "std", n, step, exact)
        return (series - over(series, "mean", n, step, exact)) / std.clip(lower=floor)
    return over(series, name, n, step, exact)


def temporal(name, start, calendar):
    at = datetime.fromtimestamp(start / 1_000, ZoneInfo(calendar["time_zone"]))
    day = (at.hour * 3_600 + at.minute * 60 + at.second) / 86_400
    week = (at.weekday() + day) / 7
    weekend = at.weekday() >= 5
    holiday = at.date().isoformat() in calendar["holidays"]
    working = calendar["business_from"] <= at.hour < calendar["business_to"]
    return {
        "hour_sin": math.sin(2 * math.pi * day),
        "hour_cos": math.cos(2 * math.pi * day),
        "weekday_sin": math.sin(2 * math.pi * week),
        "weekday_cos": math.cos(2 * math.pi * week),
        "weekend": float(weekend),
        "business_hours": float(working and not weekend and not holiday),
        "holiday": float(holiday),
    }[name]


def main():
    task = json.load(sys.stdin)
    step, ends = task["step"], task["ends"]
    times = [time for metric in task["metrics"].values() for time, _ in metric["samples"]]
    first, last = min(times) // step + 1, max(times) // step + 1
    grids = {name: values_on_grid(metric, step, first, last) for name, metric in task["metrics"].items()}
    columns = []
    for name in task["features"]:
        metric, transform = name.rsplit(".", 1)
        if metric == "time":
            columns.append([temporal(transform, end - step, task["calendar"]) for end in ends])
        else:
            floor, exact = task["metrics"][metric]["floor"], task["metrics"][metric]["exact"]
            full = feature(grids[metric], floor, transform, step, exact)
            columns.append([full[end // step] for end in ends])
    known = [[None if value is None or not math.isfinite(value) else float(value) for value in c] for c in columns]
    json.dump(known, sys.stdout)


main()
