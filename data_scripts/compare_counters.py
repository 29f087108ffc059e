"""Train every counter that lesson 16 compares, and store how far each is off in helpers/counting.json.

    python data_scripts/compare_counters.py [--to FILE]
    python data_scripts/compare_counters.py --tune      # prints how the learning rates in RATES were found

20 or 100 training scenes out of 300, 100 test scenes on other photographs; five seeds, three for the controls with a net of their own,
which change the training scenes and the start of the training. Learning rates are tuned on 100 further scenes on the photographs of
training. About 6 minutes on two quiet cores.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import nn

from helpers import config, counting, experiment, features
from helpers.data import scenes

TRAIN, TEST, VALIDATION = (300, 0, True), (100, 1, False), (100, 2, True)  # scenes, seed, photographs of training
SCENES = (20, 100)
STEPS, SCRATCH_STEPS = 120, 400
TRIED = {
    "density map": (4e-3, 8e-3, 16e-3),
    "density map, random backbone": (2e-3, 4e-3, 8e-3),
    "density map from scratch": (6e-3, 2e-2, 6e-2),
}
RATES = {"density map": 8e-3, "density map, random backbone": 4e-3, "density map from scratch": 2e-2}
SEEDS = {
    "density map": 5, "ridge on pooled features": 5, "blobs, no network": 5, "always the mean": 5, "density map, random backbone": 3,
    "density map from scratch": 3,
}  # fmt: skip


def maps_of(which: tuple[int, int, bool], random_seed: int | None = None) -> tuple[torch.Tensor, ...]:
    calibrate_on = None if random_seed is None else scenes.crowds(*TRAIN).images
    found = features.extract_pyramid(scenes.crowds(*which).images, random_seed=random_seed, calibrate_on=calibrate_on)
    return tuple(map(torch.from_numpy, found))


def pixels_of(which: tuple[int, int, bool]) -> tuple[torch.Tensor]:
    return ((torch.from_numpy(scenes.crowds(*which).images).permute(0, 3, 1, 2).float() - 127) / 128,)


def blobs(which: tuple[int, int, bool]) -> np.ndarray:
    """(scenes, settings) how many maxima of the Laplacian of a Gaussian there are, for several widths and thresholds."""
    counts = []
    for image in scenes.crowds(*which).images:
        grey, row = image.mean(2) / 255, []
        for sigma in (3, 4, 5, 6):
            strength = np.abs(sigma**2 * ndimage.gaussian_laplace(grey, sigma))
            peaks = (strength == ndimage.maximum_filter(strength, int(2 * sigma))) * strength
            row += [(peaks > threshold).sum() for threshold in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)]
        counts.append(row)
    return np.array(counts)


def error(arm: str, count: int, rate: float, which: tuple[int, int, bool], seed: int) -> float:
    """Mean absolute error, in pebbles, on the scenes `which`."""
    pool, truth = scenes.crowds(*TRAIN), scenes.crowds(*which).counts
    chosen = np.random.default_rng(seed).permutation(len(pool.images))[:count]
    known = pool.counts[chosen]
    if arm == "always the mean":
        return counting.mean_absolute_error(np.full(len(truth), known.mean()), truth)
    if arm == "blobs, no network":  # a straight line for each setting, and the setting that fits the training scenes best
        seen, asked = blobs(TRAIN)[chosen], blobs(which)
        slopes = ((seen - seen.mean(0)) * (known - known.mean())[:, None]).mean(0) / (seen.var(0) + 1e-9)
        best = int(np.abs((seen - seen.mean(0)) * slopes + known.mean() - known[:, None]).mean(0).argmin())
        return counting.mean_absolute_error((asked[:, best] - seen[:, best].mean()) * slopes[best] + known.mean(), truth)
    if arm == "ridge on pooled features":
        model = counting.ridge([of_layer[chosen] for of_layer in maps_of(TRAIN)], known)
        return counting.mean_absolute_error(model.predict(counting.pooled(maps_of(which))), truth)
    torch.manual_seed(seed)
    scratch, random_seed = arm.endswith("scratch"), seed if "random" in arm else None
    model: nn.Module = counting.ScratchCounter() if scratch else counting.DensityHead()
    inputs, asked = (pixels_of(TRAIN), pixels_of(which)) if scratch else (maps_of(TRAIN, random_seed), maps_of(which, random_seed))
    part = tuple(tensor[chosen] for tensor in inputs)
    points = [pool.points[number] for number in chosen]
    steps = SCRATCH_STEPS if scratch else STEPS
    counting.train_counter(model, part, points, steps=steps, learning_rate=rate, augment=scratch, seed=seed)
    return counting.mean_absolute_error(counting.count(model, asked), truth)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=counting.COMPARISON, metavar="FILE")
    parser.add_argument("--tune", action="store_true", help="try other learning rates, and store nothing")
    arguments = parser.parse_args()
    config.start(seed=0)
    for which in (TRAIN, TEST, VALIDATION):
        maps_of(which)
    if arguments.tune:
        for arm, rates in TRIED.items():
            for count in SCENES:
                table = experiment.repeat(error, {"arm": [arm], "count": [count], "rate": rates, "which": [VALIDATION]}, [100, 101])
                print(arm, count, table.groupby("rate").accuracy.mean().round(2).to_dict(), flush=True)
        return 0
    rows = []
    for arm, seeds in SEEDS.items():
        for count in SCENES:
            rate = RATES.get(arm, 0.0)
            table = experiment.repeat(error, {"arm": [arm], "count": [count], "rate": [rate], "which": [TEST]}, range(seeds))
            rows += [{"arm": arm, "scenes": count, "seed": seed, "rate": rate, "error": round(value, 3)}
                     for seed, value in zip(table.seed, table.accuracy, strict=True)]
            print(pd.DataFrame(rows).tail(seeds).to_string(header=False), flush=True)
    experiment.store_sweep(rows, arguments.to, Path(__file__).name, range(5), judged_on="100 scenes on photographs of their own")
    return 0


if __name__ == "__main__":
    sys.exit(main())
