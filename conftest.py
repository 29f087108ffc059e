"""Every notebook that pytest runs: no network, a cache of its own, time and memory measured and limited.

nbval makes one test of each code cell; the hooks here work on the notebook as a whole.
"""
from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from helpers import config, measure

NO_NETWORK = config.ROOT / "tests" / "no_network"
# Generous: a slow machine that runs several notebooks at once passes, a notebook that got out of hand does not.
# COURSE_NOTEBOOK_SECONDS replaces both limits on time.
SECONDS = {"lessons": 480, "solutions": 120}
BYTES = 3e9
COST = "cost of the notebook"
LONGEST = ("test_exercise_answers.py", "test_grader.py")
own_cache = pytest.StashKey[str]()
costs: dict[str, tuple[float, int]] = {}  # notebook -> seconds, peak bytes; filled from reports, so that it works under xdist


def pytest_configure(config: pytest.Config) -> None:
    """No progress bars, and an empty cache for this session that all its processes share."""
    os.environ.setdefault("COURSE_PROGRESS", "0")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    if not os.environ.get("COURSE_CACHE"):
        config.stash[own_cache] = os.environ["COURSE_CACHE"] = tempfile.mkdtemp(prefix="course-cache-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules first: a worker takes whole modules, and none should be alone with a long one at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """As --dist loadscope, but the longest modules are dealt out lesson by lesson instead of whole."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByLesson(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope, lesson = super()._split_scope(nodeid), re.search(r"\[(\d\d_\w+)", nodeid)
            return f"{scope} {lesson[1]}" if lesson and scope.endswith(LONGEST) else scope

    return ByLesson(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(own_cache, None):
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("COURSE_CACHE", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Start a notebook's kernel without network and begin to measure it; skip a cell when one before it failed."""
    notebook = item.parent
    if not isinstance(item, IPyNbCell):
        return (yield)
    if failed := getattr(notebook, "failed_cell", None):
        pytest.skip(f"{failed} of this notebook failed, and a later cell may need it")
    if notebook.kernel is not None:
        return (yield)
    notebook.meter = measure.Meter()
    handle, log = tempfile.mkstemp(prefix="course-network-")
    os.close(handle)
    notebook.network_log = Path(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(NO_NETWORK), prepend=os.pathsep)
        patch.setenv("COURSE_NETWORK_LOG", str(notebook.network_log))
        if notebook.nb.metadata.get("course", {}).get("loopback"):
            patch.setenv("COURSE_LOOPBACK", "1")  # the lesson starts a server of its own on this machine
        result = yield
    notebook.meter.start(notebook.kernel.km.provisioner.pid)
    notebook.kernel.await_reply = partial(await_reply, notebook.kernel, notebook.kernel.await_reply)
    return result


def await_reply(kernel: RunningKernel, wait: Callable, msg_id: str, timeout: float | None = None) -> object:
    """nbval's wait for the end of a cell; left alone it would not notice that the kernel died until the cell's time is over."""
    deadline = time.monotonic() + (timeout or float("inf"))
    while True:
        try:
            return wait(msg_id, timeout=max(0.1, min(2.0, deadline - time.monotonic())))
        except Empty:
            if not kernel.is_alive():
                pytest.fail("the kernel died while it ran this cell (out of memory?)", pytrace=False)
            if time.monotonic() >= deadline:
                raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if isinstance(item, IPyNbCell) and report.failed and call.when != "teardown":
        item.parent.failed_cell = item.name
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the last cell of a notebook: note its cost, and fail when it is too high or the notebook tried to use the network."""
    notebook = item.parent
    last = isinstance(item, IPyNbCell) and (nextitem is None or nextitem.parent is not notebook) and hasattr(notebook, "meter")
    if not last:
        return (yield)
    meter = notebook.meter.stop()
    item.user_properties.append((COST, (name_of(notebook), meter.seconds, meter.peak_bytes)))
    result = yield
    attempts = notebook.network_log.read_text(encoding="utf-8").splitlines()
    notebook.network_log.unlink()
    if attempts:
        pytest.fail(f"{name_of(notebook)} tried to use the network:\n" + "\n".join(attempts[:5]), pytrace=False)
    if remark := too_much(notebook.path, meter.seconds, meter.peak_bytes):
        pytest.fail(f"{name_of(notebook)} {remark}", pytrace=False)
    return result


def name_of(notebook: IPyNbFile) -> str:
    return notebook.nodeid or notebook.path.name


def too_much(path: Path, seconds: float, peak_bytes: float) -> str | None:
    """What is over the limits for a notebook in lessons/ or solutions/, or None."""
    limit = float(os.environ.get("COURSE_NOTEBOOK_SECONDS") or SECONDS["solutions" if "solutions" in path.parts else "lessons"])
    if seconds > limit:
        return f"took {seconds:.0f} s, more than {limit:.0f} s: make it do less (or set COURSE_NOTEBOOK_SECONDS on a busy machine)"
    if peak_bytes > BYTES:
        return f"took {peak_bytes / 1e9:.1f} GB of memory, more than {BYTES / 1e9:g} GB: free what it no longer needs"
    return None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for key, value in report.user_properties:
        if key == COST:
            costs[value[0]] = (value[1], value[2])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table of what each notebook took."""
    if not costs:
        return
    terminalreporter.section("time and peak memory of the notebooks")
    width = max(map(len, costs))
    for name, (seconds, peak_bytes) in sorted(costs.items()):
        terminalreporter.write_line(f"{name:<{width}}  {seconds:6.1f} s  {peak_bytes / 1e9:5.2f} GB")
