"""Object detection on frozen maps: overlap, suppression, average precision; a single-stage and a two-stage detector; classical proposals.

Boxes are (k, 4) tensors of left, top, right, bottom in pixels. The maps are those of `features.extract_pyramid`: a fine one of stride 8
and a coarse one of stride 16, of square images.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from helpers import config, experiment
from helpers.data.images import check_images
from helpers.data.scenes import SIDE, Scenes
from helpers.heads import FusedHead, cell_centres, gaussian_maps
from helpers.training import History, fit

if TYPE_CHECKING:
    import pandas as pd

Maps = tuple[torch.Tensor, torch.Tensor]
COMPARISON = Path(__file__).with_suffix(".json")

STRIDE, SIGMA, CLASSES = 8, 6.0, 10
UNIT = 32.0  # pixels: the head says distances in this unit, so that they are about 1
NEAR = 6.5  # pixels: cells whose middle is this near to the centre of an object learn its box and class
BINS = 5  # RoIAlign makes BINS x BINS numbers of each channel, whatever the size of the box


class Found(NamedTuple):
    """What was found in one image: boxes (k, 4), scores (k,) higher for surer, labels (k,) int64."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


# --- overlap, suppression, average precision


def check_boxes(boxes: torch.Tensor | np.ndarray, side: int | None = None) -> torch.Tensor:
    """The boxes as a float32 tensor (k, 4); no box at all is fine. side: of the image, which a box must touch (None: not looked at).

    Raises ValueError for another shape, NaN, a right or bottom edge left of or above the opposite one, a box outside of the image.
    """
    boxes = torch.as_tensor(boxes, dtype=torch.float32)
    if boxes.numel() == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes have shape {tuple(boxes.shape)}: pass (k, 4), left, top, right, bottom; one box alone needs box[None]")
    if not torch.isfinite(boxes).all():
        raise ValueError("a box holds NaN or infinity: drop it, or look where it comes from")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ValueError("a box ends before it begins: boxes are left, top, right, bottom (not width and height)")
    if side is not None and ((boxes[:, 2:] <= 0) | (boxes[:, :2] >= side)).any():
        raise ValueError(f"a box lies outside of the image of {side} x {side} pixels: drop it, or clip it and drop what is empty")
    return boxes


def iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of every box (k, 4) with every box (m, 4): (k, m), 0 to 1. Empty boxes overlap with nothing (0).

    Raises ValueError as `check_boxes`.
    """
    first, second = check_boxes(first), check_boxes(second)
    upper_left = torch.maximum(first[:, None, :2], second[None, :, :2])
    lower_right = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (lower_right - upper_left).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return common / (areas[0][:, None] + areas[1][None] - common).clamp(min=1e-9)


def suppress(boxes: torch.Tensor, scores: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """Non-maximum suppression: places of the boxes that stay, best first. One that overlaps a better one by more than `threshold` goes.

    boxes (k, 4), scores (k,). Without boxes: an empty tensor. Raises ValueError as `check_boxes`, or when the numbers differ.
    """
    boxes = check_boxes(boxes)
    if len(boxes) != len(scores):
        raise ValueError(f"{len(boxes)} boxes and {len(scores)} scores: pass one score for each box")
    overlap, waiting, kept = iou(boxes, boxes), scores.argsort(descending=True, stable=True), []
    while len(waiting):
        best, rest = waiting[0], waiting[1:]
        kept.append(best)
        waiting = rest[overlap[best, rest] <= threshold]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)


def match(found: torch.Tensor, scores: torch.Tensor, truth: torch.Tensor, threshold: float = 0.5) -> np.ndarray:
    """(k,) bool: which found boxes of one image are hits. The surest first, each takes the true box that it overlaps most.

    It is a hit when the overlap reaches `threshold` and nothing surer has taken that box before: finding an object twice is a mistake.
    (The rule of PASCAL VOC, Everingham et al. 2010, doi:10.1007/s11263-009-0275-4.)
    """
    hits = np.zeros(len(found), bool)
    if not len(found) or not len(truth):
        return hits
    overlap, taken = iou(found, truth), set()
    for place in scores.argsort(descending=True, stable=True).tolist():
        best = int(overlap[place].argmax())
        if overlap[place, best] >= threshold and best not in taken:
            hits[place] = True
            taken.add(best)
    return hits


def average_precision(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    """The area under the precision-recall curve, each precision being replaced by the best one at that recall or a higher one.

    scores (k,), hits (k,) bool of all images together. objects: how many there are to find. Nothing found: 0.
    Raises ValueError when there are no objects (recall would be 0 / 0), or when the numbers differ.
    """
    scores, hits = np.asarray(scores, float), np.asarray(hits, bool)
    if scores.shape != hits.shape:
        raise ValueError(f"{len(scores)} scores and {len(hits)} hits: pass one of each for every box found")
    if objects < 1:
        raise ValueError("there are no objects to find: average precision is not defined; count the false alarms instead")
    if not len(scores):
        return 0.0
    hits = hits[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / objects)  # each hit raises recall by 1 / objects


def mean_average_precision(
    found: Sequence[Found], boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], threshold: float = 0.5
) -> float:
    """The mean over the classes of `average_precision`; classes that occur in no image are left out. At 0.5 it is called mAP.5.

    found, boxes, labels: one for each image; an image without objects has empty ones, and whatever is found there is a false alarm.
    Raises ValueError when the numbers of images differ, or when there is no object in any image.
    """
    if not len(found) == len(boxes) == len(labels):
        raise ValueError(f"{len(found)} results for {len(boxes)} images with {len(labels)} sets of labels: pass one for each image")
    classes = np.unique(np.concatenate([np.asarray(of_image, int) for of_image in labels])) if len(labels) else []
    if not len(classes):
        raise ValueError("there is no object in any image: average precision is not defined; count the false alarms instead")
    values = []
    for label in classes:
        scores, hits, objects = [], [], 0
        for result, true_boxes, true_labels in zip(found, boxes, labels, strict=True):
            chosen = result.labels == int(label)
            truth = check_boxes(true_boxes)[torch.as_tensor(np.asarray(true_labels, int) == label)]
            scores.append(result.scores[chosen].numpy())
            hits.append(match(result.boxes[chosen], result.scores[chosen], truth, threshold))
            objects += len(truth)
        values.append(average_precision(np.concatenate(scores), np.concatenate(hits), objects))
    return float(np.mean(values))


# --- single stage: a heat map of centres, and at each cell a box and a class


class Targets(NamedTuple):
    """What the head is to say. heat (n, c, c); boxes (n, c, c, 4) in `UNIT`; labels (n, c, c); near (n, c, c) bool: where these count."""

    heat: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    near: torch.Tensor


def centre_targets(boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], side: int = SIDE) -> Targets:
    """For each image a Gaussian at every centre; in the cells near it the distances to the four edges, and the class.

    (Zhou, Wang & Krähenbühl 2019, arXiv:1904.07850; the four distances as in FCOS, Tian et al. 2019, arXiv:1904.01355.)
    An image without objects has an empty heat map. Raises ValueError as `check_boxes`.
    """
    cells = side // STRIDE
    middle = cell_centres(cells, STRIDE)
    where = torch.stack([middle.expand(cells, -1), middle[:, None].expand(-1, cells)], -1)  # (c, c, 2): x and y of each cell
    heat, edges = torch.zeros(len(boxes), cells, cells), torch.zeros(len(boxes), cells, cells, 4)
    classes, near = torch.zeros(len(boxes), cells, cells, dtype=torch.long), torch.zeros(len(boxes), cells, cells, dtype=torch.bool)
    for image, (of_image, names) in enumerate(zip(boxes, labels, strict=True)):
        for box, name in zip(check_boxes(of_image, side), names, strict=True):
            centre = (box[:2] + box[2:]) / 2
            heat[image] = torch.maximum(heat[image], gaussian_maps(centre, cells, STRIDE, SIGMA))
            close = ((where - centre).abs() < NEAR).all(-1)
            near[image] |= close
            edges[image][close] = torch.cat([where[close] - box[:2], box[2:] - where[close]], -1) / UNIT
            classes[image][close] = int(name)
    return Targets(heat, edges, classes, near)


def decode(outputs: torch.Tensor, threshold: float = 0.1, overlap: float = 0.5, most: int = 20) -> list[Found]:
    """What a head says, (n, 5 + classes, c, c), as boxes: the 40 hottest cells above `threshold`, after suppression, clipped to the image.

    The score is the heat, times the probability of the class if there are classes. An image may end up with no box at all.
    """
    cells = outputs.shape[-1]
    middle, found = cell_centres(cells, STRIDE), []
    x, y = middle.repeat(cells), middle.repeat_interleave(cells)
    for of_image in outputs.flatten(2).transpose(1, 2):  # (cells², 5 + classes)
        heat, edges = of_image[:, 0].sigmoid(), of_image[:, 1:5].clamp(min=0) * UNIT
        boxes = torch.stack([x - edges[:, 0], y - edges[:, 1], x + edges[:, 2], y + edges[:, 3]], 1).clamp(0, cells * STRIDE)
        scores, labels = heat, torch.zeros(len(heat), dtype=torch.long)
        if of_image.shape[1] > 5:
            sure, labels = of_image[:, 5:].softmax(1).max(1)
            scores = heat * sure
        hottest = heat.topk(min(40, len(heat))).indices
        hottest = hottest[heat[hottest] > threshold]
        kept = hottest[suppress(boxes[hottest], scores[hottest], overlap)][:most]
        found.append(Found(boxes[kept], scores[kept], labels[kept]))
    return found


def centre_loss(outputs: torch.Tensor, targets: Targets) -> torch.Tensor:
    """Heat everywhere (cross-entropy, 10), edges (smooth L1, 2) and classes (cross-entropy, 1) only in the cells near a centre."""
    heat, rest = outputs[:, 0], outputs[:, 1:].permute(0, 2, 3, 1)[targets.near]
    loss = 10 * F.binary_cross_entropy_with_logits(heat, targets.heat)
    if not len(rest):
        return loss
    loss = loss + 2 * F.smooth_l1_loss(rest[:, :4], targets.boxes[targets.near])
    return loss + F.cross_entropy(rest[:, 4:], targets.labels[targets.near]) if rest.shape[1] > 4 else loss


def train_centre_head(
    maps: Maps, scenes: Scenes, classes: int = CLASSES, steps: int = 300, learning_rate: float = 16e-3, seed: int = 0
) -> tuple[FusedHead, History]:
    """A single-stage detector on frozen maps. classes: 0 for one that only proposes boxes."""
    torch.manual_seed(seed)
    # Channels last: the same numbers, laid out so that a CPU convolves them in half the time.
    head = FusedHead(5 + classes).to(memory_format=torch.channels_last)
    targets = centre_targets(scenes.boxes, scenes.labels)

    def loss(model: nn.Module, _: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        return centre_loss(model((maps[0][chosen], maps[1][chosen])), Targets(*(target[chosen] for target in targets)))

    places = np.arange(len(scenes.images))
    history = fit(head, torch.zeros(len(places), 1), places, steps=steps, learning_rate=learning_rate, batch_size=16, weight_decay=1e-2,
                  loss=loss, seed=seed)
    return head, history


@torch.inference_mode()
def detect(head: FusedHead, maps: Maps, threshold: float = 0.1) -> list[Found]:
    """What a single-stage detector finds in each image."""
    return decode(head(maps), threshold)


# --- two stages: proposals, then a second look at each


def roi_align(maps: torch.Tensor, boxes: torch.Tensor, side: int = SIDE, bins: int = BINS) -> torch.Tensor:
    """RoIAlign: maps (c, h, w) of one image, boxes (k, 4) in pixels of the image -> (k, c, bins, bins).

    Each box is cut into bins x bins parts, and the map is read by bilinear interpolation in the middle of each: nothing is rounded
    (He et al. 2017, arXiv:1703.06870). side: of the image, in pixels. What lies outside of the map reads as its border.
    Raises ValueError as `check_boxes`.
    """
    boxes = check_boxes(boxes)
    across = (torch.arange(bins) + 0.5) / bins
    x = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * across  # (k, bins)
    y = boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * across
    grid = torch.stack([x[:, None, :].expand(-1, bins, -1), y[:, :, None].expand(-1, -1, bins)], -1)  # (k, bins, bins, 2)
    grid = grid / side * 2 - 1  # grid_sample counts from -1 at the left edge to 1 at the right one
    read = F.grid_sample(maps[None], grid.reshape(1, -1, bins, 2), padding_mode="border", align_corners=False)
    return read[0].reshape(len(maps), -1, bins, bins).transpose(0, 1)


def read_regions(maps: Maps, boxes: Sequence[torch.Tensor]) -> torch.Tensor:
    """`roi_align` of both maps, for the boxes of each image: (all boxes, channels of both, BINS, BINS)."""
    parts = [torch.cat([roi_align(of_layer[image], of_image) for of_layer in maps], 1) for image, of_image in enumerate(boxes)]
    return torch.cat(parts)


class RegionHead(nn.Module):
    """(k, channels, BINS, BINS) -> logits (k, classes + 1), the last for "nothing", and corrections (k, 4) of the box's four edges, in
    shares of its width and height. (Girshick 2015, arXiv:1504.08083.)"""

    def __init__(self, channels: int = 152, classes: int = CLASSES):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Conv2d(channels, 48, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(48 * BINS * BINS, 128), nn.ReLU(),
        )  # fmt: skip
        self.classes, self.edges = nn.Linear(128, classes + 1), nn.Linear(128, 4)

    def forward(self, regions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.body(regions)
        return self.classes(hidden), self.edges(hidden)


def _sizes(boxes: torch.Tensor) -> torch.Tensor:
    """(k, 4): width, height, width, height, at least 4 pixels."""
    return (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2).clamp(min=4)


def train_region_head(
    maps: Maps, scenes: Scenes, proposals: Sequence[torch.Tensor], steps: int = 300, learning_rate: float = 6e-3, seed: int = 0
) -> tuple[RegionHead, History]:
    """The second stage: what is in each proposal, if anything, and where its edges should be.

    It learns from the proposals and from the true boxes moved a little; one that overlaps an object by more than a half is that
    object, any other is "nothing"; of these as many are used as there are objects.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    chosen, labels, edges = [], [], []
    for proposed, true_boxes, true_labels in zip(proposals, scenes.boxes, scenes.labels, strict=True):
        truth, nothing = torch.as_tensor(true_boxes), torch.full((1,), CLASSES)
        moved = truth.repeat(2, 1) + 3 * torch.randn(2 * len(truth), 4, generator=generator)
        moved[:, 2:] = torch.maximum(moved[:, 2:], moved[:, :2] + 4)
        candidates = torch.cat([proposed, truth, moved])
        best, which = iou(candidates, truth).max(1)
        chosen.append(candidates)
        labels.append(torch.where(best > 0.5, torch.as_tensor(true_labels)[which], nothing))
        edges.append((truth[which] - candidates) / _sizes(candidates))
    regions, labels, edges = read_regions(maps, chosen), torch.cat(labels), torch.cat(edges)
    some, none = (labels < CLASSES).nonzero()[:, 0], (labels == CLASSES).nonzero()[:, 0]
    used = torch.cat([some, none[torch.randperm(len(none), generator=generator)[: len(some)]]])

    def loss(model: nn.Module, _: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        places = used[places]
        logits, corrections = model(regions[places])
        real = labels[places] < CLASSES
        value = F.cross_entropy(logits, labels[places])
        return value + 4 * F.smooth_l1_loss(corrections[real], edges[places][real]) if real.any() else value

    head = RegionHead(regions.shape[1])
    history = fit(head, torch.zeros(len(used), 1), np.arange(len(used)), steps=steps, learning_rate=learning_rate, batch_size=96,
                  weight_decay=1e-2, loss=loss, seed=seed)
    return head, history


@torch.inference_mode()
def look_again(head: RegionHead, maps: Maps, proposals: Sequence[Found], overlap: float = 0.3, threshold: float = 0.03) -> list[Found]:
    """The second stage on the proposals of each image: moved, named, scored and suppressed. The score is the probability of the class
    times the root of the proposal's own."""
    found = []
    for image, proposed in enumerate(proposals):
        if not len(proposed.boxes):
            found.append(proposed)
            continue
        regions = read_regions(tuple(of_layer[image : image + 1] for of_layer in maps), [proposed.boxes])
        logits, corrections = head(regions)
        boxes = proposed.boxes + corrections * _sizes(proposed.boxes)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2])
        sure, labels = logits.softmax(1)[:, :CLASSES].max(1)
        scores = sure * proposed.scores.sqrt()
        kept = suppress(boxes, scores, overlap)
        kept = kept[scores[kept] > threshold]
        found.append(Found(boxes[kept], scores[kept], labels[kept]))
    return found


def comparison() -> pd.DataFrame:
    """What data_scripts/compare_detectors.py measured: a row for each arm and seed, with `mAP` and `milliseconds` a scene."""
    return experiment.stored_rows(COMPARISON)


def grid_boxes(side: int = SIDE) -> torch.Tensor:
    """Windows of three shapes around every cell, clipped to the image: proposals of somebody who has not looked."""
    middle = cell_centres(side // STRIDE, STRIDE)
    x, y = middle.repeat(len(middle)), middle.repeat_interleave(len(middle))
    shapes = ((20, 28), (28, 40), (14, 32))
    boxes = torch.cat([torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) for w, h in shapes])
    return boxes[(boxes.min(1).values > -6) & (boxes.max(1).values < side + 6)].clamp(0, side)


def component_boxes(image: np.ndarray, levels: int = 12, smallest: int = 12, largest: int = 60) -> torch.Tensor:
    """Proposals without a network: what hangs together when the image is cut at a level of brightness, in each colour, light and dark.

    A plain form of maximally stable regions (Matas et al. 2004, doi:10.1016/j.imavis.2004.02.006). image (h, w, 3) uint8 -> (k, 4).
    smallest, largest: height in pixels.
    """
    from scipy import ndimage

    found = []
    for channel in np.moveaxis(image, -1, 0):
        for level in np.linspace(0, 255, levels + 2)[1:-1]:
            for mask in (channel > level, channel <= level):
                for rows, columns in ndimage.find_objects(ndimage.label(mask)[0]):
                    height, width = rows.stop - rows.start, columns.stop - columns.start
                    if smallest <= height <= largest and 0.2 * height <= width <= 1.2 * height:
                        found.append((columns.start, rows.start, columns.stop, rows.stop))
    return torch.tensor(sorted(set(found)), dtype=torch.float32).reshape(-1, 4)


# --- a detector from a hub, pretrained as one

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@torch.inference_mode()
def objects_in(photograph: np.ndarray, reader, model: nn.Module, threshold: float = 0.7) -> list[tuple[str, float, list[float]]]:
    """What a detector of transformers finds in a photograph (h, w, 3) uint8: class, probability and box (in pixels), the surest first.

    reader, model: its image processor and the model, for example YOLOS (Fang et al. 2021, arXiv:2106.00666) from `hub.load`.
    """
    inputs = reader(images=photograph, return_tensors="pt").to(model.device)
    (found,) = reader.post_process_object_detection(model(**inputs), threshold, target_sizes=[photograph.shape[:2]])
    rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
    return sorted(((model.config.id2label[label], score, box) for label, score, box in rows), key=lambda row: -row[1])


@torch.inference_mode()
def detector_maps(images: np.ndarray, model: nn.Module, side: int = 256) -> torch.Tensor:
    """Maps (n, channels, side / patch, side / patch) of YOLOS' last layer, without its head: a vector for each patch of the image.

    images: (n, h, w, 3) uint8, enlarged to `side` pixels and standardised as this net wants it. Raises ValueError for unusable images,
    or a side that is no multiple of the model's patches.
    """
    patch, detections = model.config.patch_size, model.config.num_detection_tokens
    if side % patch:
        raise ValueError(f"side is {side}: choose a multiple of {patch}, the side of a patch")
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    parts = []
    for start in config.progress(range(0, len(images), 8), "maps"):
        batch = torch.from_numpy(check_images(images)[start : start + 8]).permute(0, 3, 1, 2).float() / 255
        batch = F.interpolate(batch, (side, side), mode="bilinear", align_corners=False)
        states = model.vit(((batch - mean) / deviation).to(model.device)).last_hidden_state[:, 1:-detections]
        parts.append(states.transpose(1, 2).reshape(len(batch), -1, side // patch, side // patch).cpu())
    return torch.cat(parts)
