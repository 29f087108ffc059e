"""Learn features from images without labels: corrupt, turn or vary an image, and let the net solve the riddle.

An *objective* is a function (features, images, generator) -> loss; as an nn.Module it may bring layers of its own, which are trained
too and thrown away afterwards. `pretrain` is the one loop for all of them.
"""
from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import experiment, training
from helpers.backbones import shipped
from helpers.backbones.small_cnn import WEIGHTS, SmallCNN
from helpers.data.augment import Augment, jitter

Objective = Callable[[nn.Module, Tensor, torch.Generator], Tensor]
RATES_FILE = Path(__file__).with_suffix(".json")
RUNS = RATES_FILE.with_name("selfsupervised_runs.json")  # accuracies that take too long for a lesson, by data_scripts/run_selfsupervised.py
STEPS, BATCH_SIZE = 100, 64  # of lesson 10, for every method
WIDTH = 64  # numbers that `SmallCNN.features` gives for an image


def views(rotation: float = 0.15, shear: float = 0.15, scale: float = 0.1, shift: float = 0.1, noise: float = 0.08) -> Augment:
    """Lesson 10's augmentation: half as strong again as `augment.jitter()`'s own, so that two views do not agree pixel by pixel."""
    return jitter(rotation=rotation, shear=shear, scale=scale, shift=shift, noise=noise)


# --- losses on two views -------------------------------------------------------------------------------------------------------------


def _check_pair(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"the views have shapes {tuple(first.shape)} and {tuple(second.shape)}: pass two (n, d) views of the same images")
    if len(first) < 2:
        raise ValueError(f"the batch holds {len(first)} image: two or more are needed, since an image is compared with the others")


def info_nce(scores: Tensor) -> Tensor:
    """Row i of the (n, n) scores says how well each of n candidates fits image i; candidate i is the right one. A mean cross-entropy.

    log n minus its expectation is never more than the mutual information of the two views, whatever the scores (van den Oord et al. 2018,
    arXiv:1807.03748). Raises ValueError unless the scores are square with n >= 2.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(f"scores have shape {tuple(scores.shape)}: pass (n, n), n of 2 or more, the right candidates on the diagonal")
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """SimCLR's loss of two (n, d) views: each of the 2n embeddings must find its partner among the 2n - 1 others, by cosine.

    Embeddings that are all the same give log(2n - 1). The order of the batch plays no role. (Chen et al. 2020, arXiv:2002.05709, eq. 1.)
    Raises ValueError for views of different shapes, fewer than two images, or a temperature that is not positive.
    """
    _check_pair(first, second)
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}: it divides the similarities and must be above 0 (0.1 to 1 is usual)")
    n = len(first)
    unit = F.normalize(torch.cat([first, second]), dim=1)
    scores = (unit @ unit.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool, device=unit.device), float("-inf"))
    partner = torch.arange(2 * n, device=unit.device).roll(n)
    return F.cross_entropy(scores, partner)


class Terms(NamedTuple):
    """VICReg's three terms, each 0 when it is satisfied. invariance: mean squared difference of the views. variance: how much the
    deviation of a dimension falls short of 1, 0 to 1. covariance: sum of the squared covariances between different dimensions, over d.
    """

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg_terms(first: Tensor, second: Tensor) -> Terms:
    """The three terms for two (n, d) views; variance and covariance are the mean and the sum over the views (as in the paper, where
    25 times half the sum of the variances is meant). Raises ValueError for views of different shapes or fewer than two images.
    """
    _check_pair(first, second)

    def variance(view: Tensor) -> Tensor:
        return F.relu(1 - torch.sqrt(view.var(0) + 1e-4)).mean()  # without 1e-4 the slope at deviation 0 would be infinite

    def covariance(view: Tensor) -> Tensor:
        matrix = torch.cov(view.T).reshape(view.shape[1], view.shape[1])
        return (matrix.square().sum() - matrix.diagonal().square().sum()) / view.shape[1]

    return Terms(F.mse_loss(first, second), (variance(first) + variance(second)) / 2, covariance(first) + covariance(second))


def vicreg_loss(first: Tensor, second: Tensor, weights: tuple[float, float, float] = (25.0, 25.0, 1.0)) -> Tensor:
    """VICReg: two (n, d) views close to each other, every dimension varied, no two dimensions alike. Raises as `vicreg_terms`.

    weights: of invariance, variance and covariance. (Bardes, Ponce & LeCun 2022, arXiv:2105.04906.)
    """
    terms = vicreg_terms(first, second)
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


def negative_cosine(predicted: Tensor, target: Tensor, stop_gradient: bool = True) -> Tensor:
    """Minus the mean cosine between (n, d) predictions and targets, -1 to 1. The target is a constant: no gradient flows into it.

    (SimSiam: Chen & He 2021, arXiv:2011.10566, eq. 1-2.) stop_gradient=False is there to see the collapse. Raises ValueError for
    different shapes.
    """
    if predicted.shape != target.shape or predicted.ndim != 2:
        raise ValueError(f"predictions have shape {tuple(predicted.shape)}, targets {tuple(target.shape)}: pass (n, d) both")
    return -F.cosine_similarity(predicted, target.detach() if stop_gradient else target, dim=1).mean()


# --- riddles about one image ---------------------------------------------------------------------------------------------------------


def turn(images: Tensor, quarters: Tensor) -> Tensor:
    """Each image (n, c, s, s) turned counter-clockwise by its own number of quarter turns (n,), whole numbers 0 to 3.

    Raises ValueError for images that are not square, or other numbers.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images have shape {tuple(images.shape)}: pass square ones, (n, channels, side, side)")
    if quarters.shape != (len(images),) or not torch.isin(quarters, torch.arange(4, device=quarters.device)).all():
        raise ValueError(f"quarters are {quarters.tolist()!r:.60}: pass 0, 1, 2 or 3 for each of the {len(images)} images")
    four = torch.stack([torch.rot90(images, k, (2, 3)) for k in range(4)])
    return four[quarters.to(images.device), torch.arange(len(images), device=images.device)]


def corrupt(images: Tensor, generator: torch.Generator, noise: float = 0.35, missing: float = 0.25) -> Tensor:
    """The images with normal noise of deviation `noise` on each pixel, and a share `missing` of the pixels set to 0.

    Raises ValueError when noise is negative or missing is not a share.
    """
    if noise < 0 or not 0 <= missing < 1:
        raise ValueError(f"noise is {noise}, missing {missing}: noise is 0 or more, missing from 0 to below 1")
    kept = torch.rand(images.shape, generator=generator) >= missing
    return (images + noise * torch.randn(images.shape, generator=generator).to(images)) * kept.to(images)


# --- objectives: a riddle or a loss, with the layers it needs ------------------------------------------------------------------------


def projector(outputs: int, inputs: int = WIDTH, hidden: int = 128) -> nn.Sequential:
    """Two layers between the features, which are kept, and the embedding, on which the loss works."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Denoise(nn.Module):
    """Rebuild the image from a corrupted copy of it (Vincent et al. 2008, doi:10.1145/1390156.1390294)."""

    def __init__(self, pixels: int = 64, inputs: int = WIDTH):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, pixels))

    def forward(self, features: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        return F.mse_loss(self.decoder(features(corrupt(images, generator))), images.flatten(1))


class Rotate(nn.Module):
    """Say by how many quarter turns the image was turned (Gidaris et al. 2018, arXiv:1803.07728)."""

    def __init__(self, augment: Augment, inputs: int = WIDTH):
        super().__init__()
        self.augment, self.answer = augment, nn.Linear(inputs, 4)

    def forward(self, features: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        quarters = torch.randint(0, 4, (len(images),), generator=generator)
        logits = self.answer(features(turn(self.augment(images, generator), quarters)))
        return F.cross_entropy(logits, quarters.to(logits.device))


class TwoViews(nn.Module):
    """Two views of each image through the net and a projector, compared by `loss`: `nt_xent` (SimCLR) or `vicreg_loss` (VICReg)."""

    def __init__(self, augment: Augment, loss: Callable[[Tensor, Tensor], Tensor], outputs: int = 128, inputs: int = WIDTH):
        super().__init__()
        self.augment, self.loss, self.projector = augment, loss, projector(outputs, inputs)

    def forward(self, features: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        both = torch.cat([self.augment(images, generator), self.augment(images, generator)])
        first, second = self.projector(features(both)).chunk(2)
        return self.loss(first, second)


class Predict(nn.Module):
    """From one view's embedding predict the other's, which is held fixed: no image is pushed away from another.

    momentum: how much of the *teacher*, a slowly following copy of the net that gives the targets, is kept at each step (BYOL: Grill et
    al. 2020, arXiv:2006.07733); None: the net gives its own targets (SimSiam). stop_gradient=False is there to see the collapse.
    Raises ValueError when the momentum is not between 0 and 1.
    """

    def __init__(
        self, augment: Augment, momentum: float | None = 0.9, outputs: int = 64, inputs: int = WIDTH, stop_gradient: bool = True
    ):
        super().__init__()
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}: the share of the old teacher to keep, from 0 to below 1, or None for no teacher")
        self.augment, self.momentum, self.stop_gradient = augment, momentum, stop_gradient
        self.projector, self.predictor = projector(outputs, inputs), projector(outputs, outputs)
        self.teacher: nn.Module | None = None

    @torch.no_grad()
    def follow(self, student: nn.Module) -> nn.Module:
        """The teacher, after one small move towards the student; at first a copy of it."""
        if self.teacher is None:
            self.teacher = copy.deepcopy(student).requires_grad_(False)
        for old, new in zip(self.teacher.state_dict().values(), student.state_dict().values(), strict=True):
            old.lerp_(new, 1 - self.momentum) if old.is_floating_point() else old.copy_(new)
        return self.teacher

    def forward(self, features: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
        both = torch.cat([self.augment(images, generator), self.augment(images, generator)])
        student = nn.Sequential(features, self.projector)
        embedded = student(both)
        target = embedded
        if self.momentum is not None:
            with torch.no_grad():
                target = self.follow(student)(both)
        # The first view's prediction is compared with the second view's target, and the other way round.
        return negative_cosine(self.predictor(embedded), target.roll(len(images), 0), self.stop_gradient)


def objectives(augment: Augment | None = None) -> dict[str, Callable[[], nn.Module]]:
    """The five methods of lesson 10 by name, each a function that makes a new objective. augment: how views differ (None: `views()`)."""
    change = augment or views()
    return {
        "denoising": Denoise,
        "rotation": lambda: Rotate(change),
        "SimCLR": lambda: TwoViews(change, nt_xent, outputs=64),
        "BYOL": lambda: Predict(change),
        "VICReg": lambda: TwoViews(change, vicreg_loss),
    }


@lru_cache
def tuned_rates() -> dict[str, dict[int, float]]:
    """{method: {labels: rate}}: the best rate of each sweep stored by data_scripts/tune_selfsupervised.py; methods at 5 labels."""
    return experiment.best_rates(RATES_FILE, "method", "labels")


# --- training and looking ------------------------------------------------------------------------------------------------------------


def pretrain(
    model: nn.Module, objective: Objective, images: Tensor, *, steps: int = STEPS, batch_size: int = BATCH_SIZE,
    learning_rate: float = 3e-3, seed: int = 0,
) -> training.History:  # fmt: skip
    """Train `model.features` in place on images (n, …) without labels; leaves the model in evaluation mode, its classifier untouched.

    objective: gives the loss of a batch; when it is an nn.Module its parameters are trained too. The rest as in `training.fit`.
    Raises ValueError when there are fewer than two images, or as `training.fit` does.
    """
    if len(images) < 2:
        raise ValueError(f"there are {len(images)} images: self-supervision compares images, pass at least a batch of them")
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in model.features.parameters() if p.requires_grad]
    if isinstance(objective, nn.Module):
        objective.train().to(next(model.parameters()).device)
        parameters += [p for p in objective.parameters() if p.requires_grad]

    def loss(net: nn.Module, batch: Tensor, _no_labels: Tensor) -> Tensor:
        return objective(net.features, batch, generator)

    none = np.zeros(len(images), np.int64)  # `fit` wants labels; nothing looks at them
    recipe = {"learning_rate": learning_rate, "batch_size": batch_size, "weight_decay": 1e-4, "seed": seed}
    return training.fit(model, images, none, steps=steps, groups=[{"params": parameters}], loss=loss, **recipe)


def train_vicreg(
    images: Tensor, augment: Augment | None = None, steps: int = 400, batch_size: int = 128, seed: int = 0, learning_rate: float = 3e-3
) -> SmallCNN:
    """A new `SmallCNN` whose `features` were trained by VICReg on the images (n, 1, 8, 8); its classifier is of no use."""
    torch.manual_seed(seed)
    model = SmallCNN(classes=2)
    objective = TwoViews(augment or views(), vicreg_loss)
    pretrain(model, objective, images, steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    return model


def scaled(features: np.ndarray, pool: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Features (n, d) made comparable: each column by the mean and deviation of the rows `pool`, then each row to length sqrt(d).

    pool: the rows that may be looked at, which are the unlabelled images; with ten labelled images alone a deviation would be a guess,
    and with the test images it would leak. Raises ValueError when the pool holds fewer than two rows.
    """
    features = np.asarray(features, np.float64)
    seen = features[pool]
    if len(seen) < 2:
        raise ValueError(f"the pool holds {len(seen)} rows: a deviation needs two or more, better all unlabelled images")
    # A feature that hardly varies is not blown up.
    columns = (features - seen.mean(0)) / (seen.std(0) + 0.05 * seen.std() + 1e-9)
    return columns / (np.linalg.norm(columns, axis=1, keepdims=True) + 1e-9) * np.sqrt(features.shape[1])


def provenance() -> dict:
    """How the shipped nets were made: script, steps, versions, and for each seed the probe's accuracy and the sha256."""
    return shipped.record(WEIGHTS / "vicreg.json")


def vicreg_file(seed: int, source: str = "digits") -> str:
    """The file name of a shipped net."""
    return f"vicreg_{seed}.safetensors" if source == "digits" else f"vicreg_{source}_{seed}.safetensors"


def load_vicreg(seed: int, source: str = "digits") -> SmallCNN:
    """A net trained by VICReg, longer than a lesson has time for, on images without labels; in evaluation mode, its classifier untrained.

    source: "digits", the pool `stratified_half(labels, seed)[0]` of the handwritten digits (the other half it has never seen), or
    "letters", rendered ones. Raises ValueError for a seed or source that is not shipped, CourseError when the file is missing or damaged.
    """
    nets = provenance()["nets"]
    if vicreg_file(seed, source) not in nets:
        raise ValueError(f"no net for seed {seed} and {source!r}: there are {', '.join(nets)}; or train one with `train_vicreg`")
    return load_net(vicreg_file(seed, source))


def load_net(name: str) -> SmallCNN:
    """The shipped net in the file of this name, a key of `provenance()["nets"]`. Raises CourseError when it is missing or damaged."""
    from safetensors.torch import load_file

    path = shipped.verified(WEIGHTS / name, provenance()["nets"][name]["sha256"], "make_selfsupervised_weights.py")
    model = SmallCNN(classes=2)
    model.features.load_state_dict(load_file(path))
    return model.eval()


def effective_rank(features: np.ndarray | Tensor) -> float:
    """How many directions the rows (n, d) use: exp of the entropy of the singular values' shares, 1 to min(n, d); 0 when all are 0.

    Rows that are all the same give 1; equal use of k directions at right angles gives k. (Roy & Vetterli 2007, EUSIPCO; as a judge of
    self-supervised features: Garrido et al. 2023, arXiv:2210.02885.) Raises ValueError for another shape, or NaN.
    """
    matrix = np.asarray(features.detach().cpu() if isinstance(features, Tensor) else features, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"features have shape {matrix.shape}: pass (n, d), at least one row")
    if not np.isfinite(matrix).all():
        raise ValueError("features hold NaN or infinite values: did the training diverge?")
    values = np.linalg.svd(matrix, compute_uv=False)
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
