"""Run an exported classifier with ONNX Runtime. Nothing here needs PyTorch: this is all that a service has to install."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.errors import CourseError

if TYPE_CHECKING:
    import onnxruntime
    from PIL.Image import Image

SIDE = 64  # pixels: what the course's classifier of photographs takes
BATCH = 16
SCANS = 100  # of a JPEG file; cameras and programs write one to a dozen
# With the length of its head, without which no decoder takes it: in other bytes, such as a film behind the photograph, hardly ever.
SCAN = re.compile(rb"\xff\xda\x00[\x06-\x0e]")


def too_many_scans(content: bytes) -> bool:
    """True for the bytes of a JPEG file that go over the image more than `SCANS` times: short to send, and long to unpack."""
    return len(SCAN.findall(content)) > SCANS


def rgb(image: Image) -> Image:
    """An image of Pillow, turned upright, in RGB with 8 bits. Of 16-bit grey levels the upper 8 are kept, as Pillow does in colour."""
    from PIL import Image, ImageOps

    # Phones store the picture lying on its side, with a note of how to turn it.
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # Pillow itself would make everything above 255 white
        upright = Image.fromarray(np.clip(np.asarray(upright) // 256, 0, 255).astype(np.uint8))
    return upright.convert("RGB")


def check_images(images: np.ndarray) -> np.ndarray:
    """The images, unchanged, when the net can take them. Raises ValueError that names the wrong shape or dtype."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (SIDE, SIDE, 3) or not len(images):
        raise ValueError(f"images are {images.dtype} of shape {images.shape}: this net takes uint8 (n, {SIDE}, {SIDE}, 3), n > 0; "
                         "one image alone needs a first axis: image[None]")
    return images


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX file, opened by ONNX Runtime on the CPU. Raises CourseError when it is missing or no ONNX file."""
    import onnxruntime

    if not Path(path).is_file():
        raise CourseError(f"there is no file {path}: export a model first (export.to_onnx)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each way to fail
        reason = str(error).splitlines()[0][:150]
        raise CourseError(f"{Path(path).name} cannot be opened as an ONNX file ({reason}): export it again") from None


def class_names(opened: onnxruntime.InferenceSession) -> tuple[str, ...]:
    """The class names that `export.to_onnx` stored in the file; empty when it holds none."""
    return tuple(json.loads(opened.get_modelmeta().custom_metadata_map.get("classes", "[]")))


def run(opened: onnxruntime.InferenceSession, images: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """The logits (n, classes) float32 of uint8 images (n, 64, 64, 3), in batches. Raises ValueError for other images."""
    images = check_images(images)
    return np.concatenate([opened.run(["logits"], {"images": images[at : at + batch]})[0] for at in range(0, len(images), batch)])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits (…, classes), without overflow."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
