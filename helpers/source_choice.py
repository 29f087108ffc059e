"""The benchmark of lesson 02: twelve candidate sources, three targets with few labels, and the accuracy that each source reaches.

The accuracies are computed once by data_scripts/fine_tune_sources.py (half an hour); everything else is computed when it is used.
"""
from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from helpers import features, finetuning, training
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.backbones.small_cnn import SmallCNN, load_small_cnn
from helpers.data import augment, faces, glyphs, photos
from helpers.data.cache import cached
from helpers.data.digits import load_digits
from helpers.data.images import to_tensor
from helpers.data.splits import k_shot, stratified_half

if TYPE_CHECKING:
    import pandas as pd

LAYERS = ("block 2", "block 4", "block 7", "block 10", "block 13", "head")  # of EfficientNet-Lite0
SMALL = ("letters", "font_digits", "turned_letters", "shuffled_letters", "noise", "untrained")  # SmallCNN
SOURCES = (*LAYERS, *SMALL)
LABELS = {"digits": 10, "photos": 5, "faces": 10}  # per class
SIZES = {"digits": 32, "photos": 64, "faces": 32}  # pixels that EfficientNet-Lite0 sees
TARGETS = tuple(LABELS)
STEPS, HEAD_RATE = 40, 1e-3
# The body's rates that are tried; 0: no step at all, the linear probe on frozen features stays as it is.
LITE0_RATES, SMALL_RATES = (0.0, 1e-4, 3e-4, 1e-3), (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
RESULTS_FILE = Path(__file__).with_suffix(".json")


class Target(NamedTuple):
    """images: all of them, uint8. labels: theirs. pool and test: indices that do not overlap; `labelled` is drawn from the pool."""

    images: np.ndarray
    labels: np.ndarray
    pool: np.ndarray
    test: np.ndarray
    labelled: np.ndarray


def check(value: str, known: tuple[str, ...], what: str) -> str:
    """`value`. Raises ValueError when it is not in `known`."""
    if value not in known:
        raise ValueError(f"no {what} called {value!r}: choose one of {', '.join(known)}")
    return value


@lru_cache
def images_of(target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """All images (uint8), labels and groups of a target. Raises ValueError for an unknown one."""
    if check(target, TARGETS, "target") == "photos":
        data = photos.load_photos(20)
        return data.images, data.labels, data.groups
    data = load_digits() if target == "digits" else faces.load_faces()
    images = data.images if data.images.dtype == np.uint8 else (data.images * 255).astype(np.uint8)
    return images, data.labels, None


def make_target(target: str, seed: int) -> Target:
    """A target with its few labels, drawn by `seed`: `LABELS` of each class. Photos are tested on the other half of each photograph."""
    images, labels, groups = images_of(target)
    if groups is None:
        pool, test = stratified_half(labels, seed)
    else:
        pool, test = np.flatnonzero(groups == photos.TRAIN), np.flatnonzero(groups == photos.TEST)
    return Target(images, labels, pool, test, k_shot(labels, LABELS[target], seed, pool))


def shrink(images: np.ndarray) -> torch.Tensor:
    """What a SmallCNN sees: (n, 1, 8, 8) in 0-1, grey, each pixel the mean of a square."""
    grey = to_tensor(images).mean(1, keepdim=True)
    return nn.functional.adaptive_avg_pool2d(grey, 8)


def inputs_for(source: str, target: str) -> torch.Tensor:
    """All images of the target as the source wants them, in 0-1: 8x8 grey for a SmallCNN, colour at `SIZES` for EfficientNet-Lite0."""
    images = images_of(target)[0]
    return shrink(images) if source in SMALL else lite0.resize(images, SIZES[target]) / 255


@cached
def _turned_letters(seed: int, steps: int) -> dict[str, np.ndarray]:
    letters = to_tensor(glyphs.load_glyphs("letters", 20, seed).images)
    turns = np.random.default_rng(seed).integers(0, 4, len(letters))
    turned = torch.stack([torch.rot90(image, int(k), (1, 2)) for image, k in zip(letters, turns, strict=True)])
    torch.manual_seed(seed)
    model = SmallCNN(classes=4)
    training.fit(model, turned, turns, steps=steps, learning_rate=3e-3, batch_size=64, weight_decay=1e-4, seed=seed)
    return {name: np.array(tensor.numpy(), order="C") for name, tensor in model.state_dict().items()}


def turned_letters(seed: int = 0, steps: int = 120) -> SmallCNN:
    """A source that needs no labels: say by how many quarter turns a letter was turned. Trained when first asked for, then cached.

    (Gidaris et al. 2018, arXiv:1803.07728.)
    """
    model = SmallCNN(classes=4)
    model.load_state_dict({name: torch.as_tensor(values) for name, values in _turned_letters(seed, steps).items()})
    return model.eval()


class Lite0Part(nn.Module):
    """EfficientNet-Lite0 up to `layer` and the mean over all places (`features`), then a linear `classifier`. Input (n, 3, h, w) in 0-1."""

    class Features(nn.Module):
        def __init__(self, layer: str):
            super().__init__()
            net = lite0.load_efficientnet_lite0().cpu()
            blocks = len(net._blocks) if layer == "head" else int(layer.split()[1])
            self.stem, self.norm, self.swish = net._conv_stem, net._bn0, net._swish
            self.blocks = nn.ModuleList(net._blocks[:blocks])
            self.last = nn.Sequential(net._conv_head, net._bn1, net._swish) if layer == "head" else nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.swish(self.norm(self.stem((images * 255 - 127) / 128)))
            for block in self.blocks:
                maps = block(maps)
            return self.last(maps).mean((2, 3))

    def __init__(self, layer: str):
        super().__init__()
        self.features = self.Features(check(layer, LAYERS, "layer"))
        with torch.no_grad():
            size = self.features.eval()(torch.zeros(1, 3, 32, 32)).shape[1]
        self.classifier = nn.Linear(size, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))


def load_source(source: str, target: str, seed: int = 0) -> nn.Module:
    """The net of a source with `features` and a `classifier`, in evaluation mode. Raises ValueError for an unknown source.

    The untrained net depends on `seed`, and counts its BatchNorm statistics on the target's pool, without labels.
    """
    if check(source, SOURCES, "source") in LAYERS:
        return Lite0Part(source).eval()
    if source == "turned_letters":
        return turned_letters()
    return _untrained(target, seed) if source == "untrained" else load_small_cnn(source)


@lru_cache
def _untrained(target: str, seed: int) -> SmallCNN:
    torch.manual_seed(seed)
    model = SmallCNN(classes=52)
    for part in model.modules():
        if isinstance(part, finetuning.BATCHNORM):
            part.momentum = None  # the plain average of all batches
    with torch.no_grad():
        model.train()(inputs_for("untrained", target)[make_target(target, seed).pool])
    return model.eval()


def features_of(source: str, target: str, seed: int = 0) -> np.ndarray:
    """The frozen features (n, d) of all images of the target. seed: matters to the untrained net alone."""
    if source in LAYERS:
        return features.extract(images_of(target)[0], source, SIZES[target])
    model = load_source(source, target, seed)
    with torch.no_grad():
        return model.features(inputs_for(source, target)).numpy()


def probabilities_of(source: str, target: str, seed: int = 0) -> np.ndarray:
    """What the source's own classifier says of all images: (n, source classes), each row sums to 1.

    The layers of EfficientNet-Lite0 share one classifier, so all of them give the same.
    """
    if source in LAYERS:
        layer = lite0.load_efficientnet_lite0()._fc.cpu()
        with torch.no_grad():
            return layer(torch.from_numpy(features_of("head", target))).softmax(1).numpy()
    model = load_source(source, target, seed)
    with torch.no_grad():
        return model(inputs_for(source, target)).softmax(1).numpy()


def fit_head(model: nn.Module, inputs: torch.Tensor, labels: np.ndarray) -> nn.Module:
    """Set `classifier` to `features.linear_probe` on the frozen features, in place: its standardisation is folded into the weights."""
    with torch.no_grad():
        vectors = model.eval().features(inputs).numpy()
        probe = features.linear_probe(vectors, labels)
        scaler, logistic = probe[0], probe[-1]
        weight, bias = logistic.coef_ / scaler.scale_, logistic.intercept_ - (logistic.coef_ * scaler.mean_ / scaler.scale_).sum(1)
        if len(weight) == 1:  # two classes: one boundary becomes two opposite rows
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        model.classifier.weight.copy_(torch.from_numpy(weight))
        model.classifier.bias.copy_(torch.from_numpy(bias))
    return model


def fine_tune(source: str, target: str, rate: float, seed: int) -> tuple[nn.Module, torch.Tensor, Target]:
    """Head first, then all weights for 40 steps (the body at `rate`, the head at 1e-3, cosine, mild augmentation).

    With rate 0 the frozen probe is left as it is. EfficientNet-Lite0 keeps its BatchNorm frozen: its statistics come from many more
    images than the target has. Returns the model, all inputs and the target.
    """
    task, inputs = make_target(target, seed), inputs_for(source, target)
    few, labels = inputs[task.labelled], task.labels[task.labelled]
    pretrained = load_source(source, target, seed)
    torch.manual_seed(seed)
    model = finetuning.unfreeze(finetuning.replace_classifier(pretrained, int(task.labels.max()) + 1))
    fit_head(model, few, labels)
    if rate == 0:
        return model, inputs, task
    if source in LAYERS:
        finetuning.freeze_batchnorm(model)
    groups = finetuning.parameter_groups(model, rate, HEAD_RATE)
    # Noise on single pixels would hurt the early layers of a net that has only seen photographs.
    change = augment.jitter(noise=0, flip=target != "digits")
    training.fit(model, few, labels, steps=STEPS, groups=groups, schedule="cosine", augment=change, seed=seed)
    return model, inputs, task


def accuracy(source: str, target: str, rate: float, seed: int, on: str = "test") -> float:
    """Fine-tune and judge on the test images, or, to choose a rate, on the pool's other images (on="rest")."""
    model, inputs, task = fine_tune(source, target, rate, seed)
    judged = task.test if on == "test" else np.setdiff1d(task.pool, task.labelled)
    return training.accuracy(model, inputs[judged], task.labels[judged])


@lru_cache
def stored() -> dict:
    """What data_scripts/fine_tune_sources.py stored: the sweep of learning rates, and the accuracies at the best rates."""
    return json.loads(RESULTS_FILE.read_text(encoding="utf-8"))


@lru_cache
def tuned_rate(source: str, target: str) -> float:
    """The body's learning rate with the best mean accuracy in the stored sweep."""
    rows = [row for row in stored()["sweep"] if (row["source"], row["target"]) == (source, target)]
    return max(rows, key=lambda row: row["mean"])["rate"]


def reached() -> pd.DataFrame:
    """A row for each target, source and seed: `accuracy` on the test images after fine-tuning, as stored."""
    import pandas as pd

    return pd.DataFrame(stored()["reached"])
