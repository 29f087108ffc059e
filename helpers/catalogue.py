"""The families of pretrained networks, measured: real architectures, built with random weights, so nothing is downloaded.

Keras and transformers are heavy and stay out of the lesson's process: `python -m helpers.catalogue` measures in a process of its own and
prints JSON, and `measure` runs that.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from helpers import config
from helpers.errors import CourseError

if TYPE_CHECKING:
    import pandas as pd

# Each with the module of keras.applications that holds its preprocessing.
KERAS = {"VGG16": "vgg16", "ResNet50": "resnet", "InceptionV3": "inception_v3", "DenseNet121": "densenet", "EfficientNetB0": "efficientnet"}
TRANSFORMERS = ("ViT-base", "BERT-base", "GPT-2")
FAMILIES = (*KERAS, *TRANSFORMERS)
PIXEL = (255, 0, 0)  # pure red: what a network's preprocessing makes of it shows scale, shift and order of the channels
TOKENS = 128  # length of the text that BERT and GPT-2 read

Built = tuple[int, str, str, Callable[[], object]]  # parameters, input, the prepared pixel, a call for one input


def latency(call: Callable[[], object], repeats: int = 3) -> list[float]:
    """Seconds of each of `repeats` calls, after one call that does not count: it pays for memory, caches and compilation.

    Raises ValueError when repeats < 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: measure 1 time or more")
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def _written(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _keras(name: str) -> Built:
    import keras
    import numpy as np
    import torch

    model = getattr(keras.applications, name)(weights=None)
    batch = torch.rand(1, *model.input_shape[1:])
    prepare = getattr(keras.applications, KERAS[name]).preprocess_input
    pixel = prepare(np.array([[[PIXEL]]], np.float32)).ravel()
    size = "{} x {} pixels".format(*model.input_shape[1:3])
    return model.count_params(), size, _written(pixel), lambda: model(batch, training=False)


def _transformer(name: str) -> Built:
    import torch
    import transformers

    kind = {"ViT-base": "ViT", "BERT-base": "Bert", "GPT-2": "GPT2"}[name]
    settings = getattr(transformers, f"{kind}Config")()
    with torch.device("meta"):  # shapes without memory: the weights are filled in one go below
        model = getattr(transformers, f"{kind}Model")(settings)
    count = sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        model = model.to_empty(device="cpu").eval()
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01 if tensor.is_floating_point() else 0)
    if kind == "ViT":
        batch = {"pixel_values": torch.rand(1, 3, settings.image_size, settings.image_size)}
        pixel = [value / 127.5 - 1 for value in PIXEL]  # mean 0.5 and deviation 0.5, the defaults of its image processor
        return count, f"{settings.image_size} x {settings.image_size} pixels", _written(pixel), lambda: model(**batch)
    limit = settings.max_position_embeddings
    batch = {"input_ids": torch.zeros(1, TOKENS, dtype=torch.long)}
    return count, f"up to {limit} tokens", "-", lambda: model(**batch)


def measure_one(name: str, repeats: int = 3) -> dict:
    """Parameters, input, what becomes of a red pixel, MB on disk (4 bytes a parameter) and seconds for one input.

    Raises ValueError for an unknown family.
    """
    import torch

    if name not in FAMILIES:
        raise ValueError(f"no family called {name!r}: choose one of {', '.join(FAMILIES)}")
    count, size, pixel, call = _keras(name) if name in KERAS else _transformer(name)
    with torch.no_grad():
        seconds = latency(call, repeats)
    about = {"family": name, "parameters": count, "megabytes": count * 4 / 1e6, "input": size, "red pixel": pixel}
    return {**about, "seconds": seconds}


def measure(families: Sequence[str] = FAMILIES) -> pd.DataFrame:
    """A row for each family, measured on one thread in a process for each of the two libraries (about 20 s for all of them).

    Columns: parameters, megabytes, input, red pixel, milliseconds (median of three), spread (largest minus smallest, in milliseconds).
    Raises CourseError with the reason when a process fails.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import pandas as pd

    of_library = [names for library in (KERAS, TRANSFORMERS) if (names := [name for name in families if name in library])]
    unknown = [name for name in families if name not in FAMILIES]
    with ThreadPoolExecutor(min(2, config.cores())) as pool:
        rows = [row for part in pool.map(_measure_apart, [*of_library, unknown] if unknown else of_library) for row in part]
    table = pd.DataFrame(rows).set_index("family").loc[list(families)]
    milliseconds = 1000 * np.array(table.pop("seconds").tolist())
    return table.assign(milliseconds=np.median(milliseconds, axis=1), spread=np.ptp(milliseconds, axis=1))


def _measure_apart(families: Sequence[str]) -> list[dict]:
    """`measure_one` of each family in a process of its own: Keras stays out of this one."""
    quiet = {"KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "CUDA_VISIBLE_DEVICES": ""}
    path = os.pathsep.join([str(config.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, **quiet, "PYTHONPATH": path, **dict.fromkeys(config.THREAD_VARIABLES, "1")}
    command = [sys.executable, "-m", "helpers.catalogue", *families]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CourseError(f"the architectures could not be measured ({reason}): run `python -m helpers doctor`")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(json.dumps([measure_one(name) for name in sys.argv[1:]]))
