"""Weights that come with the course: written with a record of how they were made, and verified before anything is read from them."""
from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import config
from helpers.errors import CourseError

if TYPE_CHECKING:
    import torch


def record(path: Path) -> dict:
    """How the file at `path` was made, as `store` wrote it beside it."""
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


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


def net_of(path: Path, script: str, source: str, number: int) -> dict[str, torch.Tensor]:
    """The weights of one of several nets of each source, as `train_nets` named them.

    Raises ValueError for a source or number that there is not, CourseError as `verified`.
    """
    made = record(path)
    if source not in made["nets"]:
        raise ValueError(f"no net pretrained on {source!r}: choose one of {', '.join(made['nets'])}")
    count = len(made["nets"][source])
    if not 0 <= number < count:
        raise ValueError(f"number is {number}: there are {count} nets of {source}, choose 0 to {count - 1}")
    return part(verified(path, made["sha256"], script), f"{source}.{number}.")


def train_nets(
    pretrain: Callable[[str, int], tuple[dict[str, torch.Tensor], float]], counts: Mapping[str, int]
) -> tuple[dict[str, torch.Tensor], dict[str, list[float]]]:
    """Call `pretrain(source, seed)` for so many seeds of each source, one process a core.

    It returns a net's weights and its score. Returns all weights, named source.seed.weight, and the scores of each source.
    """
    import joblib

    wanted = [(source, seed) for source, count in counts.items() for seed in range(count)]
    made = joblib.Parallel(n_jobs=min(config.cores(), len(wanted)))(joblib.delayed(pretrain)(*net) for net in wanted)
    tensors, scores = {}, {source: [] for source in counts}
    for (source, seed), (weights, score) in zip(wanted, made, strict=True):
        tensors |= {f"{source}.{seed}.{name}": tensor.contiguous() for name, tensor in weights.items()}
        scores[source].append(score)
    return tensors, scores


def folder_command(about: str, path: Path) -> Path:
    """Read the command line of a script that makes weights: the path to write, in the folder of `path` or in --to FOLDER, which is made."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=path.parent, metavar="FOLDER", help="default: helpers/backbones/weights")
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    config.start(seed=0)
    return folder / path.name


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
