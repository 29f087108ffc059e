"""Run the benchmark of lesson 08, ours and two libraries side by side, and store its tables.

    python data_scripts/benchmark_adaptation.py [selection] [ladder] [agreement] [thinned] [peers] [--processes N] [--anew WORDS]

Without names it runs all parts. Every finished run is kept in the cache folder at once, so that an interrupted benchmark goes on where
it stopped. When a part is complete its tables go to helpers/adaptation/benchmark.json and benchmark.md. About an hour and a half on one
core. A kept run does not notice that a method's code has changed: `--anew MMD` forgets those whose name contains "MMD".

1. selection: 34 settings x 3 splits x 2 starts, short trainings, on seeds 100 to 102. Scored without labels; judged with them.
2. ladder: every method with the weight that the best label-free score picked on those seeds, on seeds 0 to 4.
3. agreement: self-training, the neighbour graph, two pipelines and a student. 4. thinned: the same with digits 0 to 4 thinned to 30 %.
5. peers: skada and pytorch-adapt, on the same net, data and steps (peers_of_adaptation.py says what to install).
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from helpers import config, training
from helpers.adaptation import benchmark, coral, fit, graph
from helpers.adaptation.adabn import adabn
from helpers.adaptation.benchmark import SmallCNN, Task, make_task, train
from helpers.adaptation.self_training import self_train
from helpers.data.cache import cached
from helpers.selfsupervised import train_vicreg

CHOICE_SEEDS, SEEDS = (100, 101, 102), tuple(range(5))
CHOICE_STEPS, CHOICE_BATCH, HELD_OUT = 300, 32, 500
SCORE = "agreement with clusters"
WEIGHTS = {
    "Deep CORAL": (0.1, 1, 10), "MMD": (1, 5, 25), "DANN": (0.1, 0.3, 1, 3), "CDAN+E": (0.1, 0.3, 1, 3),
    "entropy": (0.1, 0.3, 1, 3), "information maximisation": (0.3, 1, 3), "MCC": (0.1, 0.3, 1, 3, 10), "DeepJDOT": (0.03, 0.1, 0.3, 1),
}  # fmt: skip
SETTINGS = [("source only", 0.0, False), ("source only", 0.0, True), ("shared BatchNorm only", 0.0, True), ("MCC", 1.0, False)]
SETTINGS += [(method, float(weight), True) for method, weights in WEIGHTS.items() for weight in weights]


# ---- parts: each job returns rows
@cached
def self_supervised(seed: int) -> np.ndarray:
    """Features (n, 64) of the split's pool, learned from the pool alone."""
    task = make_task(seed)
    return fit.embed(train_vicreg(task.pool, benchmark.WILD, seed=seed), task.pool)


def select(setting: tuple[str, float, bool], seed: int) -> list[dict]:
    """Train a setting from two starts on this split, and score both nets."""
    method, weight, augmented = setting
    task = make_task(seed)
    order = np.random.default_rng(seed).permutation(len(task.source))
    held_out, kept = order[:HELD_OUT], order[HELD_OUT:]
    references = benchmark.make_references(task, held_out, self_supervised(seed))
    task = task._replace(source=task.source[kept], labels=task.labels[kept])
    recipe = {"weight": weight, "augmented": augmented, "steps": CHOICE_STEPS, "batch_size": CHOICE_BATCH}
    nets = [train(method, task, seed + 1000 * start, **recipe) for start in (0, 1)]
    rows = []
    for start, (net, twin) in enumerate(zip(nets, nets[::-1], strict=True)):
        found = {name: round(value, 5) for name, value in benchmark.scores(net, task, references, twin).items()}
        what = {"method": method, "weight": weight, "augmented": augmented, "seed": seed, "start": start}
        rows.append({**what, **found, "accuracy": test(net, task)})
    return rows


def test(net: SmallCNN, task: Task) -> float:
    return round(training.accuracy(net, task.test, task.test_labels), 4)


def row(method: str, seed: int, accuracy: float, began: float, **more: Any) -> dict:
    """began: `time.process_time()` at the start. Processor seconds do not depend on what else the machine does."""
    return {"method": method, "seed": seed, "accuracy": round(float(accuracy), 4), "seconds": round(time.process_time() - began, 1), **more}


def chosen_weights(table: pd.DataFrame) -> dict[str, float]:
    """{method: the weight with the best mean of `SCORE` over splits and starts}. Looks at no accuracy."""
    means = table[table.augmented].groupby(["method", "weight"])[SCORE].mean()
    return {method: float(means[method].idxmax()) for method in WEIGHTS}


def from_source_only(seed: int) -> list[dict]:
    """The net that never saw the target, and what can be done with it afterwards."""
    task, rows = make_task(seed), []
    began = time.process_time()
    rows.append(row("source only, no augmentation", seed, test(train("source only", task, seed, augmented=False), task), began))
    began = time.process_time()
    net = train("source only", task, seed)
    rows.append(row("source only", seed, test(net, task), began))
    rows.append(row("AdaBN", seed, test(adabn(net, task.pool), task), began))
    own = [fit.embed(net, images).astype(float) for images in (task.source, task.pool, task.test)]
    for name, inputs in (("linear probe", own[0]), ("CORAL, then a linear probe", coral.coral_transform(own[0], own[1]))):
        probe = LogisticRegression(C=0.1, max_iter=500).fit(inputs, task.labels)
        rows.append(row(name, seed, probe.score(own[2], task.test_labels), began))
    trained = self_train(net, task.source, task.labels, task.pool, rounds=5, steps=200, augment=benchmark.WILD, seed=seed)
    return [*rows, row("self-training from source only", seed, test(trained, task), began)]


def one_method(method: str, weight: float, seed: int) -> list[dict]:
    task, began = make_task(seed), time.process_time()
    return [row(method, seed, test(train(method, task, seed, weight), task), began, weight=weight)]


def everywhere(pipeline: benchmark.Pipeline, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Features and probabilities of the pool and, below, of the test images."""
    both = [(fit.embed(pipeline.net, images), fit.probabilities(pipeline.net, images)) for images in (task.pool, task.test)]
    features, guesses = zip(*both, strict=True)
    return np.concatenate(features), np.concatenate(guesses)


def agree(weight: float, seed: int) -> list[dict]:
    """One pipeline, two pipelines, the graph, the student."""
    task, began = make_task(seed), time.process_time()
    first = benchmark.make_pipeline(task, seed, weight)
    rows = [row("MCC, then self-training", seed, test(first.net, task), began)]
    n = len(task.pool)

    def on_graph(name: str, features: np.ndarray, guesses: np.ndarray, **how: Any) -> None:
        reached = (graph.propagate(features, guesses, **how).argmax(1)[n:] == task.test_labels).mean()
        rows.append(row(name, seed, reached, began))

    features, guesses = everywhere(first, task)
    on_graph("one pipeline, graph", features, guesses)
    on_graph("one pipeline, graph, no balance", features, guesses, balanced=False)
    labels = graph.propagate(first.features, first.guesses).argmax(1)
    rows.append(row("one pipeline, graph, student", seed, test(benchmark.train_student(task, labels, seed + 500), task), began))

    second = benchmark.make_pipeline(task, seed + 1000, weight)
    features_2, guesses_2 = everywhere(second, task)
    joined = np.concatenate([graph.standardise(features), graph.standardise(features_2)], 1)
    on_graph("two pipelines, graph", joined, (guesses + guesses_2) / 2)
    on_graph("two pipelines, graph, no balance", joined, (guesses + guesses_2) / 2, balanced=False)
    labels, same = benchmark.agreed_labels(first, second)
    right = labels == task.pool_labels
    everything = np.ones(n, bool)
    for where, kept in (("on all", everything), ("where they agree", same)):
        student = benchmark.train_student(task, np.where(kept, labels, -1), seed + 500)
        found = {"kept": round(float(kept.mean()), 4), "right": round(float(right[kept].mean()), 4)}
        rows.append(row(f"two pipelines, graph, student {where}", seed, test(student, task), began, **found))
    return rows


def thin(weight: float, seed: int) -> list[dict]:
    """Target classes that are not balanced: digits 0 to 4 thinned to 30 %, in the pool and in the test half."""
    task, began = make_task(seed, thinned=0.3), time.process_time()
    first = benchmark.make_pipeline(task, seed, weight)
    features, guesses = everywhere(first, task)
    rows, n = [row("MCC, then self-training", seed, test(first.net, task), began)], len(task.pool)
    mixed = graph.propagate(features, guesses, balanced=False)
    kinds = {"graph, no balance": mixed, "graph, balanced": graph.balance(mixed)}
    kinds["graph, balanced to the mean guess"] = graph.balance(mixed, guesses.mean(0))
    for name, result in kinds.items():
        rows.append(row(name, seed, (result.argmax(1)[n:] == task.test_labels).mean(), began))
    return rows


# ---- the whole
def jobs(part: str, done: dict[str, list[dict]]) -> dict[str, tuple]:
    """{name: (function, arguments)} of a part. The weights come from the selection."""
    if part == "selection":
        return {f"selection {setting} {seed}": (select, setting, seed) for seed in CHOICE_SEEDS for setting in SETTINGS}
    if part == "peers":
        import peers_of_adaptation

        names, measure = peers_of_adaptation.PEERS, peers_of_adaptation.measure
        return {f"peers {name} {seed}": (measure, name, seed) for name in names for seed in SEEDS}
    if part not in benchmark.PARTS:
        raise SystemExit(f"no part called {part!r}: choose from {', '.join(benchmark.PARTS)}")
    weights = chosen_weights(table_of("selection", done))
    if part == "ladder":
        found = {f"ladder source only {seed}": (from_source_only, seed) for seed in SEEDS}
        apart = {method + benchmark.APART: weights[method] for method in ("DANN", "MCC")}
        methods = {"shared BatchNorm only": 0.0, **weights, **apart, "target labels": 0.0}
        return found | {f"ladder {m} {w} {seed}": (one_method, m, w, seed) for m, w in methods.items() for seed in SEEDS}
    if part == "agreement":
        return {f"agreement {weights['MCC']} {seed}": (agree, weights["MCC"], seed) for seed in SEEDS}
    return {f"thinned {weights['MCC']} {seed}": (thin, weights["MCC"], seed) for seed in SEEDS}


def table_of(part: str, done: dict[str, list[dict]]) -> pd.DataFrame:
    """The rows of the runs that the part asks for now, or, while some are missing, of the part as it was stored."""
    names = jobs(part, done)
    return pd.DataFrame([r for name in names for r in done[name]]) if set(names) <= set(done) else benchmark.stored(part)


def run(name: str, function: Callable, *arguments: Any) -> None:
    """One job; its rows are on disk when it ends."""
    config.start(seed=0)
    rows = function(*arguments)
    path = store() / f"{name}.json"
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(rows), encoding="utf-8")
    temporary.replace(path)


def store() -> Path:
    folder = config.cache_dir() / "benchmark_adaptation"
    folder.mkdir(exist_ok=True)
    return folder


def finished() -> dict[str, list[dict]]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(store().glob("*.json"))}


def write(done: dict[str, list[dict]]) -> None:
    """The JSON that the lesson reads, one run a line, and the Markdown tables."""
    tables = {part: table_of(part, done) for part in benchmark.PARTS}
    record = {"script": f"data_scripts/{Path(__file__).name}", "steps": benchmark.STEPS, "chosen_by": SCORE}
    record["weights"] = chosen_weights(tables["selection"])
    body = []
    for part, table in tables.items():
        rows = [json.dumps([None if cell != cell else cell for cell in row]) for row in table.values.tolist()]  # NaN is not equal to itself
        body.append(f'"{part}": {{"columns": {json.dumps(list(table.columns))}, "rows": [\n' + ",\n".join(rows) + "\n]}")
    benchmark.RESULTS_FILE.write_text(json.dumps(record)[:-1] + ", " + ",\n".join(body) + "}\n", encoding="utf-8")
    benchmark.RESULTS_FILE.with_suffix(".md").write_text(benchmark.markdown(tables), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(benchmark.PARTS))
    parser.add_argument("--processes", type=int, default=config.cores())
    parser.add_argument("--anew", metavar="WORDS", help="forget the kept runs whose name contains these words")
    arguments = parser.parse_args()
    for path in store().glob("*.json"):
        if arguments.anew and arguments.anew in path.stem:
            path.unlink()
    for part in arguments.parts or benchmark.PARTS:
        asked = jobs(part, finished())
        missing = {name: job for name, job in asked.items() if not (store() / f"{name}.json").exists()}
        print(f"{part}: {len(asked) - len(missing)} of {len(asked)} runs are there", flush=True)
        try:
            joblib.Parallel(n_jobs=arguments.processes)(joblib.delayed(run)(name, *job) for name, job in missing.items())
        except KeyboardInterrupt:
            print("interrupted; the finished runs are kept, and the same command goes on from there", flush=True)
            return 130
        write(finished())
    return 0


if __name__ == "__main__":
    sys.exit(main())
