"""Several labelled sources, one unlabelled target: pool them, combine a model of each, weight them, leave one out.

Throughout, `sources` maps a name to (inputs (n, d) float, labels (n,)), and k is the number of sources.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from helpers.data import glyphs
from helpers.data.images import check_labels

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from torch import nn

Sources = Mapping[str, tuple[np.ndarray, np.ndarray]]
SPOILED = ("mirrored", "labels shifted", "labels shifted, four times as large", "labels at random", "one label in five at random")
RATES_FILE = Path(__file__).with_suffix(".json")


class Model(Protocol):
    """What is combined: anything with scikit-learn's predict_proba, whose columns are the classes 0, 1, 2, …"""

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray: ...


Train = Callable[..., Model]  # (inputs, labels, weights or None) -> a trained model


def load_sources(per_class: int = 30, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The five families of fonts: digits as (10 * per_class, 64) float32 in 0-1, with their labels. Another seed draws all of them anew."""
    # With one seed for all, every family would be moved and thickened by the same random numbers.
    seeds = {name: len(glyphs.FAMILIES) * seed + place for place, name in enumerate(glyphs.FAMILIES)}
    families = {name: glyphs.load_family(name, per_class, seeds[name]) for name in glyphs.FAMILIES}
    return {name: (family.images.reshape(len(family.images), -1), family.labels) for name, family in families.items()}


def spoil(inputs: np.ndarray, labels: np.ndarray, how: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bad source made of a good one of ten classes, 8x8 images (n, 64) in 0-1: one of `SPOILED`.

    Copies are told apart by noise (sd 0.05). Returns new arrays. Raises ValueError for another way, or other shapes.
    """
    inputs = np.asarray(inputs)
    if inputs.ndim != 2 or inputs.shape[1] != 64:
        raise ValueError(f"inputs have shape {inputs.shape}: pass 8x8 images, flattened to (n, 64)")
    labels, rng = check_labels(labels, len(inputs)), np.random.default_rng(seed)
    if how == "mirrored":
        return inputs.reshape(-1, 8, 8)[:, :, ::-1].reshape(len(inputs), 64).copy(), labels.copy()
    if how == "labels at random":
        return inputs.copy(), rng.integers(0, 10, len(labels))
    if how == "one label in five at random":
        return inputs.copy(), np.where(rng.random(len(labels)) < 0.2, rng.integers(0, 10, len(labels)), labels)
    if how == "labels shifted":
        return inputs.copy(), (labels + 3) % 10
    if how == "labels shifted, four times as large":
        copies = np.tile(inputs, (4, 1))
        noisy = np.clip(copies + rng.normal(0, 0.05, copies.shape), 0, 1).astype(inputs.dtype)
        return noisy, np.tile((labels + 3) % 10, 4)
    raise ValueError(f"no way to spoil a source called {how!r}: choose one of {', '.join(SPOILED)}")


def train_linear(inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, C: float = 1.0) -> LogisticRegression:
    """A logistic regression on the inputs; `weights`: how much each example counts (None: 1).

    C: how much all examples together count against the penalty on large weights. The same C penalises a model of fewer examples more.
    """
    from sklearn.linear_model import LogisticRegression

    # Here twice as fast as the default solver, and it converges within a few steps even where C is large or weights are nearly 0.
    return LogisticRegression(C=C, solver="newton-cg").fit(inputs, labels, sample_weight=weights)


class Net:
    """A small convolutional net that takes flattened 8x8 images (n, 64) and answers as scikit-learn's models do."""

    def __init__(self, model: nn.Module):
        self.model = model

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
        import torch

        from helpers import training

        logits = training.predict(self.model, torch.from_numpy(np.asarray(inputs, np.float32)).reshape(-1, 1, 8, 8))
        return torch.softmax(torch.from_numpy(logits), 1).numpy()


def train_net(
    inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, *, steps: int, rate: float, seed: int = 0
) -> Net:
    """SmallCNN on 8x8 images (n, 64), batches of 32, random affine changes.

    weights: examples are drawn in proportion to them, with replacement (None: all of them, none twice).
    """
    import torch

    from helpers import training
    from helpers.backbones.small_cnn import SmallCNN
    from helpers.data import augment

    images, labels = torch.from_numpy(np.asarray(inputs, np.float32)).reshape(-1, 1, 8, 8), np.asarray(labels)
    if weights is not None:
        share = np.asarray(weights, np.float64) / np.sum(weights)
        drawn = np.random.default_rng(seed).choice(len(labels), len(labels), p=share)
        images, labels = images[drawn], labels[drawn]
    torch.manual_seed(seed)
    model = SmallCNN(classes=10)
    training.fit(model, images, labels, steps=steps, learning_rate=rate, batch_size=32, augment=augment.jitter(), seed=seed)
    return Net(model)


def pool(sources: Sources, weights: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All sources as one: inputs, labels, and how much each example counts (mean 1).

    weights: (k,) the say of each source, shared by its examples, so that a larger source has no larger say. None: each example counts 1,
    and a source's say is its size. Raises ValueError for no sources, unequal features, or weights that are negative, all 0, or not k.
    """
    check_sources(sources)
    sizes = np.array([len(labels) for _, labels in sources.values()])
    shares = sizes / sizes.sum() if weights is None else check_weights(weights, len(sources))
    each = np.repeat(shares / sizes * sizes.sum(), sizes)
    inputs, labels = (np.concatenate(parts) for parts in zip(*sources.values(), strict=True))
    return inputs, labels, each


def train_members(sources: Sources, train: Train = train_linear) -> dict[str, Model]:
    """One model for each source, trained on nothing else."""
    check_sources(sources)
    return {name: train(inputs, labels) for name, (inputs, labels) in sources.items()}


def predict_members(members: Mapping[str, Model], inputs: np.ndarray) -> np.ndarray:
    """The members' probabilities (k, n, classes)."""
    return np.array([model.predict_proba(inputs) for model in members.values()])


def combine(probabilities: np.ndarray, weights: np.ndarray | Sequence[float] | None = None) -> np.ndarray:
    """The ensemble's probabilities (n, classes): the weighted mean of the members' (k, n, classes).

    weights: (k,) one for each member, or (k, n) one for each member and input; scaled to sum to 1 over the members. None: equal.
    Raises ValueError for another shape, for negative weights, and for an input whose weights are all 0.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 3:
        raise ValueError(f"the probabilities have shape {probabilities.shape}: pass (members, inputs, classes)")
    if weights is None:
        return probabilities.mean(0)
    weights = np.asarray(weights, np.float64)
    if weights.shape not in (probabilities.shape[:1], probabilities.shape[:2]):
        raise ValueError(f"the weights have shape {weights.shape}: pass {probabilities.shape[:1]} or {probabilities.shape[:2]}")
    per_input = np.broadcast_to(weights if weights.ndim == 2 else weights[:, None], probabilities.shape[:2])
    if not np.isfinite(per_input).all() or (per_input < 0).any() or not (per_input.sum(0) > 0).all():
        raise ValueError("each input needs weights of 0 or more that are not all 0")
    return np.einsum("kn,knc->nc", per_input / per_input.sum(0), probabilities)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of inputs whose most probable class is their label."""
    return float((np.asarray(probabilities).argmax(1) == np.asarray(labels)).mean())


def similarity_scores(sources: Sources, target: np.ndarray, seed: int = 0) -> np.ndarray:
    """(k,): minus the proxy A-distance of each source's inputs to the target's (helpers.adaptation.divergence). It reads no label."""
    from helpers.adaptation.divergence import proxy_a_distance

    return np.array([-proxy_a_distance(inputs, target, seed=seed) for inputs, _ in sources.values()])


def validation_scores(members: Mapping[str, Model], sources: Sources) -> np.ndarray:
    """(k,): the share of the *other* sources' labels that each source's member predicts, the mean over those sources.

    members: those of `train_members`, in the sources' order. It needs no target. Raises ValueError for fewer than three sources (of
    two that disagree nobody knows which is wrong), and when the members are others than the sources.
    """
    check_members(members, sources)
    found = np.array([[accuracy(model.predict_proba(inputs), labels) for inputs, labels in sources.values()] for model in members.values()])
    return (found.sum(1) - np.diag(found)) / (len(sources) - 1)


def cross_source_scores(members: Mapping[str, Model], sources: Sources) -> np.ndarray:
    """(k,): the share of each source's labels that the *other* sources' members, averaged, predict.

    It needs no target. A source scores low when its inputs or its labels contradict the others. Raises as `validation_scores` does.
    """
    check_members(members, sources)
    scores = []
    for name, (inputs, labels) in sources.items():
        others = {other: model for other, model in members.items() if other != name}
        scores.append(accuracy(combine(predict_members(others, inputs)), labels))
    return np.array(scores)


def softmax_weights(scores: Sequence[float], temperature: float) -> np.ndarray:
    """(k,) weights that sum to 1, proportional to exp(score / temperature): large temperatures are fair, small ones pick the best.

    Raises ValueError for a temperature of 0 or less, and for scores that are not finite.
    """
    scores = np.asarray(scores, np.float64)
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature}: use more than 0, in the unit of the scores")
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"the scores are {scores}: pass one finite number for each source")
    powers = np.exp((scores - scores.max()) / temperature)
    return powers / powers.sum()


def domain_probabilities(sources: Sources, inputs: np.ndarray) -> np.ndarray:
    """(k, n): how probable it is that each input comes from each source, by a logistic regression that tells the sources apart.

    As weights of `combine` they make the distribution-weighted rule of Mansour et al. 2009 (arXiv:1205.2628): the model that knows inputs
    of this kind has the say.
    """
    all_inputs, _, each = pool(sources, np.ones(len(sources)))
    domain = np.repeat(np.arange(len(sources)), [len(labels) for _, labels in sources.values()])
    return train_linear(all_inputs, domain, each).predict_proba(inputs).T


def leave_one_out(sources: Sources) -> Iterator[tuple[str, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    """Each source's name with all the others: train on these, test on it. Raises ValueError for fewer than two sources."""
    if len(sources) < 2:
        raise ValueError("one source cannot be left out: pass two or more")
    for held_out in sources:
        yield held_out, {name: source for name, source in sources.items() if name != held_out}


def split_sources(sources: Sources, fraction: float, seed: int) -> tuple[dict, dict]:
    """Two sets of sources with the same names: the training part and the validation part (`fraction` of each, equal class shares)."""
    from sklearn.model_selection import train_test_split

    if not 0 < fraction < 1:
        raise ValueError(f"the fraction is {fraction}: choose one between 0 and 1")
    training, validation = {}, {}
    for name, (inputs, labels) in sources.items():
        kept, held = train_test_split(np.arange(len(labels)), test_size=fraction, random_state=seed, stratify=labels)
        training[name], validation[name] = (inputs[kept], labels[kept]), (inputs[held], labels[held])
    return training, validation


def check_sources(sources: Sources) -> None:
    """Raises ValueError when there is no source, a source is empty, or inputs and labels do not fit together."""
    if not sources:
        raise ValueError("there are no sources: pass at least one")
    for name, (inputs, labels) in sources.items():
        if np.ndim(inputs) != 2 or not len(inputs):
            raise ValueError(f"the inputs of {name!r} have shape {np.shape(inputs)}: pass (n, d), one row for each example")
        check_labels(labels, len(inputs))
    if len({inputs.shape[1] for inputs, _ in sources.values()}) > 1:
        raise ValueError("the sources have different numbers of features: prepare all of them in the same way")


def check_members(members: Mapping[str, Model], sources: Sources) -> None:
    """Raises ValueError when the members are not one of each source, or there are fewer than three of them."""
    if list(members) != list(sources):
        raise ValueError(f"members of {', '.join(members)} for the sources {', '.join(sources)}: train one on each, in this order")
    if len(sources) < 3:
        raise ValueError(f"{len(sources)} sources: from three on, the others can outvote a bad one")


def check_weights(weights: Sequence[float], count: int) -> np.ndarray:
    """The weights as (count,) shares that sum to 1. Raises ValueError when they are negative, not finite, all 0, or not `count`."""
    weights = np.asarray(weights, np.float64)
    if weights.shape != (count,):
        raise ValueError(f"the weights have shape {weights.shape} for {count} sources: pass one for each")
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(f"the weights are {weights}: pass numbers of 0 or more that are not all 0")
    return weights / weights.sum()
