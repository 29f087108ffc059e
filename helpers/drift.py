"""Watch a model at work without labels: compare each window of a stream with what was normal, and raise an alarm when it is not."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

INPUTS = ("brightness", "contrast", "sharpness")
OUTPUTS = ("certainty", "information", "classes")  # the first two: lesson 08's scores
SCORES = [*INPUTS, *OUTPUTS]
EPS = 1e-9
SPLITS = 40


def describe(images: np.ndarray) -> np.ndarray:
    """Three numbers for each uint8 image (n, h, w, 3): (n, 3) brightness (mean level), contrast (standard deviation of the levels) and
    sharpness (mean step between neighbouring pixels, in units of the contrast). Raises ValueError for other images."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(f"images have shape {images.shape}: pass (n, height, width, 3), n > 0")
    grey = images.astype(np.float32).mean(-1)
    brightness, contrast = grey.mean((1, 2)), grey.std((1, 2))
    steps = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
    return np.stack([brightness, contrast, steps / (2 * contrast + 1e-3)], 1)


def window_scores(facts: np.ndarray, guesses: np.ndarray, normal_shares: np.ndarray) -> np.ndarray:
    """The six scores of windows: (…, 6), in the order of `INPUTS` and `OUTPUTS`.

    facts: (…, n, 3) of `describe`. guesses: (…, n, classes) probabilities. normal_shares: (classes,). Inputs: the means of the three
    facts. Outputs: certainty and information (as in `adaptation.selection`), and "classes": half the sum of |share of the class among
    the predictions - its normal share|, 0 to 1.
    """
    certainty = (guesses * np.log(guesses + EPS)).sum(-1).mean(-1)
    average = guesses.mean(-2)
    information = certainty - (average * np.log(average + EPS)).sum(-1)
    shares = (guesses.argmax(-1)[..., None] == np.arange(guesses.shape[-1])).mean(-2)
    classes = np.abs(shares - normal_shares).sum(-1) / 2
    return np.concatenate([facts.mean(-2), np.stack([certainty, information, classes], -1)], -1)


class Monitor:
    """What is normal, learned from a reference without labels, and an alarm for windows that are not.

    facts: (n, 3) of `describe` and guesses: (n, classes) probabilities of the deployed model, for the same n images. No image is kept.
    They must be images that the model was *not* trained on: on those it is surer than it will ever be again. window: images that are
    judged together.
    false_alarms: the share of normal windows that may raise an alarm, in all scores together; each of the six gets a sixth of it
    (Bonferroni), half on each side ("classes" has one side). The bounds, `low` and `high`, are quantiles over
    `draws` windows. Each is drawn from one half of the reference and compared with the other half, since a reference of a few hundred
    images knows what is normal only roughly, and bounds that ignored this would be too narrow.
    Raises ValueError for unequal lengths, a reference of less than four windows, or a rate outside 0-0.5.
    """

    def __init__(
        self, facts: np.ndarray, guesses: np.ndarray, window: int = 50, false_alarms: float = 0.05, draws: int = 2000, seed: int = 0
    ):
        facts, guesses = _check(facts, guesses)
        if window < 2 or len(facts) < 4 * window:
            raise ValueError(f"a reference of {len(facts)} images for windows of {window}: have at least four windows, many are better")
        if not 0 < false_alarms < 0.5:
            raise ValueError(f"false_alarms is {false_alarms}: the share of normal windows that may alarm, between 0 and 0.5")
        self.window, self.false_alarms = window, false_alarms
        self.shares = np.bincount(guesses.argmax(1), minlength=guesses.shape[1]) / len(guesses)
        rng, each = np.random.default_rng(seed), false_alarms / len(SCORES)
        typical = self._scores_of_windows(facts, guesses, self.shares, draws, rng).mean(0)
        away = []
        for _ in range(SPLITS):  # one half plays the reference and the other what comes later
            known, later = np.array_split(rng.permutation(len(facts)), 2)
            shares = np.bincount(guesses[known].argmax(1), minlength=guesses.shape[1]) / len(known)
            first = self._scores_of_windows(facts[known], guesses[known], shares, draws // SPLITS, rng).mean(0)
            first[-1] = typical[-1]  # "classes" is a distance already
            away.append(self._scores_of_windows(facts[later], guesses[later], shares, draws // SPLITS, rng) - first)
        self.low, self.high = typical + np.quantile(np.concatenate(away), [each / 2, 1 - each / 2], axis=0)
        self.low[-1], self.high[-1] = 0, typical[-1] + np.quantile(np.concatenate(away)[:, -1], 1 - each)  # it cannot be too small

    def _scores_of_windows(
        self, facts: np.ndarray, guesses: np.ndarray, shares: np.ndarray, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        """(count, 6): the scores of windows drawn at random, with replacement."""
        chosen = rng.integers(len(facts), size=(count, self.window))
        return window_scores(facts[chosen], guesses[chosen], shares)

    def watch(self, facts: np.ndarray, guesses: np.ndarray) -> pd.DataFrame:
        """A row for each whole window of a stream; what is left over at its end waits for the next call and is not judged.

        Columns: for each score how far it lies outside its bounds, 0 inside, else in widths of the bounds; and `alarm`, True when any is
        above 0. Raises ValueError when the stream is shorter than a window.
        """
        import pandas as pd

        facts, guesses = _check(facts, guesses)
        windows = len(facts) // self.window
        if not windows:
            raise ValueError(f"a stream of {len(facts)} images: the bounds were made for windows of {self.window}")
        used = windows * self.window
        found = window_scores(facts[:used].reshape(windows, self.window, -1), guesses[:used].reshape(windows, self.window, -1),
                              self.shares)
        outside = np.maximum(np.maximum(self.low - found, found - self.high), 0) / np.maximum(self.high - self.low, EPS)
        return pd.DataFrame(outside, columns=SCORES).assign(alarm=(outside > 0).any(axis=1))


def _check(facts: np.ndarray, guesses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    facts, guesses = np.asarray(facts, float), np.asarray(guesses, float)
    if facts.ndim != 2 or facts.shape[1] != len(INPUTS):
        raise ValueError(f"facts have shape {facts.shape}: pass what drift.describe makes of the images, (n, {len(INPUTS)})")
    if guesses.ndim != 2 or len(facts) != len(guesses):
        raise ValueError(f"{len(facts)} images, guesses of shape {guesses.shape}: pass one row of probabilities for each image")
    return facts, guesses


def persistent(alarms: np.ndarray, times: int = 2) -> np.ndarray:
    """True where `times` windows in a row have raised an alarm, up to this one: rarer false alarms, at the price of a later true one.

    Raises ValueError for fewer than one.
    """
    if times < 1:
        raise ValueError(f"times is {times}: use 1 or more")
    alarms = np.asarray(alarms, bool)
    padded = np.concatenate([np.zeros(times - 1, bool), alarms])
    return np.all([padded[shift : shift + len(alarms)] for shift in range(times)], axis=0)


def darken(images: np.ndarray, factor: float = 0.5) -> np.ndarray:
    """The lamp gets weaker: every level times `factor`."""
    return (images * factor).astype(np.uint8)


def blur(images: np.ndarray, pixels: float = 1.5) -> np.ndarray:
    """The lens gets dirty: a Gaussian of this standard deviation over each image (n, h, w, 3)."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, pixels, pixels, 0))


def noise(images: np.ndarray, levels: float = 25.0, seed: int = 0) -> np.ndarray:
    """The sensor gets warm: Gaussian noise of this standard deviation on every level."""
    rng = np.random.default_rng(seed)
    return np.clip(images + rng.normal(0, levels, images.shape), 0, 255).astype(np.uint8)


def grey(images: np.ndarray) -> np.ndarray:
    """The camera has switched to black and white: each pixel's three channels become their mean."""
    return np.repeat(images.mean(-1, keepdims=True), 3, axis=-1).astype(np.uint8)
