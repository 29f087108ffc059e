"""Seed, threads, device, folders and the offline or full profile: what every notebook sets first."""
from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ("offline", "full")
# Every maths library has a thread pool of its own, and most read these only once, when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start(seed: int = 0, threads: int = 1) -> None:
    """Make the notebook reproducible: seeds, threads, and no network unless the profile is "full".

    seed: for Python, NumPy, PyTorch and, when it is loaded, TensorFlow. threads: CPU threads for each operation; one thread is
    fastest for the small nets of this course and makes a run repeatable (`threads()` raises it for a large backbone).
    Call it in the first cell, before importing torch. Raises ValueError when the profile or a number is not usable.
    """
    if profile() == "offline":
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    if threads < 1:
        raise ValueError(f"threads is {threads}: use 1 or more")
    os.environ.update({name: str(threads) for name in THREAD_VARIABLES}, OMP_WAIT_POLICY="PASSIVE")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import torch

    torch.set_num_threads(threads)
    seed_all(seed)
    print(f"seed {seed} · {device()} · {profile()} profile")


def seed_all(seed: int) -> None:
    """Seed Python, NumPy, PyTorch and, when it is loaded, TensorFlow. Raises ValueError for a negative seed."""
    if seed < 0:
        raise ValueError(f"seed is {seed}: use 0 or more")
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(seed)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use `count` CPU threads inside the block (a backbone gains from two, a small net does not)."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device() -> str:
    """The fastest device PyTorch can use: "cuda", "mps" or "cpu". `COURSE_DEVICE` overrides it."""
    import torch

    if chosen := os.environ.get("COURSE_DEVICE"):
        return chosen
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def cores() -> int:
    """CPU cores this process may use. `COURSE_CORES` lowers it, so that several notebooks can share a machine."""
    # A container or `taskset` may allow fewer cores than the machine has.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("COURSE_CORES", str(allowed))
    if not wanted.isdigit() or int(wanted) < 1:
        raise ValueError(f"COURSE_CORES is {wanted!r}: set it to a whole number from 1 to {allowed}")
    return min(int(wanted), allowed)


def profile() -> str:
    """ "offline" (the default: no download, a laptop's CPU) or "full" (hub models and public data sets), from `COURSE_PROFILE`."""
    chosen = os.environ.get("COURSE_PROFILE", "offline")
    if chosen not in PROFILES:
        raise ValueError(f"COURSE_PROFILE is {chosen!r}: set it to one of {', '.join(PROFILES)}")
    return chosen


def cache_dir() -> Path:
    """Where generated data and extracted features are kept: the user's cache folder, or `COURSE_CACHE`. Safe to delete."""
    import platformdirs

    folder = Path(os.environ.get("COURSE_CACHE") or platformdirs.user_cache_dir("transfer-learning-course", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def progress(items: Iterable, description: str = "", total: int | None = None) -> Iterable:
    """`items` with a progress bar that shows after a second and leaves nothing behind. `COURSE_PROGRESS=0` hides it."""
    from tqdm.auto import tqdm

    hidden = os.environ.get("COURSE_PROGRESS") == "0"
    return tqdm(items, desc=description, total=total, leave=False, delay=1, disable=hidden, file=sys.stdout)
