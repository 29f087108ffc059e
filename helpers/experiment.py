"""Repeat an experiment over settings and seeds on all cores, and compare arms seed by seed."""
from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from helpers import config

if TYPE_CHECKING:
    import pandas as pd


def _timed(function: Callable[..., float], setting: dict[str, Any], seed: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)  # the cores are busy with other seeds
    began = time.perf_counter()
    accuracy = function(**setting, seed=seed)
    return {**setting, "seed": seed, "accuracy": accuracy, "seconds": time.perf_counter() - began}


def repeat(function: Callable[..., float], settings: Mapping[str, Sequence], seeds: Sequence[int]) -> pd.DataFrame:
    """Call `function(**setting, seed=seed)` for every combination of settings and every seed, in parallel, one process a core.

    settings: a list of values for each argument. `function` returns an accuracy.
    Returns a table with a row for each call: the setting, `seed`, `accuracy`, `seconds`. Each call seeds itself from `seed` alone, so
    the number of cores changes the time and nothing else. An error in a call is raised here.
    """
    import joblib
    import pandas as pd

    combinations = [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]
    calls = [joblib.delayed(_timed)(function, setting, seed) for setting in combinations for seed in seeds]
    workers = joblib.Parallel(n_jobs=min(config.cores(), len(calls)), return_as="generator")
    return pd.DataFrame(list(config.progress(workers(calls), getattr(function, "__name__", ""), total=len(calls))))


class Difference(NamedTuple):
    """mean and sd: of the differences, in the unit of what was compared. seeds: how many pairs."""

    mean: float
    sd: float
    seeds: int

    def beyond(self, deviations: float) -> bool:
        """True when the mean lies more than `deviations` standard errors above 0."""
        return self.mean > deviations * self.sd / np.sqrt(self.seeds)

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.sd:.3f} ({self.seeds} seeds)"


def paired_difference(table: pd.DataFrame, first: str, second: str, by: str = "method", value: str = "accuracy") -> Difference:
    """first - second, seed by seed: both met the same images, so the luck of the draw cancels.

    table: rows of two methods in the column `by`, one row for each method and seed (select the rest before).
    Raises ValueError when a seed of one method is missing for the other, or stands there twice.
    """
    columns = {}
    for name in (first, second):
        rows = table[table[by] == name].set_index("seed")[value]
        if rows.empty or rows.index.has_duplicates:
            raise ValueError(f"{name!r} has {len(rows)} rows for {rows.index.nunique()} seeds: select one row for each seed")
        columns[name] = rows
    if set(columns[first].index) != set(columns[second].index):
        raise ValueError(f"{first!r} and {second!r} have different seeds: pairs need the same")
    differences = columns[first] - columns[second]
    return Difference(float(differences.mean()), float(differences.std(ddof=1)), len(differences))


def mean_and_sd(table: pd.DataFrame, rows: str, columns: str, value: str = "accuracy") -> pd.DataFrame:
    """A table of "mean ± sd" over the seeds, to look at."""
    cells = table.groupby([rows, columns], sort=False)[value].agg(["mean", "std"])
    text = cells.apply(lambda cell: f"{cell['mean']:.3f} ± {cell['std']:.3f}", axis=1)
    return text.unstack(columns, sort=False)


def sweep_rows(table: pd.DataFrame, *setting: str) -> list[dict[str, Any]]:
    """What `repeat` measured as rows for `store_sweep`: for each `setting` and `rate` the mean and standard deviation over the seeds."""
    cells = table.groupby([*setting, "rate"], sort=False)["accuracy"].agg(["mean", "std"]).round(4)
    return cells.reset_index().to_dict("records")


def store_sweep(
    rows: Sequence[Mapping[str, Any]], path: Path, script: str, seeds: Sequence[int], judged_on: str = "the unlabelled rest of the pool"
) -> None:
    """Store a sweep of learning rates as JSON. rows: the columns of the setting, `rate`, `mean` and `std` of the accuracy over the seeds.

    script: the file name of the script in data_scripts/ that measured it. judged_on: the labelled images it was measured on, those that
    nothing was trained or is tested on.
    """
    _store(rows, path, "sweep", {"script": f"data_scripts/{script}", "seeds": list(seeds), "judged_on": judged_on})
    print(f"{len(rows)} settings, {len(seeds)} seeds each -> {path.name}")


def _store(rows: Sequence[Mapping[str, Any]], path: Path, name: str, head: Mapping[str, Any]) -> None:
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)  # a change of one figure shows as one line
    path.write_text(f'{json.dumps(head)[:-1]}, "{name}": [\n{lines}\n]}}\n', encoding="utf-8")


def store_runs(rows: Sequence[Mapping[str, Any]], path: Path, script: str) -> None:
    """Store what single runs measured as JSON, for a lesson that has no time for them all. script: in data_scripts/, what measured it."""
    _store(rows, path, "runs", {"script": f"data_scripts/{script}"})
    print(f"{len(rows)} rows -> {path.name}")


def stored_rows(path: Path) -> pd.DataFrame:
    """What `store_runs` or `store_sweep` has stored, as a table."""
    import pandas as pd

    content = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame(content["runs"] if "runs" in content else content["sweep"])


def runs_command(run: Callable[[], Sequence[Mapping[str, Any]]], about: str, path: Path, script: str) -> int:
    """The command line of a script that measures runs: calls `run` and stores its rows. about: what --help says. Returns 0.

    path: where they are stored, unless --to FILE says otherwise.
    """
    to = _where_to(about, path)
    store_runs(run(), to, script)
    return 0


def _where_to(about: str, path: Path) -> Path:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=path, metavar="FILE")
    to = parser.parse_args().to
    config.start(seed=0)
    return to


def sweep_command(
    sweep: Callable[[], Sequence[Mapping[str, Any]]], about: str, path: Path, script: str, seeds: Sequence[int], **judged_on: str
) -> int:
    """The command line of a script that tunes rates: runs `sweep` and stores its rows. about: what --help says. Returns 0.

    path: where they are stored, unless --to FILE says otherwise. The others as in `store_sweep`.
    """
    to = _where_to(about, path)
    store_sweep(sweep(), to, script, seeds, **judged_on)
    return 0


def best_rates(path: Path, first: str, second: str) -> dict[Any, dict[Any, float]]:
    """{first: {second: rate}}: the rate with the best mean in a stored sweep, for every pair of values of these two columns."""
    best: dict[Any, dict[Any, tuple[float, float]]] = {}
    for row in stored_rows(path).to_dict("records"):
        rates = best.setdefault(row[first], {})
        rates[row[second]] = max(rates.get(row[second], (-1.0, 0.0)), (row["mean"], row["rate"]))
    return {name: {of: rate for of, (_, rate) in rates.items()} for name, rates in best.items()}
