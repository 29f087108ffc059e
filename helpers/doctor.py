"""`python3 -m helpers doctor`: what this machine and this environment have, what is missing, and what to do about it.

Works before the set-up too; then it can say less. Opens no network connection.
"""
from __future__ import annotations

import contextlib
import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from helpers import config, environment, installer
from helpers.errors import CourseError

Check = tuple[str, Callable[[], str]]


def report(ready: bool | None = None) -> int:
    """Print one line for each check; returns 0 when all is well and 1 when something is missing.

    ready: whether this interpreter is set up; None looks at the stamp.
    """
    ready = environment.is_set_up(Path(sys.prefix)) if ready is None else ready
    checks = [*machine(), ("set-up", lambda: set_up(ready))]
    if ready:
        checks += [*settings(), ("packages", packages), *models(), *data(), *notebooks()]
    problems = 0
    for name, check in checks:
        try:
            state, found = "ok", check()
        except (CourseError, ValueError) as error:
            state, found = "MISSING", str(error)
        except Exception as error:  # a broken package must not end the report that is to find it
            state, found = "MISSING", f"{type(error).__name__}: {error}; repair with `{repair()}`"
        problems += state != "ok"
        print(f"{state:<8}{name:<28} {found}", flush=True)
    print(f"\n{problems} missing: the lines above say what to do" if problems else "\nall is well")
    return 1 if problems else 0


def machine() -> Iterator[Check]:
    """What the standard library can see."""
    yield "Python", lambda: f"{platform.python_version()} in {sys.prefix}"
    yield "system", lambda: f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "cores", lambda: f"{config.cores()} (COURSE_CORES lowers it)"
    yield "disk", disk


def disk() -> str:
    """Free space at the course's folder. Raises CourseError when it is too little to work with."""
    free = shutil.disk_usage(config.ROOT).free / 1e9
    if free < installer.UPDATE_GB:
        raise CourseError(f"{free:.1f} GB free: the lessons need about {installer.UPDATE_GB:g} GB, so free some space")
    return f"{free:.0f} GB free"


def set_up(ready: bool) -> str:
    """That the set-up is complete. Raises CourseError when it is not, or when there is no space for it."""
    if ready:
        return f"complete, in {sys.prefix}"
    folder = Path(sys.prefix) if environment.inside() else environment.active() or config.ROOT / ".venv"
    installer.need_space(folder)
    raise CourseError(f"not set up yet: run `python3 -m helpers start`, which installs the packages into {folder}")


def settings() -> Iterator[Check]:
    """What is set up and can be set."""
    yield "memory", memory
    yield "profile", lambda: f"{config.profile()} (COURSE_PROFILE=full allows downloads)"
    yield "device", lambda: f"{config.device()} (COURSE_DEVICE overrides it)"
    yield "cache", cache


def memory() -> str:
    """Memory of the machine. Raises CourseError below 4 GB, as a notebook may take 3."""
    import psutil

    found = psutil.virtual_memory()
    text = f"{found.total / 1e9:.1f} GB, {found.available / 1e9:.1f} GB available"
    if found.total < 4e9:
        raise CourseError(f"{text}: a notebook may take 3 GB, so close other programs, or use a machine with more memory")
    return text


def cache() -> str:
    """The folder of generated data and features. Raises CourseError when it cannot be written."""
    try:
        folder = config.cache_dir()
    except OSError as error:
        raise CourseError(f"the cache cannot be made ({error}): set COURSE_CACHE to a folder of your own") from None
    if not os.access(folder, os.W_OK):
        raise CourseError(f"{folder} is not writable: set COURSE_CACHE to a folder of your own")
    return f"{folder} (safe to delete)"


def repair() -> str:
    """The command that installs again what requirements.txt names."""
    return f"{Path(sys.executable).name} -m pip install -r requirements.txt"


def wanted() -> dict[str, str]:
    """Package name -> exact version, from requirements.txt, without what is not made for this system."""
    text = (config.ROOT / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^([\w.-]+)==([^\s;]+)(.*)", text, re.MULTILINE)
    return {name: version for name, version, condition in pinned if not (condition and sys.platform == "win32")}


def packages() -> str:
    """The versions of the main packages. Raises CourseError naming every package that is missing or another version."""
    names = wanted()
    wrong = []
    for name, version in names.items():
        found = None
        with contextlib.suppress(metadata.PackageNotFoundError):
            found = metadata.version(name)
        # What follows "+" names the build of the same version, such as "+cpu".
        if found is None or found.partition("+")[0] != version:
            wrong.append(f"{name} {version} ({'missing' if found is None else f'here: {found}'})")
    if wrong:
        raise CourseError(f"{', '.join(wrong)}: run `{repair()}` in {config.ROOT}")
    main = ("torch", "tensorflow", "transformers", "jupyterlab", "nbgrader")
    return f"{len(names)} as wanted, such as {', '.join(f'{name} {metadata.version(name)}' for name in main if name in names)}"


def models() -> Iterator[Check]:
    """Every weights file, compared with its hash."""
    yield "weights efficientnet_lite0", lambda: f"verified: {_module('backbones.efficientnet_lite0').verify().name}"
    yield "weights minilm", lambda: f"verified: {_module('backbones.minilm').verify().parent.name}"
    try:
        sources = _module("backbones.small_cnn").SOURCES
    except Exception as error:
        message = f"{error}; repair with `{repair()}`"
        yield "weights small_cnn", lambda: _fail(message)
        return
    for source in sources:
        yield f"weights {source}", lambda source=source: f"verified: {_module('backbones.small_cnn').verify(source).name}"
    yield "weights vicreg", vicreg
    for name, module in (("translators", "seq2seq"), ("upscalers", "super_resolution"), ("gan", "generative")):
        yield f"weights {name}", lambda module=module: f"verified: {_module(module).verify().name}"


def vicreg() -> str:
    """One line about the nets trained without labels. Raises CourseError."""
    module = _module("selfsupervised")
    nets = [module.load_net(name) for name in module.provenance()["nets"]]
    return f"verified: {len(nets)} nets"


def data() -> Iterator[Check]:
    """Every data set, compared with what it should be."""
    for name in ("digits", "glyphs", "photos", "faces", "docstrings", "logs", "number_words", "spoken_digits"):
        yield f"data {name}", lambda name=name: _module(f"data.{name}").verify()


def notebooks() -> Iterator[Check]:
    """Every lesson with its exercises."""
    names = {path.stem for path in (config.ROOT / "lessons").glob("[0-9][0-9]_*.ipynb")}
    names |= {path.parent.name for path in (config.ROOT / "solutions").glob("*/exercises_*.ipynb")}
    if not names:
        yield "lessons", lambda: _fail(f"there is no notebook in {config.ROOT / 'lessons'}: clone the course again")
    for name in sorted(names):
        yield f"lesson {name}", lambda name=name: lesson(name)


def lesson(name: str) -> str:
    """That the notebook of a lesson and its released exercises are there. Raises CourseError."""
    number = name.split("_")[0]
    release = config.ROOT / "lessons" / "exercises" / name / f"exercises_{number}.ipynb"
    if not (config.ROOT / "lessons" / f"{name}.ipynb").is_file():
        raise CourseError(f"lessons/{name}.ipynb is missing: `git checkout lessons` brings it back")
    if not (config.ROOT / "solutions" / name / f"exercises_{number}.ipynb").is_file():
        return "notebook (no exercises)"
    if not release.is_file():
        raise CourseError(f"lessons/exercises/{name} is missing: run `python3 -m helpers release {number}`")
    return "notebook and exercises"


def _module(name: str):
    """A module of the course; not at the top of this file, because it needs packages that may not be installed."""
    return importlib.import_module(f"helpers.{name}")


def _fail(message: str) -> str:
    raise CourseError(message)
