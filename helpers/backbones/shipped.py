"""Weights that come with the course: compared with their recorded hash before anything is read from them."""
from __future__ import annotations

import hashlib
from pathlib import Path

from helpers.errors import CourseError


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
