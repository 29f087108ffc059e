"""Where downloads lie, and how a folder of them proves that it is whole.

A place holds a folder for each item, and beside it NAME.lock.json: the version, and the size and sha256 of every file. The lock is
written last. What it names is compared with it before each use, so a damaged, half-written or exchanged file is never loaded; and since
it travels with the folder, everybody in a classroom uses the same version.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from helpers import config
from helpers.downloads import registry
from helpers.errors import CourseError

PARTIAL = ".partial"  # the folder of what has not arrived whole


class Locked(NamedTuple):
    """What a lock says. revision: the commit of a model, "" of files. files: {name: (bytes, sha256)}."""

    revision: str
    files: dict[str, tuple[int, str]]


def own() -> Path:
    """The place that lessons download into: in the user's cache folder (`COURSE_CACHE` moves it)."""
    return config.cache_dir() / "downloads"


def places() -> tuple[Path, ...]:
    """Where to look, in order: the classroom's folder, if `COURSE_DOWNLOADS` names one (it is only read), and `own`.

    Raises CourseError when the classroom's folder is not there.
    """
    shared = os.environ.get("COURSE_DOWNLOADS")
    if shared and not Path(shared).expanduser().is_dir():
        raise CourseError(f"COURSE_DOWNLOADS names {shared}, which is no folder: connect the drive, correct the path, or unset it")
    return (Path(shared).expanduser(), own()) if shared else (own(),)


def digest(path: Path, kind: str = "sha256") -> str:
    """The hash of a file as hexadecimal digits. kind: "sha256", "md5", or "git" (of the file as git stores it, which hubs state for
    small files)."""
    found = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        found.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, modified: int, changed: int) -> str:
    return digest(path)


def sha256(path: Path) -> str:
    """The sha256 of a file, computed anew when the file has changed since."""
    about = path.stat()
    return _sha256(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def lock_path(place: Path, name: str) -> Path:
    """Of the lock of an item in a place."""
    return place / f"{name}.lock.json"


def read_lock(place: Path, name: str) -> Locked | None:
    """What the lock of an item says; None when there is none, or it cannot be read: then the item is not there."""
    try:
        found = json.loads(lock_path(place, name).read_text(encoding="utf-8"))
        return Locked(str(found["revision"]), {file: (int(size), str(sha256)) for file, (size, sha256) in found["files"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_lock(place: Path, name: str, locked: Locked) -> None:
    """Replace the lock of an item, in one step."""
    path = lock_path(place, name)
    new = place / PARTIAL / path.name
    new.write_text(json.dumps({"of": registry.title(name), **locked._asdict()}, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


def outdated(name: str, locked: Locked) -> bool:
    """Whether the registry names another version, or other hashes, than the lock."""
    entry = registry.item(name)
    if isinstance(entry, registry.Files):
        fixed = {file.name: file.digest.removeprefix("sha256:") for file in entry.files}
        same = all(known.startswith("md5:") or locked.files[file][1] == known for file, known in fixed.items() if file in locked.files)
        return set(fixed) != set(locked.files) or not same
    if entry.revision != "main" and entry.revision != locked.revision:
        return True
    return bool(entry.sha256) and entry.sha256 not in {sha256 for _, sha256 in locked.files.values()}


def damaged(place: Path, name: str, locked: Locked) -> list[str]:
    """The files of an item that are missing or differ from its lock."""
    wrong = []
    for file, (size, known) in locked.files.items():
        path = place / name / file
        try:
            if path.stat().st_size != size or sha256(path) != known:
                wrong.append(file)
        except OSError:
            wrong.append(file)
    return wrong


def whole(place: Path, name: str) -> bool:
    """Whether a place holds the item as the registry wants it, every file compared with its hash."""
    locked = read_lock(place, name)
    return locked is not None and not outdated(name, locked) and not damaged(place, name, locked)


def sweep(place: Path) -> int:
    """Remove what killed downloads have left of items that are whole or unknown by now; returns the bytes freed."""
    freed = 0
    for folder in sorted((place / PARTIAL).glob("*/")):
        if folder.name not in registry.names() or whole(place, folder.name):
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return freed
