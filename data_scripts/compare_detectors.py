"""Train every detector that lesson 16 compares, and store how well each finds digits in helpers/detection.json.

    python data_scripts/compare_detectors.py [--to FILE]
    python data_scripts/compare_detectors.py --tune      # prints how the learning rates in RATES were found

600 training scenes, 150 test scenes on other photographs with other digits; five seeds for each detector, ten for the best two, which
change the start of the training and the order of the scenes. Learning rates are tuned on 100 further scenes on the photographs of
training.
About 10 minutes on two quiet cores.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from helpers import config, detection, experiment, features
from helpers.backbones.efficientnet_lite0 import load_efficientnet_lite0
from helpers.data import scenes
from helpers.detection import CLASSES, Found, Maps
from helpers.heads import FusedHead
from helpers.training import fit

TRAIN, TEST, VALIDATION = (600, 0, True), (150, 1, False), (100, 2, True)  # scenes, seed, photographs of training
STEPS, PROPOSAL_STEPS, REGION_STEPS, SCRATCH_STEPS = 450, 150, 300, 900  # one stage is trained as long as both of two
WINDOWS = 30  # of a grid, or of the components, of each scene are shown to a region head in training
SEEDS, MORE = range(5), {"single-stage": range(10), "two-stage": range(10)}  # the two that are nearest to each other
TRIED = {
    "single-stage": (32e-3, 64e-3, 128e-3),
    "two-stage": (1.5e-3, 3e-3, 6e-3),
    "single-stage, random backbone": (8e-3, 16e-3, 32e-3),
    "single-stage from scratch": (3e-3, 1e-2, 3e-2),
}
# Of the arms without a rate of their own, the second stage is trained as in "two-stage".
RATES = {
    "single-stage": 64e-3, "two-stage": 3e-3, "grid of windows, same second stage": 3e-3, "components, same second stage": 3e-3,
    "components and HOG, no network": 0.0, "single-stage, random backbone": 16e-3, "two-stage, random backbone": 3e-3,
    "single-stage from scratch": 1e-2, "the boxes of another scene": 0.0,
}  # fmt: skip


def maps_of(which: tuple[int, int, bool], random_seed: int | None = None) -> Maps:
    calibrate_on = None if random_seed is None else scenes.digit_scenes(*TRAIN).images
    found = features.extract_pyramid(scenes.digit_scenes(*which).images, random_seed=random_seed, calibrate_on=calibrate_on)
    return tuple(map(torch.from_numpy, found))


class Scratch(nn.Module):
    """A detector of pixels, without a source: five convolutions that end in maps of stride 8 and 16, and the same head."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((3, 16, 2), (16, 24, 2), (24, 48, 2), (48, 48, 1), (48, 96, 2))
        layers = [
            nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()) for i, o, stride in widths
        ]
        self.fine, self.coarse = nn.Sequential(*layers[:4]), layers[4]
        self.head = FusedHead(5 + CLASSES, channels=(48, 96))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fine = self.fine(images)
        return self.head((fine, self.coarse(fine)))


def augmented(images: torch.Tensor, chosen: Sequence[int], data: scenes.Scenes, rng: np.random.Generator) -> tuple:
    """Pixels (n, 3, 128, 128) moved by up to 16 pixels, with other colours, and the boxes that go with them."""
    n, side = len(images), images.shape[-1]
    padded = F.pad(images, (16, 16, 16, 16), mode="reflect")
    moves = rng.integers(0, 33, (n, 2))
    images = torch.stack([padded[k, :, y : y + side, x : x + side] for k, (x, y) in enumerate(moves)])
    gain = torch.as_tensor(rng.uniform(0.6, 1.3, (n, 3, 1, 1)) * rng.choice([1, -1], (n, 1, 1, 1)), dtype=torch.float32)
    images = images[:, torch.as_tensor(rng.permutation(3))] * gain + torch.as_tensor(rng.normal(0, 0.1, (n, 3, 1, 1)), dtype=torch.float32)
    boxes, labels = [], []
    for number, (x, y) in zip(chosen, moves, strict=True):
        moved = data.boxes[number] + 16 - np.array([x, y, x, y], np.float32)
        middle = (moved[:, :2] + moved[:, 2:]) / 2
        kept = ((middle > 0) & (middle < side)).all(1)
        boxes.append(np.clip(moved[kept], 0, side))
        labels.append(data.labels[number][kept])
    return images, detection.centre_targets(boxes, labels)


def pixels_of(images: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128


def train_scratch(rate: float, seed: int) -> Scratch:
    data, rng = scenes.digit_scenes(*TRAIN), np.random.default_rng(seed)
    torch.manual_seed(seed)
    model, pixels = Scratch().to(memory_format=torch.channels_last), pixels_of(data.images)

    def loss(model: nn.Module, _: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        images, targets = augmented(pixels[chosen], chosen.tolist(), data, rng)
        return detection.centre_loss(model(images), targets)

    places = np.arange(len(pixels))
    fit(model, torch.zeros(len(places), 1), places, steps=SCRATCH_STEPS, learning_rate=rate, batch_size=16, weight_decay=1e-2, loss=loss,
        seed=seed)
    return model


def some(boxes: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [of_image[torch.as_tensor(rng.permutation(len(of_image))[:WINDOWS])] for of_image in boxes]


def components(which: tuple[int, int, bool]) -> list[torch.Tensor]:
    return [detection.component_boxes(image) for image in scenes.digit_scenes(*which).images]


def equally_sure(boxes: Sequence[torch.Tensor]) -> list[Found]:
    return [Found(of_image, torch.ones(len(of_image)), torch.zeros(len(of_image), dtype=torch.long)) for of_image in boxes]


def gradients(images: np.ndarray, boxes: Sequence[torch.Tensor]) -> np.ndarray:
    """Histograms of oriented gradients of what is in the boxes (Dalal & Triggs 2005), all boxes of all images."""
    import skimage.transform

    found = []
    for image, of_image in zip(images, boxes, strict=True):
        grey = image.mean(2)
        for left, top, right, bottom in of_image.int().tolist():
            cut = grey[max(top, 0) : bottom, max(left, 0) : right]
            found.append(hog(skimage.transform.resize(cut, (24, 16)), 9, (4, 4), (2, 2)))
    return np.stack(found) if found else np.zeros((0, 540))


def train_hog(seed: int) -> Pipeline:
    data = scenes.digit_scenes(*TRAIN)
    shown = [torch.cat([part, torch.as_tensor(truth)]) for part, truth in zip(some(components(TRAIN), seed), data.boxes, strict=True)]
    labels = []
    for boxes, truth, names in zip(shown, data.boxes, data.labels, strict=True):
        best, which = detection.iou(boxes, torch.as_tensor(truth)).max(1)
        labels.append(torch.where(best > 0.5, torch.as_tensor(names)[which], torch.full((1,), CLASSES)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return model.fit(gradients(data.images, shown), torch.cat(labels).numpy())


def find_with_hog(model: Pipeline, images: np.ndarray, boxes: Sequence[torch.Tensor]) -> list[Found]:
    results = []
    for image, of_image in zip(images, boxes, strict=True):
        if not len(of_image):
            results.append(Found(of_image, torch.zeros(0), torch.zeros(0, dtype=torch.long)))
            continue
        sure, labels = torch.from_numpy(model.predict_proba(gradients(image[None], [of_image])))[:, :CLASSES].max(1)
        kept = detection.suppress(of_image, sure, 0.3)
        results.append(Found(of_image[kept], sure[kept].float(), labels[kept]))
    return results


def run(arm: str, rate: float, which: tuple[int, int, bool], seed: int) -> tuple[list[Found], float]:
    """What the detector finds in the scenes, and the seconds it took without the backbone."""
    data, train_scenes = scenes.digit_scenes(*which), scenes.digit_scenes(*TRAIN)
    if arm == "the boxes of another scene":
        rng = np.random.default_rng(seed)
        guesses = rng.integers(0, len(train_scenes.images), len(data.images))
        return [
            Found(torch.as_tensor(train_scenes.boxes[g]), torch.as_tensor(rng.random(len(train_scenes.labels[g]))),
                  torch.as_tensor(train_scenes.labels[g])) for g in guesses
        ], 0.0
    if arm == "components and HOG, no network":
        model, began = train_hog(seed), time.process_time()
        return find_with_hog(model, data.images, [detection.component_boxes(image) for image in data.images]), time.process_time() - began
    if arm == "single-stage from scratch":
        model, began = train_scratch(rate, seed), time.process_time()
        with torch.inference_mode():
            return detection.decode(model(pixels_of(data.images))), time.process_time() - began
    random_seed = seed if "random" in arm else None
    train_maps, maps = maps_of(TRAIN, random_seed), maps_of(which, random_seed)
    if arm.startswith("single-stage"):
        head, _ = detection.train_centre_head(train_maps, train_scenes, steps=STEPS, learning_rate=rate, seed=seed)
        began = time.process_time()
        return detection.detect(head, maps), time.process_time() - began
    if arm.startswith("two-stage"):
        first, _ = detection.train_centre_head(train_maps, train_scenes, classes=0, steps=PROPOSAL_STEPS, seed=seed)
        shown = [found.boxes for found in detection.detect(first, train_maps, 0.05)]
    elif arm.startswith("grid"):
        shown = some([detection.grid_boxes()] * len(train_scenes.images), seed)
    else:
        shown = some(components(TRAIN), seed)
    second, _ = detection.train_region_head(train_maps, train_scenes, shown, steps=REGION_STEPS, learning_rate=rate, seed=seed)
    began = time.process_time()
    if arm.startswith("two-stage"):
        proposals = detection.detect(first, maps, 0.05)
    elif arm.startswith("grid"):
        proposals = equally_sure([detection.grid_boxes()] * len(data.images))
    else:
        proposals = equally_sure([detection.component_boxes(image) for image in data.images])
    return detection.look_again(second, maps, proposals), time.process_time() - began


def score(arm: str, rate: float, which: tuple[int, int, bool], seed: int) -> tuple[float, float]:
    data = scenes.digit_scenes(*which)
    found, seconds = run(arm, rate, which, seed)
    return detection.mean_average_precision(found, data.boxes, data.labels), seconds / len(data.images) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=detection.COMPARISON, metavar="FILE")
    parser.add_argument("--tune", action="store_true", help="try other learning rates, and store nothing")
    arguments = parser.parse_args()
    config.start(seed=0)
    for which in (TRAIN, TEST, VALIDATION):
        maps_of(which)
    if arguments.tune:
        for arm, rates in TRIED.items():
            table = experiment.repeat(score, {"arm": [arm], "rate": rates, "which": [VALIDATION]}, [100, 101])
            table["mAP"] = [found for found, _ in table.accuracy]
            print(arm, table.groupby("rate").mAP.mean().round(3).to_dict(), flush=True)
        return 0
    began = time.process_time()
    features.maps_of(load_efficientnet_lite0(), scenes.digit_scenes(*TEST).images[:50], ("block 4", "block 10"), None)
    backbone, rows = (time.process_time() - began) / 50 * 1000, []
    for arm, rate in RATES.items():
        table = experiment.repeat(score, {"arm": [arm], "rate": [rate], "which": [TEST]}, MORE.get(arm, SEEDS))
        has_backbone = not any(word in arm for word in ("HOG", "scratch", "another"))
        for (found, milliseconds), seed in zip(table.accuracy, table.seed, strict=True):
            milliseconds += backbone if has_backbone else 0
            rows.append({"arm": arm, "seed": seed, "rate": rate, "mAP": round(found, 4), "milliseconds": round(milliseconds, 1)})
        print(pd.DataFrame(rows).tail(len(table)).to_string(header=False), flush=True)
        experiment.store_sweep(rows, arguments.to, Path(__file__).name, SEEDS, judged_on="150 scenes on photographs of their own")
    return 0


if __name__ == "__main__":
    sys.exit(main())
