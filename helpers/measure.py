"""Wall time and peak memory of a process together with the processes that it starts."""
from __future__ import annotations

import threading
import time

import psutil

INTERVAL = 0.1  # seconds between two looks: what is allocated and freed in between is missed


class Meter:
    """Measures a process from `start()` to `stop()`, in a thread of its own.

    Memory is the resident set (RSS) of the process plus what each of its descendants has for itself (USS). Adding up RSS would
    count the libraries that a parallel worker shares with its parent once for each worker, several hundred MB each with PyTorch.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_bytes = 0
        self._began = time.perf_counter()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, pid: int) -> Meter:
        """Begin to watch the memory of the process `pid`; the time counts from when the meter was made. Returns itself."""
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> Meter:
        """End the measurement and set `seconds` and `peak_bytes`; a second call changes nothing. Returns itself."""
        if not self._ended.is_set():
            self.seconds = time.perf_counter() - self._began
            self._ended.set()
            if self._thread:
                self._thread.join()
        return self

    def _watch(self, pid: int) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, memory(pid))
            if self._ended.wait(INTERVAL):
                return


def memory(pid: int) -> int:
    """Bytes of memory that the process and its descendants hold now; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        total, descendants = process.memory_info().rss, process.children(recursive=True)
    except psutil.Error:
        return 0
    for child in descendants:
        try:
            total += child.memory_full_info().uss
        except psutil.AccessDenied:  # macOS shows the USS of some processes to root only
            total += _resident(child)
        except psutil.Error:
            pass
    return total


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def in_words(seconds: float, peak_bytes: float) -> str:
    """Such as "41 s, 0.8 GB of memory"."""
    return f"{seconds:.0f} s, {peak_bytes / 1e9:.1f} GB of memory"
