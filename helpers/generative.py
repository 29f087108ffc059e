"""A small class-conditional GAN for 8x8 digits: its losses, its training and transfer, and how its pictures are judged.

Names of the nets' parts, for `finetuning.unfreeze_only`: of the generator classes, start, paint; of the discriminator early, late, real,
classes.
"""
from __future__ import annotations

import copy
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from helpers import config, training
from helpers.backbones import shipped
from helpers.backbones.small_cnn import SmallCNN
from helpers.data import augment
from helpers.data.digits import COUNT, load_digits
from helpers.data.images import check_labels, to_tensor
from helpers.data.splits import k_shot
from helpers.experiment import best_rates
from helpers.finetuning import freeze

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import BaseImageProcessor, PreTrainedModel

WEIGHTS = Path(__file__).parent / "backbones" / "weights" / "gan.safetensors"
SWEEP = Path(__file__).with_suffix(".json")
TABLE = SWEEP.with_name("generative_runs.json")
CLASSES, NOISE = 10, 32
GAIN = 30.0  # on the discriminator's scores
FASTER = 3.0  # the discriminator's learning rate over the generator's
STEPS = 200  # of training on handwritten digits
JITTER = augment.jitter(brightness=0, noise=0)  # of true and generated pictures alike; gradients pass through it


class Generator(nn.Module):
    """Noise (n, 32) and labels (n,) to pictures (n, 1, 8, 8) in 0-1. A class is a learned vector that stands beside the noise."""

    def __init__(self, classes: int = CLASSES, size: int = 16):
        super().__init__()
        self.classes = nn.Embedding(classes, size)
        self.start = nn.Sequential(nn.Linear(NOISE + size, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)))
        self.paint = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1), nn.PixelShuffle(2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)
        )

    def draw(self, noise: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """The pictures of noise (n, 32) and class vectors (n, 16), which may lie between two classes."""
        return torch.sigmoid(2 * self.paint(self.start(torch.cat([noise, vectors], 1))))

    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.draw(noise, self.classes(labels))


class Discriminator(nn.Module):
    """Pictures (n, 1, 8, 8) in 0-1 and labels (n,) to scores (n,): high for what looks true and fits its label.

    The label enters by a scalar product with the picture's features (projection: Miyato & Koyama 2018, arXiv:1802.05637). Spectral
    normalisation divides each layer's kernel, as a matrix, by its largest singular value, which bounds how much the layer can stretch
    (Miyato et al. 2018, arXiv:1802.05957); `normalise` False leaves it out.
    """

    def __init__(self, classes: int = CLASSES, normalise: bool = True):
        super().__init__()
        norm = spectral_norm if normalise else nn.Identity()
        self.early = nn.Sequential(
            norm(nn.Conv2d(1, 16, 3, padding=1)), nn.LeakyReLU(0.2), norm(nn.Conv2d(16, 32, 3, 2, padding=1)), nn.LeakyReLU(0.2)
        )
        self.late = nn.Sequential(norm(nn.Conv2d(32, 48, 3, 2, padding=1)), nn.LeakyReLU(0.2), nn.Flatten())
        self.real = norm(nn.Linear(192, 1))
        self.classes = norm(nn.Embedding(classes, 192))

    def forward(self, pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        features = self.late(self.early(2 * pictures - 1))
        return GAIN * (self.real(features)[:, 0] + (self.classes(labels) * features).sum(1))


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Hinge loss of scores (n,): those of true pictures should exceed 1, those of generated ones fall below -1; more gains nothing.

    (Lim & Ye 2017, arXiv:1705.02894.)
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """Minus the mean score (n,) of the generated pictures: the generator wants them high."""
    return -fake.mean()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move every number of `average`, BatchNorm's statistics too, to decay * average + (1 - decay) * model, in place; counters are
    copied. (Moving averages of GANs: Yazıcı et al. 2019, arXiv:1806.04498.)
    """
    kept, new = average.state_dict(), model.state_dict()
    floating = [name for name, tensor in kept.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([kept[name] for name in floating], [new[name] for name in floating], 1 - decay)
    for name in kept.keys() - set(floating):
        kept[name].copy_(new[name])


class Run(NamedTuple):
    """generator: the moving average, which one samples from, in evaluation mode. losses: of discriminator and generator (steps, 2).
    kept: copies of the moving average after some of the steps."""

    generator: Generator
    losses: np.ndarray
    kept: dict[int, Generator]


def train_gan(
    generator: Generator, discriminator: Discriminator, images: np.ndarray, labels: np.ndarray, *, steps: int, rate: float = 1e-3,
    discriminator_rate: float | None = None, augmentation: augment.Augment | None = JITTER, batch_size: int = 32, seed: int = 0,
    keep: Sequence[int] = (),
) -> Run:  # fmt: skip
    """Train both nets in place by turns, a step each, on images (m, 8, 8) in 0-1 with labels (m,); what is frozen stays.

    rate: of the generator. discriminator_rate: None means three times that (two time scales: Heusel et al. 2017, arXiv:1706.08500).
    augmentation: the same random changes for true and generated pictures (DiffAugment: Zhao et al. 2020, arXiv:2006.10738); None: none.
    keep: the steps after which a copy of the moving average is kept.
    Raises ValueError for unusable images or labels, labels above 9, steps below 1, or a net of which everything is frozen.
    """
    real, labels = _check_digits(images), torch.as_tensor(_check_classes(labels, len(images)))
    if steps < 1:
        raise ValueError(f"steps is {steps}: use 1 or more")
    speeds = {generator: rate, discriminator: FASTER * rate if discriminator_rate is None else discriminator_rate}
    optimizers, random = [], torch.Generator().manual_seed(seed)
    for model, speed in speeds.items():
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError(f"every parameter of the {type(model).__name__} is frozen: unfreeze the part that shall be trained")
        training.train_mode(model)
        optimizers.append(torch.optim.Adam(trained, speed, betas=(0.5, 0.99), fused=True))
    present = torch.unique(labels)  # a class of which there is no image is not asked for
    average, losses, kept = copy.deepcopy(generator).eval(), np.zeros((steps, 2)), {}
    for step in config.progress(range(steps), "train_gan"):
        shown = torch.randint(len(real), (batch_size,), generator=random)
        wanted = present[torch.randint(len(present), (batch_size,), generator=random)]
        fake = generator(torch.randn(batch_size, NOISE, generator=random), wanted)
        pictures, both = torch.cat([real[shown], fake]), torch.cat([labels[shown], wanted])
        pictures = augmentation(pictures, random) if augmentation else pictures
        scores = discriminator(pictures.detach(), both)
        losses[step, 0] = _step(optimizers[1], discriminator_loss(scores[:batch_size], scores[batch_size:]))
        losses[step, 1] = _step(optimizers[0], generator_loss(discriminator(pictures[batch_size:], wanted)))
        update_average(average, generator, min(0.99, (step + 1) / (step + 10)))  # at first it forgets faster
        if step + 1 in keep:
            kept[step + 1] = copy.deepcopy(average)
    generator.eval(), discriminator.eval()
    return Run(average, losses, kept)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss.backward(inputs=optimizer.param_groups[0]["params"])  # no gradients for the other net
    optimizer.step()
    return loss.item()


def _check_digits(images: np.ndarray) -> torch.Tensor:
    tensor = to_tensor(images)
    if tensor.shape[1:] != (1, 8, 8):
        raise ValueError(f"images have shape {tuple(np.shape(images))}: these nets draw (n, 8, 8), grey")
    return tensor


def _check_classes(labels: np.ndarray, count: int) -> np.ndarray:
    labels = check_labels(labels, count)
    if count and labels.max() >= CLASSES:
        raise ValueError(f"a label is {labels.max()}: the nets know the digits 0 to 9")
    return labels


@torch.inference_mode()
def sample(generator: Generator, labels: Sequence[int] | np.ndarray, seed: int = 0) -> np.ndarray:
    """A picture (n, 8, 8) float32 in 0-1 for each label, from noise of this seed. Raises ValueError for a label that is no digit."""
    labels = np.asarray(labels)
    noise = torch.randn(len(labels), NOISE, generator=torch.Generator().manual_seed(seed))
    wanted = torch.as_tensor(_check_classes(labels, len(labels)) if len(labels) else labels.astype(np.int64))
    return generator.eval()(noise, wanted)[:, 0].numpy()


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Between normal distributions fitted to two sets of features (n, d) and (m, d): |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½).

    In units of the features, squared; 0 for the same set. It depends on n and m, so compare sets of equal size only. (Heusel et al. 2017,
    arXiv:1706.08500, with features of Inception; Dowson & Landau 1982.)
    Raises ValueError when a set has fewer than two rows, the widths differ, or a feature is NaN or infinite.
    """
    first, second = (np.asarray(features, np.float64) for features in (first, second))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"features have shapes {first.shape} and {second.shape}: pass (n, d) and (m, d)")
    if min(len(first), len(second)) < 2:
        raise ValueError(f"there are {len(first)} and {len(second)} rows: a covariance needs two or more of each")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("features hold NaN or infinite values: look at the pictures and the net that made them")
    gap = first.mean(0) - second.mean(0)
    one, two = (np.cov(features, rowvar=False).reshape(gap.size, gap.size) for features in (first, second))
    # tr (C1 C2)^½ is the sum of the roots of the eigenvalues of R C2 R, where R R = C1: symmetric, so nothing becomes complex.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(0)).sum()
    return float(max(gap @ gap + np.trace(one) + np.trace(two) - 2 * shared, 0))


def nearest(pictures: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `pictures` (n, …): the index of the most similar of `others` (m, …), and its distance, the root of the summed squared
    differences of the pixels. Raises ValueError when one set is empty or the sizes differ.
    """
    if not len(pictures) or not len(others) or pictures.shape[1:] != others.shape[1:]:
        raise ValueError(f"pictures have shape {pictures.shape}, others {others.shape}: pass one or more of the same size")
    from scipy.spatial.distance import cdist

    distances = cdist(pictures.reshape(len(pictures), -1), others.reshape(len(others), -1))
    return distances.argmin(1), distances.min(1)


def copied(pictures: np.ndarray, shown: np.ndarray, unseen: np.ndarray) -> float:
    """The share of `pictures` (n, …) that lie nearer to one of `shown` (m, …) than 95 % of the real images `unseen` (k, …) do.

    About 0.05 for new real images, 1 for copies. Raises ValueError as `nearest`.
    """
    return float((nearest(pictures, shown)[1] < np.quantile(nearest(unseen, shown)[1], 0.05)).mean())


class Task(NamedTuple):
    """Real digits: those to learn from (few of each class), other ones, never shown to a net, and as many to test with."""

    few: np.ndarray
    few_labels: np.ndarray
    other: np.ndarray
    other_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


JUDGES = np.random.default_rng(0).permutation(COUNT)[: COUNT // 3]  # the 599 digits that the judge is trained on, and nothing else


def make_task(count: int, seed: int) -> Task:
    """`count` digits to learn from, the same number of each class, drawn by `seed`; 599 to test with; the others. None is a judge's.

    Raises ValueError unless `count` is a multiple of 10 from 10 to 400.
    """
    if count % CLASSES or not 10 <= count <= 400:
        raise ValueError(f"count is {count}: pass a multiple of 10 from 10 to 400, since each digit gets as many")
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(COUNT), JUDGES))
    test, pool = order[: COUNT // 3], order[COUNT // 3 :]
    few = k_shot(digits.labels, count // CLASSES, seed, pool)
    parts = few, np.setdiff1d(pool, few), test
    return Task(*(array for part in parts for array in (digits.images[part], digits.labels[part])))


@torch.inference_mode()
def judged(judge: SmallCNN, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The judge's 64 features of each picture (n, 64), and the digit it reads (n,)."""
    features = judge.eval().features(_check_digits(pictures))
    return features.numpy(), judge.classifier(features).argmax(1).numpy()


def spread(features: np.ndarray, labels: np.ndarray) -> float:
    """How different the pictures of one class are: the variance of the features (n, d) within a class, summed over d, mean of classes."""
    return float(np.mean([features[labels == label].var(0).sum() for label in np.unique(labels)]))


def score(judge: SmallCNN, pictures: np.ndarray, labels: np.ndarray, task: Task) -> dict[str, float]:
    """Five figures of a set of pictures.

    distance: Fréchet distance to the test digits. right: share in which the judge reads the label. spread: over that of the test digits.
    nearest: mean distance to the most similar of the digits learned from. copied: the share that is nearer to one of them than 95 % of
    the task's other real digits are.
    """
    features, read = judged(judge, pictures)
    true, _ = judged(judge, task.test)
    return {
        "distance": frechet_distance(features, true),
        "right": float((read == labels).mean()),
        "spread": spread(features, labels) / spread(true, task.test_labels),
        "nearest": float(nearest(pictures, task.few)[1].mean()),
        "copied": copied(pictures, task.few, task.other),
    }


# What a net starts from: (generator from the source, discriminator from the source, early layers frozen).
ARMS = {
    "scratch": (False, False, False),
    "only the generator moved": (True, False, False),
    "only the discriminator moved": (False, True, False),
    "both moved": (True, True, False),
    "both moved, FreezeD": (True, True, True),
}


def transfer(
    arm: str, task: Task, *, rate: float | None = None, steps: int = STEPS, seed: int = 0, keep: Sequence[int] = ()
) -> Run:  # fmt: skip
    """Train a GAN on the few digits of `task`, from random weights or from a source's: one of `ARMS`.

    Seed s starts from source net s, s - (number of nets), …, so that the source's luck is part of the spread. FreezeD: the early layers
    of the discriminator stay as they are (Mo, Cho & Shin 2020, arXiv:2002.10964). rate: None takes the best of the stored sweep.
    Raises ValueError for another arm, and as `train_gan`.
    """
    if arm not in ARMS:
        raise ValueError(f"no arm called {arm!r}: choose one of {', '.join(ARMS)}")
    torch.manual_seed(seed)
    nets, source = [Generator(), Discriminator()], load_source(seed % len(provenance()["distances"]))
    nets = [old if moved else new for old, new, moved in zip(source, nets, ARMS[arm], strict=False)]
    if ARMS[arm][2]:
        freeze(nets[1].early)
    rate = best_rate(arm, len(task.few)) if rate is None else rate
    return train_gan(*nets, task.few, task.few_labels, steps=steps, rate=rate, seed=seed, keep=keep)


def best_rate(arm: str, count: int) -> float:
    """The generator's rate that was best for this arm in the stored sweep, at the nearest number of digits."""
    rates = best_rates(SWEEP, "arm", "digits")[arm]
    return rates[min(rates, key=lambda tried: abs(math.log(tried / count)))]


def provenance() -> dict:
    """How the shipped nets were made: script, seeds, steps, versions, Fréchet distances to new font digits, sha256."""
    return shipped.record(WEIGHTS)


def verify() -> Path:
    """The path of the shipped nets. Raises CourseError as `shipped.verified`."""
    return shipped.verified(WEIGHTS, provenance()["sha256"], "make_gan.py")


def _load(model: nn.Module, head: str) -> nn.Module:
    model.load_state_dict(shipped.part(verify(), head))
    return model.eval()


def load_source(number: int = 0) -> tuple[Generator, Discriminator]:
    """A GAN pretrained on font digits, in evaluation mode. number: which of the five. Raises ValueError for another, and as `verify`."""
    count = len(provenance()["distances"])
    if not 0 <= number < count:
        raise ValueError(f"number is {number}: there are {count} nets, choose 0 to {count - 1}")
    return _load(Generator(), f"generator.{number}."), _load(Discriminator(), f"discriminator.{number}.")


@lru_cache
def load_judge() -> SmallCNN:
    """The classifier whose features and answers judge the pictures: trained on `JUDGES`, real digits that nothing else sees.

    Frozen and in evaluation mode. Raises as `verify`.
    """
    return freeze(_load(SmallCNN(CLASSES), "judge."))


@torch.inference_mode()
def continue_pictures(processor: BaseImageProcessor, model: PreTrainedModel, images: np.ndarray, rows: int, seed: int = 0) -> np.ndarray:
    """Let Image GPT draw all but the upper `rows` rows of square images (n, h, h, 3) uint8; returns (n, side, side, 3) uint8.

    The images are made as small as the model's pictures, and each pixel becomes the nearest of the processor's colours: a picture is then
    a text of colours, which the model continues (Chen et al. 2020, "Generative Pretraining from Pixels"). rows 0: it invents all of it.
    processor and model: as `hub.load("painter")` gives them. Raises ValueError for other images, or rows that are not 0 to side.
    """
    side = math.isqrt(model.config.n_positions)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"images have shape {images.shape} and dtype {images.dtype}: pass one or more (n, h, h, 3), square, uint8")
    if not 0 <= rows <= side:
        raise ValueError(f"rows is {rows}: the model's pictures have {side}, keep 0 to {side}")
    colours = torch.as_tensor(np.asarray(processor.clusters), dtype=torch.float32)  # (colours, 3) in -1 to 1
    small = F.interpolate(to_tensor(images), (side, side), mode="bilinear", antialias=True)
    tokens = torch.cdist((2 * small - 1).permute(0, 2, 3, 1).reshape(len(images), -1, 3), colours.expand(len(images), -1, -1)).argmin(-1)
    start = torch.full((len(images), 1), len(colours))
    begun = torch.cat([start, tokens[:, : rows * side]], 1).to(model.device)
    missing = side * side - rows * side
    with torch.random.fork_rng(devices=[]), config.threads(min(2, config.cores())):
        torch.manual_seed(seed)
        # Without the cache each pixel would need all before it anew.
        drawing = {"max_new_tokens": missing, "do_sample": True, "top_k": 0, "use_cache": True}
        drawn = model.generate(begun, attention_mask=torch.ones_like(begun), **drawing) if missing else begun
    pixels = (colours[drawn[:, 1:].cpu()] + 1) * 127.5
    return pixels.round().clamp(0, 255).to(torch.uint8).reshape(len(images), side, side, 3).numpy()
