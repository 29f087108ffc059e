"""The benchmark of lesson 08: font digits with labels, real handwritten digits without, and a ladder of methods on equal terms."""
from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers import training
from helpers.adaptation import adversarial, coral, fit, graph, information, selection, transport
from helpers.adaptation.adabn import adabn
from helpers.adaptation.mmd import mmd2
from helpers.adaptation.self_training import self_train
from helpers.backbones.small_cnn import SmallCNN
from helpers.data import augment, digits, glyphs
from helpers.data.images import to_tensor
from helpers.data.splits import stratified_half

if TYPE_CHECKING:
    import pandas as pd

STEPS, BATCH = 600, 64
RESULTS_FILE = Path(__file__).with_suffix(".json")
WILD = augment.jitter(rotation=0.2, shear=0.2, scale=0.12, shift=0.15)  # for both domains


class Task(NamedTuple):
    """Labelled source images (n, 1, 8, 8) and labels; unlabelled target images (the pool) and the test half of the target.

    `pool_labels` only judge what was done without them.
    """

    source: Tensor
    labels: np.ndarray
    pool: Tensor
    pool_labels: np.ndarray
    test: Tensor
    test_labels: np.ndarray


def make_task(seed: int, thinned: float = 1.0) -> Task:
    """3,000 font digits, and the handwritten digits split in halves by `seed`. thinned: the share kept of the digits 0 to 4, in both
    halves; below 1 the target's classes are no longer balanced."""
    fonts, target = glyphs.load_glyphs("digits", 300), digits.load_digits()
    halves = stratified_half(target.labels, seed)
    rng = np.random.default_rng(seed)
    pool, test = (half[(target.labels[half] > 4) | (rng.random(len(half)) < thinned)] for half in halves)
    images = to_tensor(target.images)
    return Task(to_tensor(fonts.images), fonts.labels, images[pool], target.labels[pool], images[test], target.labels[test])


def mmd(joint: fit.Joint, weight: float) -> Tensor:
    """The MMD of the features plus that of the predictions, five widths around the mean distance (Long et al. 2015, arXiv:1502.02791)."""
    total = joint.source_features.new_zeros(())
    pairs = [(joint.source_features, joint.target_features), (joint.source_logits.softmax(1), joint.target_logits.softmax(1))]
    for x, y in pairs:
        centre = torch.pdist(torch.cat([x, y]).detach()).mean().item()
        total = total + mmd2(x, y, [max(centre, 1e-6) * factor for factor in (0.35, 0.5, 0.7, 1, 1.4)])
    return weight * total


# What `fit.adapt` is given: a function that makes the method anew for each training.
LOSSES: dict[str, Callable[[], fit.Method]] = {
    "shared BatchNorm only": lambda: fit.no_method,
    "Deep CORAL": lambda: coral.deep_coral,
    "MMD": lambda: mmd,
    "DANN": adversarial.Dann,
    "CDAN+E": adversarial.Cdan,
    "entropy": lambda: information.entropy_minimisation,
    "information maximisation": lambda: information.information_maximisation,
    "MCC": lambda: information.mcc,
    "DeepJDOT": lambda: transport.deep_jdot,
}


APART = ", domains apart"  # after a method's name: source and target go through the net one after the other


def new_net(seed: int) -> SmallCNN:
    torch.manual_seed(seed)
    return SmallCNN(classes=10)


def train(
    method: str, task: Task, seed: int, weight: float = 1.0, augmented: bool = True, steps: int = STEPS, batch_size: int = BATCH
) -> SmallCNN:
    """A net by one of `LOSSES` (also with `APART` behind its name), or "source only", "source only, AdaBN", or "target labels" (the
    ceiling, which alone sees them).

    Raises ValueError for another method.
    """
    net, change = new_net(seed), WILD if augmented else None
    recipe = {"steps": steps, "batch_size": batch_size, "learning_rate": 3e-3, "augment": change, "seed": seed}
    loss = method.removesuffix(APART)
    if loss in LOSSES:
        together = not method.endswith(APART)
        fit.adapt(net, task.source, task.labels, task.pool, LOSSES[loss](), weight=weight, together=together, **recipe)
        return net
    if method == "target labels":
        training.fit(net, task.pool, task.pool_labels, **recipe)
        return net
    if method not in ("source only", "source only, AdaBN"):
        raise ValueError(f"no method called {method!r}: choose one of {', '.join(LOSSES)}, source only, source only, AdaBN, target labels")
    training.fit(net, task.source, task.labels, **recipe)
    return adabn(net, task.pool) if method.endswith("AdaBN") else net


class Pipeline(NamedTuple):
    """A net, and its probabilities and features on the pool."""

    net: SmallCNN
    guesses: np.ndarray
    features: np.ndarray


def make_pipeline(task: Task, seed: int, weight: float = 1.0, steps: int = STEPS, rounds: int = 3) -> Pipeline:
    """MCC, then self-training."""
    net = train("MCC", task, seed, weight, steps=steps)
    if rounds:
        net = self_train(net, task.source, task.labels, task.pool, rounds=rounds, augment=WILD, seed=seed)
    return Pipeline(net, fit.probabilities(net, task.pool), fit.embed(net, task.pool))


def agreed_labels(first: Pipeline, second: Pipeline, balanced: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) of the pool by both pipelines together, and where (n,) each alone says the same."""
    alone = [graph.propagate(p.features, p.guesses, balanced=balanced).argmax(1) for p in (first, second)]
    features = np.concatenate([graph.standardise(p.features) for p in (first, second)], 1)
    both = graph.propagate(features, (first.guesses + second.guesses) / 2, balanced=balanced).argmax(1)
    return both, (alone[0] == alone[1]) & (alone[0] == both)


def train_student(task: Task, labels: np.ndarray, seed: int, steps: int = STEPS) -> SmallCNN:
    """A new net on pool images with the labels that were agreed on."""
    net = new_net(seed)
    training.fit(net, *labels_of(task, labels), steps=steps, batch_size=BATCH, learning_rate=3e-3, augment=WILD, seed=seed)
    return net


def labels_of(task: Task, labels: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """The pool's images that have a label (-1: none), and these labels."""
    known = np.flatnonzero(labels >= 0)
    return task.pool[known], labels[known]


PARTS = ("selection", "ladder", "agreement", "thinned", "peers")


@lru_cache
def _results() -> dict[str, Any]:
    return json.loads(RESULTS_FILE.read_text(encoding="utf-8"))


def stored(part: str) -> pd.DataFrame:
    """A row for each run of a part, as data_scripts/benchmark_adaptation.py stored it: `method`, `seed`, `accuracy`, `seconds`, and in
    "selection" the label-free scores. Raises ValueError for another part."""
    import pandas as pd

    if part not in PARTS:
        raise ValueError(f"no part called {part!r}: choose one of {', '.join(PARTS)}")
    table = _results()[part]
    return pd.DataFrame(table["rows"], columns=table["columns"])


def stored_weights() -> dict[str, float]:
    """{method: the weight that the label-free score picked for it on other seeds}."""
    return dict(_results()["weights"])


class References(NamedTuple):
    """What the scores look at beside the net: clusters and nearest neighbours (n, 10) of the pool's self-supervised features, held-out
    source images with labels."""

    clusters: np.ndarray
    neighbours: np.ndarray
    source: Tensor
    labels: np.ndarray


def make_references(task: Task, held_out: np.ndarray, features: np.ndarray) -> References:
    """From the pool's self-supervised `features` (n, d) and the indices of source images that were held out of training."""
    from sklearn.cluster import KMeans

    unit = graph.standardise(features)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    clusters = KMeans(10, n_init=10, random_state=0).fit_predict(unit)
    return References(clusters, np.argsort(-alike, 1)[:, :10], task.source[held_out], task.labels[held_out])


def scores(net: SmallCNN, task: Task, references: References, twin: SmallCNN | None = None) -> dict[str, float]:
    """Every label-free score of `net` (larger promises more), by name. No target label is used."""
    guesses, own = fit.probabilities(net, task.pool), fit.embed(net, task.pool)
    predicted = guesses.argmax(1)
    on_source, of_source = fit.probabilities(net, references.source), fit.embed(net, references.source)
    losses = -np.log(on_source[np.arange(len(references.labels)), references.labels] + 1e-9)
    some = np.random.default_rng(0).permutation(len(task.source))[: len(own)]
    found = {
        "agreement with clusters": selection.cluster_agreement(predicted, references.clusters),
        "agreement of neighbours": selection.neighbour_agreement(predicted, references.neighbours, guesses.shape[1]),
        "batch nuclear norm": selection.nuclear_norm(guesses),
        "information maximisation": selection.information(guesses),
        "certainty (entropy)": selection.certainty(guesses),
        "soft neighbourhood density": selection.neighbourhood_density(guesses),
        "deep embedded validation": selection.importance_weighted_validation(losses, of_source, fit.embed(net, task.source[some]), own),
        "source validation": float((on_source.argmax(1) == references.labels).mean()),
        "reverse validation": selection.reverse_validation(predicted, own, of_source, references.labels),
    }
    if twin is not None:
        found["agreement with a twin"] = selection.agreement(predicted, fit.probabilities(twin, task.pool).argmax(1))
    return found


def verdict(judged: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """How well each score (a column of `judged`) ranks the runs of each seed, and the accuracy that its pick loses: a row for each."""
    import pandas as pd

    rows = []
    for name in names:
        for seed, runs in judged.groupby("seed"):
            ranks, lost = selection.rank_correlation(runs[name], runs.accuracy), selection.regret(runs[name], runs.accuracy)
            rows.append({"score": name, "seed": seed, "rank correlation": ranks, "regret": lost})
    return pd.DataFrame(rows)


def markdown(parts: dict[str, pd.DataFrame]) -> str:
    """Every part as a Markdown table: mean ± sd over the seeds, minimum, seconds, gap to the ceiling; and what the scores are worth."""
    ladder = parts["ladder"]
    ceiling = ladder[ladder.method == "target labels"].accuracy.mean()
    lines = ["# Font digits to handwritten digits, no target label", "", "Made by `python data_scripts/benchmark_adaptation.py`.", ""]
    for part, table in parts.items():
        if part == "selection" or table.empty:
            continue
        head = ("method", "accuracy", "minimum", "seeds", "processor seconds", "gap to the ceiling")
        lines += [f"## {part}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for name, runs in table.groupby("method", sort=False):
            accuracy = runs.accuracy
            lines.append(f"| {name} | {accuracy.mean():.3f} ± {accuracy.std():.3f} | {accuracy.min():.3f} | {len(runs)} "
                         f"| {runs.seconds.mean():.0f} | {ceiling - accuracy.mean():+.3f} |")
        lines.append("")
    return "\n".join([*lines, *_markdown_of_scores(parts["selection"])])


def _markdown_of_scores(judged: pd.DataFrame) -> list[str]:
    worth = verdict(judged, score_names(judged)).groupby("score").agg(["mean", "std", "min", "max"])
    worth = worth.sort_values(("rank correlation", "mean"), ascending=False)
    lines = ["## selection", "", f"{len(judged)} runs on {judged.seed.nunique()} splits.", ""]
    lines += ["| score | rank correlation | minimum | regret of its pick | maximum |", "|---|---|---|---|---|"]
    for name, row in worth.iterrows():
        ranks, lost = row["rank correlation"], row["regret"]
        lines.append(f"| {name} | {ranks['mean']:+.2f} ± {ranks['std']:.2f} | {ranks['min']:+.2f} "
                     f"| {lost['mean']:.3f} ± {lost['std']:.3f} | {lost['max']:.3f} |")
    return [*lines, ""]


def score_names(judged: pd.DataFrame) -> list[str]:
    """The columns of the stored selection that are scores, not settings or the accuracy."""
    return [name for name in judged.columns if name not in ("method", "weight", "augmented", "seed", "start", "accuracy")]
