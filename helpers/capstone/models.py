"""What can be trained on a project: a simple baseline, frozen features, a control, a fine-tuned net; and how a model is kept."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from helpers.backbones import efficientnet_lite0 as lite0
from helpers.backbones import minilm
from helpers.errors import CourseError

if TYPE_CHECKING:
    import torch
    from sklearn.pipeline import Pipeline
    from torch import nn

PIXELS = 16  # a side of the thumbnails that the simple baseline of images sees
LAYERS = ("block 4", "block 10", "head")
TOP = 5  # the layers of MiniLM below it stay frozen
STRENGTHS = {"word counts": (0.1, 1.0, 10.0, 100.0)}  # C of the logistic regression, by source
USUAL_STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0)
RATES = (1e-4, 1e-3)  # of the fine-tuned weights
STEPS, HEAD_STRENGTH, HEAD_RATE = 24, 1.0, 1e-3  # of fine-tuning; the head starts as a logistic regression with that C
FILES = ("model.safetensors", "contract.json")


class Recipe(NamedTuple):
    """name: for people. kind: "images" or "texts". source: what the inputs are. grid: rows and columns of places over which maps are
    averaged. tuned: whether the top of the net is trained too. baseline: nothing pretrained. control: not meant to be chosen."""

    name: str
    kind: str
    source: str
    grid: tuple[int, int] = (1, 1)
    tuned: bool = False
    baseline: bool = False
    control: bool = False

    def strengths(self) -> tuple[float, ...]:
        """The values of C to try."""
        return STRENGTHS.get(self.source, USUAL_STRENGTHS)


def recipes(kind: str) -> dict[str, Recipe]:
    """What to compare for "images" or "texts", by name; the baseline first. Raises ValueError for another kind."""
    if kind == "images":
        found = [
            Recipe("pixels", kind, "pixels", baseline=True),
            Recipe("random net, block 10", kind, "random block 10", control=True),
            Recipe("Lite0, block 4", kind, "block 4"),
            Recipe("Lite0, block 10", kind, "block 10"),
            Recipe("Lite0, block 10, 2 x 4 places", kind, "block 10", (2, 4)),
            Recipe("Lite0, last layer", kind, "head"),
            Recipe("Lite0, fine-tuned", kind, "maps of block 10", tuned=True),
        ]
    elif kind == "texts":
        found = [
            Recipe("word counts", kind, "word counts", baseline=True),
            Recipe("MiniLM, word vectors only", kind, "layer 0"),
            Recipe("MiniLM", kind, "layer 6"),
            Recipe("MiniLM, fine-tuned", kind, "states", tuned=True),
        ]
    else:
        raise ValueError(f"kind is {kind!r}: choose images or texts")
    return {recipe.name: recipe for recipe in found}


def inputs(recipe: Recipe, items: np.ndarray, calibrate_on: np.ndarray | None = None) -> np.ndarray | torch.Tensor:
    """What the recipe's classifier is given for these items, row by row: (n, d) features, texts, or what a net's trained part starts from.

    What a backbone computes is kept on disk. calibrate_on: the training images, for the random net. Raises as `features.extract` and
    `text.embed`.
    """
    from helpers import audio, features

    source = recipe.source
    if recipe.kind == "texts":
        return _text_inputs(source, items)
    if source == "pixels":
        from PIL import Image

        small = [Image.fromarray(image).resize((PIXELS, PIXELS), Image.Resampling.BOX) for image in items]
        return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in small])
    if source == "random block 10":
        maps = features.extract_pyramid(items, ("block 10",), None, random_seed=0, calibrate_on=calibrate_on)[0]
        return audio.pool(maps, *recipe.grid)
    maps = dict(zip(LAYERS, features.extract_pyramid(items, LAYERS), strict=True))
    if source == "maps of block 10":
        import torch

        return torch.from_numpy(maps["block 10"]).contiguous(memory_format=torch.channels_last)
    return audio.pool(maps[source], *recipe.grid)


def _text_inputs(source: str, items: np.ndarray) -> np.ndarray | torch.Tensor:
    if source == "word counts":
        return np.asarray(items, dtype=object)
    from helpers import text_finetuning

    layer = {"layer 0": 0}.get(source, TOP)
    states = text_finetuning.hidden_states(list(items), layer)
    if source == "states":
        return states
    first = minilm.LAYERS if layer == 0 else TOP  # no layer at all, or the last one
    return text_finetuning.embed(text_finetuning.Tail(minilm.load_minilm(), first, classes=2), states)


class Model(NamedTuple):
    """A fitted classifier. head: a scikit-learn pipeline, or the trained part of a net."""

    recipe: Recipe
    class_names: tuple[str, ...]
    head: Pipeline | nn.Module

    def probabilities(self, rows: np.ndarray | torch.Tensor) -> np.ndarray:
        """(n, classes) for what `inputs` gave."""
        if not self.recipe.tuned:
            return self.head.predict_proba(rows)
        import torch

        from helpers import text_finetuning, training

        if self.recipe.kind == "images":
            logits = torch.from_numpy(training.predict(self.head, rows))
        else:
            vectors = torch.from_numpy(text_finetuning.embed(self.head, rows)).to(self.head.classifier.weight.device)
            with torch.no_grad():
                logits = self.head.classifier(vectors)
        return logits.softmax(1).cpu().numpy()

    def predict(self, rows: np.ndarray | torch.Tensor) -> np.ndarray:
        """(n,) the most probable class for what `inputs` gave."""
        return self.probabilities(rows).argmax(1)

    def classify(self, items: np.ndarray) -> np.ndarray:
        """(n, classes) probabilities for new items: preprocessing, backbone and head in one."""
        return self.probabilities(inputs(self.recipe, items))


def fit(
    recipe: Recipe, rows: np.ndarray | torch.Tensor, labels: np.ndarray, class_names: Sequence[str], strength: float | None = None,
    rate: float = RATES[0], seed: int = 0,
) -> Model:  # fmt: skip
    """Train the recipe's classifier on what `inputs` gave; all classes count alike, whatever their sizes.

    strength: C of the logistic regression (None: the third of `recipe.strengths()`). rate: of the weights that a tuned recipe trains.
    Raises ValueError when a class is missing.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) != len(class_names):
        raise ValueError(f"{len(np.unique(labels))} of {len(class_names)} classes occur: each needs examples")
    strength = recipe.strengths()[2] if strength is None else strength
    if recipe.tuned:
        tune = _tune_images if recipe.kind == "images" else _tune_texts
        return Model(recipe, tuple(class_names), tune(rows, labels, len(class_names), rate, seed))
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    first = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)) if recipe.source == "word counts" else StandardScaler()
    head = make_pipeline(first, LogisticRegression(C=strength, class_weight="balanced", max_iter=500, tol=1e-3))
    return Model(recipe, tuple(class_names), head.fit(rows, labels))


def _tune_images(maps: torch.Tensor, labels: np.ndarray, classes: int, rate: float, seed: int) -> nn.Module:
    """Blocks 11 to 13 of Lite0, from the best head on frozen features on (LP-FT); BatchNorm's statistics stay frozen."""
    import torch
    import torch.nn.functional as F

    from helpers import finetuning, training

    def loss(model: nn.Module, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(batch), targets, weights.to(batch.device))

    torch.manual_seed(seed)
    weights = _class_weights(labels)
    model = finetuning.fit_classifier(lite0.tail("block 10", "block 13", classes), maps, labels, HEAD_STRENGTH)
    finetuning.freeze_batchnorm(finetuning.unfreeze_last(model, 3))
    groups = finetuning.parameter_groups(model, rate, HEAD_RATE)
    training.fit(model, maps, labels, steps=STEPS, groups=groups, schedule="cosine", loss=loss, seed=seed)
    return model


def _tune_texts(states: torch.Tensor, labels: np.ndarray, classes: int, rate: float, seed: int) -> nn.Module:
    """The last layer of MiniLM, from the best head on."""
    import torch

    from helpers import text_finetuning

    torch.manual_seed(seed)
    model = text_finetuning.Tail(minilm.load_minilm(), TOP, classes, _class_weights(labels))
    _set_head(model.classifier, text_finetuning.embed(model, states), labels)
    groups = text_finetuning.layer_groups(model, rate, HEAD_RATE)
    text_finetuning.finetune(model, text_finetuning.length_batches(states, labels, STEPS, seed), groups)
    return model


def _class_weights(labels: np.ndarray) -> torch.Tensor:
    """(classes,) float32 with which all classes count alike, as scikit-learn's class_weight="balanced"."""
    import torch

    counts = np.bincount(labels)
    return torch.from_numpy(len(labels) / len(counts) / counts).float()


def _set_head(classifier: nn.Linear, vectors: np.ndarray, labels: np.ndarray) -> None:
    """Set a linear layer to the logistic regression on these vectors, in which all classes count alike."""
    import torch
    from sklearn.linear_model import LogisticRegression

    weight, bias = two_rows(LogisticRegression(C=HEAD_STRENGTH, class_weight="balanced", max_iter=500).fit(vectors, labels))
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(weight))
        classifier.bias.copy_(torch.from_numpy(bias))


def two_rows(regression: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight (classes, d) and bias (classes,) of a logistic regression; of two classes the first gets zeros."""
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    return weight, bias


def cross_validate(
    recipe: Recipe, rows: np.ndarray | torch.Tensor, labels: np.ndarray, groups: np.ndarray, *, folds: int = 3, seed: int = 0,
    strength: float | None = None, rate: float = RATES[0], class_names: Sequence[str] | None = None,
) -> np.ndarray:  # fmt: skip
    """(n,) The class predicted for each item by a model that has seen no item of its group. The folds depend on `seed` alone.

    class_names: for the message (None: the label itself). Raises CourseError when a class has too few groups for so many folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels, found = np.asarray(labels), np.empty(len(labels), np.int64)
    count, most = len(np.unique(groups)), np.unique(labels, return_counts=True)[1].max()
    if min(count, most) < folds:
        raise CourseError(f"{count} groups, and at most {most} items of a class, are too few for {folds} folds: collect more of both")
    for train, held_out in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups):
        missing = np.setdiff1d(labels, labels[train])
        if len(missing):
            name = repr(class_names[missing[0]]) if class_names is not None else f"with label {missing[0]}"
            raise CourseError(f"the class {name} is missing in a training fold: it has too few groups for {folds} folds; collect it from "
                              "more groups, or leave it out")
        names = tuple(map(str, np.unique(labels)))
        found[held_out] = fit(recipe, rows[train], labels[train], names, strength, rate, seed).predict(rows[held_out])
    return found


def save_model(model: Model, folder: str | Path) -> Path:
    """Write the model into a folder: its weights (safetensors: numbers only, nothing in it can run) and its contract (JSON). Returns it.

    The frozen backbone is not copied: the contract names it by its hash. Raises CourseError when the folder holds a model already.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    if (folder / FILES[0]).exists():
        raise CourseError(f"the folder {folder.name} holds a model already: name another one")
    folder.mkdir(parents=True, exist_ok=True)
    contract = {"recipe": model.recipe._asdict(), "classes": model.class_names, "backbone": _backbone(model.recipe)}
    if model.recipe.tuned:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.head.state_dict().items()}
    else:
        first, regression = model.head[0], model.head[-1]
        weight, bias = two_rows(regression)
        if model.recipe.source == "word counts":
            contract["vocabulary"] = {word: int(place) for word, place in first.vocabulary_.items()}
            more = {"idf": first.idf_}
        else:  # the standardisation is part of the weights: nothing that could be forgotten
            weight, more = weight / first.scale_, {}
            bias = bias - weight @ first.mean_
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in {"weight": weight, "bias": bias, **more}.items()}
    save_file(tensors, folder / FILES[0])
    contract["sha256"] = hashlib.sha256((folder / FILES[0]).read_bytes()).hexdigest()
    (folder / FILES[1]).write_text(json.dumps(contract, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder


def _backbone(recipe: Recipe) -> str:
    """The hash of the pretrained weights that the recipe needs, "" for none."""
    if recipe.baseline or recipe.control:
        return ""
    return lite0.SHA256 if recipe.kind == "images" else minilm.SHA256["model.safetensors"]


class Linear(NamedTuple):
    """The classifier of a loaded model: softmax(rows @ weight.T + bias)."""

    weight: np.ndarray
    bias: np.ndarray
    counts: Any = None  # texts -> rows, when the source is word counts

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """(n, classes)."""
        from scipy.special import softmax

        rows = rows if self.counts is None else self.counts.transform(rows)
        return softmax(rows @ self.weight.T + self.bias, axis=1)


def load_model(folder: str | Path) -> Model:
    """The model that `save_model` wrote. Raises CourseError when a file is missing or damaged, or the backbone here is another one."""
    import torch
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        contract = json.loads((folder / FILES[1]).read_text(encoding="utf-8"))
        content = (folder / FILES[0]).read_bytes()
        recipe = Recipe(**{**contract["recipe"], "grid": tuple(contract["recipe"]["grid"])})
        classes, backbone, sha256 = tuple(contract["classes"]), contract["backbone"], contract["sha256"]
    except FileNotFoundError as error:
        raise CourseError(f"{Path(error.filename).name} is missing in {folder.name}: copy the whole folder of the model") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CourseError(f"the contract in {folder.name} is damaged ({type(error).__name__}): copy the whole folder again") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CourseError(f"{FILES[0]} in {folder.name} is not the file that was saved: copy the whole folder again")
    if backbone != _backbone(recipe):
        raise CourseError(f"the model in {folder.name} was trained on other pretrained weights than those installed: train it again")
    tensors = load_file(folder / FILES[0])
    if recipe.tuned:
        make = ((lambda: lite0.tail("block 10", "block 13", len(classes))) if recipe.kind == "images"
                else (lambda: _text_tail(len(classes))))
        head = make()
        head.load_state_dict(tensors)
        return Model(recipe, classes, head.eval())
    arrays = {name: tensor.numpy() if isinstance(tensor, torch.Tensor) else tensor for name, tensor in tensors.items()}
    counts = None
    if recipe.source == "word counts":
        from sklearn.feature_extraction.text import TfidfVectorizer

        counts = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), vocabulary=contract["vocabulary"])
        counts.idf_ = arrays["idf"]
    return Model(recipe, classes, Linear(arrays["weight"], arrays["bias"], counts))


def _text_tail(classes: int) -> nn.Module:
    from helpers import text_finetuning

    return text_finetuning.Tail(minilm.load_minilm(), TOP, classes)
