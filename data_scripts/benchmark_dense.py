"""Measure what would take too long in lesson 17, and tune the learning rates: writes helpers/dense.json.

    python data_scripts/benchmark_dense.py [--to FILE]

About a quarter of an hour on two quiet cores. Nets from scratch get more steps than the heads on frozen maps, and changed copies of their
images. Rates are tuned on what is no test: other figures on the training photographs, and another photograph of text than the page.
"""
from __future__ import annotations

import itertools
import sys
from pathlib import Path

import joblib
import numpy as np
import torch
import torch.nn.functional as F

from helpers import config, dense, experiment, features, keypoints
from helpers import super_resolution as sr
from helpers.backbones import efficientnet_lite0 as lite0
from helpers.data import coins, figures, pages

SEEDS, TUNING_SEEDS = (0, 1, 2), (100, 101)
RATES = {"keypoints": (4e-3, 1e-2), "super-resolution": (1e-3, 3e-3, 1e-2)}
LONG, POOL, TEST = 300, 300, 100
Row = dict[str, object]


def _inputs(arm: str, which: str, seed: int) -> dense.Inputs:
    """What the arm's net sees of the training pool, the figures to tune on, or those to test on."""
    found = {"pool": (POOL, True, 0), "tune": (TEST, True, 1), "test": (TEST, False, 0), "busy": (TEST, False, 0, True)}
    images = figures.load_figures(*found[which]).images
    if arm == "scratch":
        return lite0.preprocess(images, None)
    drawn = seed if arm == "random" else None
    calibration = figures.load_figures(*found["pool"]).images if arm == "random" else None
    return tuple(torch.from_numpy(part) for part in features.extract_pyramid(images, random_seed=drawn, calibrate_on=calibration))


def on_figures(task: str, arm: str, count: int, steps: int, rate: float, seed: int, tuning: bool = False) -> dict[str, float]:
    """PCK or the mean IoU of one net, trained on `count` figures of the pool: a U-Net from scratch, or a head on maps. Also on the busy
    photographs, when a U-Net is tested for keypoints."""
    pool = figures.load_figures(POOL, True, 0)
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(POOL)[:count])
    torch.manual_seed(seed)
    outputs, poses = (7, True) if task == "keypoints" else (1, False)
    model = dense.UNet(outputs) if arm == "scratch" else dense.DenseHead(outputs)
    targets = torch.from_numpy(pool.joints) if poses else dense.coarse_masks(pool.masks)
    augment = None if arm != "scratch" else keypoints.augment if poses else dense.augment_masks
    settings = {"loss": keypoints.loss if poses else dense.balanced_bce, "steps": steps, "learning_rate": rate}
    inputs = dense.take(_inputs(arm, "pool", seed), rows)
    dense.train(model, inputs, targets[rows], augment=augment, seed=seed, **settings)
    judged = {"score": figures.load_figures(TEST, tuning, int(tuning))}
    if poses and arm == "scratch" and not tuning:
        judged["busy"] = figures.load_figures(TEST, False, 0, busy=True)
    scores = {}
    for name, true in judged.items():
        maps = dense.predict(model, _inputs(arm, "tune" if tuning else {"score": "test"}.get(name, name), seed))
        if poses:
            scores[name] = keypoints.pck(keypoints.decode(maps), true.joints)
        else:
            scores[name] = float(dense.mask_iou(dense.fine_masks(maps), true.masks).mean())
    return scores


def on_coins(light: str, count: int, steps: int, rate: float, seed: int, tuning: bool = False, arm: str = "scratch") -> float:
    """IoU of a U-Net trained on crops of the left part of the coins: on the right part, to tune on a wide crop of the left part."""
    images, masks = coins.crops(count, seed)
    torch.manual_seed(seed)
    model = dense.UNet(1)
    dense.train(model, lite0.preprocess(images, None), dense.coarse_masks(masks), loss=F.binary_cross_entropy_with_logits, steps=steps,
                learning_rate=rate, augment=dense.augment_masks, batch_size=4, seed=seed)  # fmt: skip
    judged, truth = (part[None] for part in (coins.right_half() if not tuning else [half[0] for half in coins.crops(1, 1000 + seed)]))
    judged = coins.lamp_from_the_left(judged[0])[None] if light == "lamp from the left" else judged
    return float(dense.mask_iou(dense.fine_masks(dense.predict(model, lite0.preprocess(judged, None))), truth)[0])


def on_pages(arm: str, count: int, steps: int, rate: float, seed: int, tuning: bool = False) -> float:
    """PSNR of one net on the right half of the page (to tune: of another photograph of text), trained on patches of the left half."""
    left, right = pages.halves(pages.read_grey("text" if tuning else "page"))
    torch.manual_seed(seed)
    model = sr.Upscaler() if arm == "scratch" else sr.load_upscaler(arm, seed % 3)
    patches = pages.cut(left, count, np.random.default_rng(100 + seed))
    return sr.judge(sr.train(model, patches, steps=steps, learning_rate=rate, seed=seed), right)


def call(task: str, **setting: object) -> Row:
    torch.set_num_threads(1)
    judges = {"super-resolution": on_pages, "coins": on_coins}
    scores = {"score": judges[task](**setting)} if task in judges else on_figures(task, **setting)
    return {"task": task, **setting, **{name: round(score, 4) for name, score in scores.items()}}


def measure(settings: list[dict]) -> list[Row]:
    """All calls, in parallel, in the order of the settings."""
    workers = joblib.Parallel(n_jobs=min(config.cores(), len(settings)), return_as="generator")
    return list(config.progress(workers(joblib.delayed(call)(**setting) for setting in settings), total=len(settings)))


def combinations(**values: tuple) -> list[dict]:
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def run() -> list[dict]:
    """A row for each run, those that tuned first."""
    common = {"seed": TUNING_SEEDS, "tuning": (True,)}
    sweep = combinations(task=("keypoints",), arm=("scratch",), count=(20, 100, 300), steps=(LONG,), rate=RATES["keypoints"], **common)
    for arms, steps in ((("scratch",), (sr.TUNING_STEPS, sr.TUNING_STEPS + sr.PRETRAINING_STEPS)), (pages.SOURCES, (sr.TUNING_STEPS,))):
        rates = RATES["super-resolution"]
        sweep += combinations(task=("super-resolution",), arm=arms, count=(4, 32), steps=steps, rate=rates, **common)
    lights = ("as it is", "lamp from the left")  # who tunes does not know the other light
    on_photo = {"task": ("coins",), "light": lights, "arm": ("scratch",), "count": (4,), "steps": (150,)}
    sweep += combinations(**on_photo | {"light": lights[:1]}, rate=RATES["keypoints"], **common)
    tuned = measure(sweep)
    sums: dict[tuple, dict[float, float]] = {}
    for row in tuned:
        rates = sums.setdefault((row["task"], row["arm"], row["count"], row["steps"]), {})
        rates[row["rate"]] = rates.get(row["rate"], 0) + row["score"]
    best = {setting: max(rates, key=rates.get) for setting, rates in sums.items()}
    final = [
        dict(zip(("task", "arm", "count", "steps", "rate", "seed"), (*setting, rate, seed), strict=True))
        for setting, rate in best.items() for seed in SEEDS if setting[0] != "coins"
    ]  # fmt: skip
    final += combinations(**on_photo, rate=(best["coins", "scratch", 4, 150],), seed=SEEDS)
    scratch = best["keypoints", "scratch", 100, LONG]
    final += combinations(task=("keypoints",), arm=("scratch",), count=(100,), steps=(60,), rate=(scratch,), seed=SEEDS)
    final += combinations(task=("keypoints",), arm=("random",), count=(20, 100, 300), steps=(120,), rate=(1e-2,), seed=SEEDS)
    final += combinations(task=("masks",), arm=("scratch",), count=(20, 100), steps=(LONG,), rate=(scratch,), seed=SEEDS)
    final += combinations(task=("masks",), arm=("random",), count=(20, 100), steps=(80,), rate=(1e-2,), seed=SEEDS)
    final.sort(key=lambda setting: (setting["arm"] == "random", setting["arm"] == "random" and setting["seed"]))
    return tuned + measure(final)


def main() -> int:
    return experiment.runs_command(run, __doc__, dense.MEASURED, Path(__file__).name)


if __name__ == "__main__":
    sys.exit(main())
