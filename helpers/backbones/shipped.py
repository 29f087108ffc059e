"""Weights that come with the course: written with a record of how they were made, and verified before anything is read from them."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.errors import CourseError

if TYPE_CHECKING:
    import torch


def verified(path: Path, sha256: str, script: str) -> Path:
    """The path of a file in backbones/weights, after comparing its sha256 with the recorded one. script: in data_scripts, which made it.

    Raises CourseError when the file is missing or its hash differs.
    """
    if not path.is_file():
        raise CourseError(f"the weights {path.name} are missing: run `git checkout helpers/backbones/weights`")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise CourseError(
            f"{path.name} has sha256 {found[:8]}…, expected {sha256[:8]}…: it is damaged or was changed; "
            f"run `git checkout helpers/backbones/weights`, or make it anew with data_scripts/{script}"
        )
    return path


def part(path: Path, head: str) -> dict[str, torch.Tensor]:
    """One net of a file that holds several: the tensors whose names begin with `head`, without it. Stored halves come back as float32."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found = {name.removeprefix(head): file.get_tensor(name) for name in file.keys() if name.startswith(head)}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}


def store(path: Path, tensors: dict[str, torch.Tensor], record: dict) -> str:
    """Write the tensors to `path`, and beside them, as JSON, `record`, versions, licence and sha256. Returns a line about the file."""
    import numpy as np
    import torch
    from safetensors.torch import save

    data = save(tensors)
    record = record | {
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "licence": "CC0 1.0",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path.write_bytes(data)
    path.with_suffix(".json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return f"{path.name}, {len(data) / 1e6:.2f} MB, sha256 {record['sha256'][:8]}…"
