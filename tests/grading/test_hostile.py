"""Every hostile or broken submission of the corpus ends as it must, leaks nothing, and leaves the submission beside it alone.

The corpus is safe to run: loops and allocations in it end by themselves, its only network target is a listener of this test on the
loopback, and a case whose protection this machine lacks is not run.
"""
import contextlib
import os
import re
import shutil
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent / "hostile"))
import files  # noqa: E402
import forgeries  # noqa: E402
import processes  # noqa: E402
import spying  # noqa: E402
from case import FULL  # noqa: E402
from toy_course import SOLVED, answer, find, source_path  # noqa: E402

from helpers.errors import CourseError  # noqa: E402
from helpers.grading import grader, sandbox  # noqa: E402
from helpers.grading.course import Course  # noqa: E402
from helpers.grading.outcome import GRADED, REJECTED, Submission  # noqa: E402

CANARY = "CANARY-"
LIMITS = sandbox.Limits(cell_seconds=5, total_seconds=60, cpu_seconds=60, memory_mb=900, disk_mb=60, processes=60)
CORPUS = {f"{module.__name__}: {case.name}": case for module in (files, processes, forgeries, spying) for case in module.CASES}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes inherit sockets by number")


# What a machine may have besides root and namespaces, with a few cases that show that it protects as it says. The whole corpus runs
# with what this machine really has.
MODES = {"a user namespace": ["own user"], "bubblewrap": ["own user"], "no box": list(sandbox.PROTECTIONS[:-1])}
A_FEW = (
    "os._exit in an answer", "endless loop in an answer", "a daemon that wants to stay", "a huge file", "patches AssertionError",
    "a table of the visible answers", "walks through all files", "connects to the host's loopback", "becomes root again",
)  # fmt: skip


def pretend(mode: str, patch: pytest.MonkeyPatch) -> None:
    """Take away what machines with only `mode` lack."""
    if mode == "a user namespace":
        patch.setattr(grader, "is_root", lambda: False)
    else:
        patch.setattr(grader.warm, "WarmParent", lambda modules: (_ for _ in ()).throw(OSError("no namespaces")))
    if mode == "no box":
        patch.setattr(sandbox, "bubblewrap", lambda limits, folders: [])


class World:
    """A course with a canary in every secret file, a listener on the loopback, and a grader."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._plant()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.1)
        self.port = self.listener.getsockname()[1]
        self.abstract = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            self.abstract.bind(f"\0course-{self.port}")
            self.abstract.listen()
        os.environ["COURSE_SECRET"] = f"{CANARY}environment"
        # Some cases use torch, which the exercises of the toy course do not.
        about = replace(grader.materials(Course(root), "01_toy", f"{CANARY}seed", LIMITS), modules=("torch",))
        self.grader = grader.Grader(about)

    def _plant(self) -> None:
        """Canaries in the solution, the hidden test, the gradebook, the list of students and another submission."""
        nb = nbformat.read(source_path(self.root), as_version=4)
        solution = find(nb, "mean")
        solution.source = solution.source.replace("### BEGIN SOLUTION", f"### BEGIN SOLUTION\n    # {CANARY}solution")
        test = find(nb, "test_mean")
        more = f"### BEGIN HIDDEN TESTS\nassert mean([5]) == 5, 'one number'  # {CANARY}hidden"
        test.source = test.source.replace("### BEGIN HIDDEN TESTS", more)
        nbformat.write(nb, source_path(self.root))
        classroom = self.root / "classroom"
        places = {"gradebook.db": "gradebook", "students.csv": "students", "submitted/bob/01_toy/exercises_01.ipynb": "bob"}
        for place, text in places.items():
            (classroom / place).parent.mkdir(parents=True, exist_ok=True)
            (classroom / place).write_text(CANARY + text)

    def submission(self, case) -> Submission:
        answers = {name: text.replace("{root}", str(self.root)).replace("{port}", str(self.port)) for name, text in case.answers.items()}
        target = self.root / "case.ipynb"
        nb = answer(self.root, SOLVED | answers, target)
        if case.change:
            case.change(nb)
        content = nbformat.writes(nb).encode()
        return Submission("mallory", "mallory.ipynb", case.content(content) if case.content else content)

    def neighbour(self) -> Submission:
        nb = answer(self.root, SOLVED, self.root / "neighbour.ipynb")
        return Submission("alice", "alice.ipynb", nbformat.writes(nb).encode())

    def was_reached(self) -> bool:
        with contextlib.suppress(TimeoutError):
            self.listener.accept()[0].close()
            return True
        return False

    def close(self) -> None:
        self.grader.close()
        self.listener.close()
        self.abstract.close()
        os.environ.pop("COURSE_SECRET", None)


@pytest.fixture(scope="module")
def world(pristine, tmp_path_factory):
    world = World(shutil.copytree(pristine, tmp_path_factory.mktemp("hostile") / "course"))
    yield world
    world.close()


def test_there_are_at_least_sixty_cases():
    assert len(CORPUS) >= 60 and len(CORPUS) == sum(len(module.CASES) for module in (files, processes, forgeries, spying))


@pytest.mark.parametrize("name", CORPUS)
def test_a_case_ends_as_it_must(world, name):
    end_as_it_must(world, CORPUS[name])


@pytest.mark.parametrize("mode", MODES)
def test_other_boxes_say_what_they_lack_and_hold_what_they_promise(mode, pristine, tmp_path, monkeypatch):
    if mode == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    pretend(mode, monkeypatch)
    world = World(shutil.copytree(pristine, tmp_path / "course"))
    try:
        assert set(MODES[mode]) <= set(world.grader.missing) <= {*MODES[mode], "memory limit (cgroup)"}
        cases = [case for case in CORPUS.values() if case.name in A_FEW and not set(case.needs) & set(world.grader.missing)]
        assert len(cases) >= 4
        for case in cases:
            end_as_it_must(world, case)
        with pytest.raises(CourseError, match="the sandbox is not complete on this machine .missing: own .*--require-sandbox"):
            grader.Grader(replace(world.grader.about, require_sandbox=True))
    finally:
        world.close()


def end_as_it_must(world, case):
    """Grade the case beside an honest neighbour; compare how both end, and look for leaks and leftovers."""
    if lacking := set(case.needs) & set(world.grader.missing):
        pytest.skip(f"not run without {', '.join(lacking)}")
    submission, found = world.submission(case), {}
    honest = threading.Thread(target=lambda: found.update(neighbour=world.grader.grade(world.neighbour())))
    before = set(psutil.pids())
    honest.start()
    outcome = world.grader.grade(submission)
    honest.join()
    told = [outcome.reason, *outcome.notes, *(cell.message for cell in outcome.cells)]
    assert outcome.status == case.status, told
    if case.status == REJECTED or case.score is not None:
        assert outcome.score() == case.score, told
    assert re.search(case.message, "\n".join(told)), told
    for never in (CANARY, "CONNECTED", "FOUND THE PARENT"):
        assert never not in told_to_learner(outcome)
    assert not world.was_reached()
    assert found["neighbour"].status == GRADED and found["neighbour"].score() == FULL, found["neighbour"]
    assert not psutil.wait_procs([p for p in new_processes(before) if is_learners(p)], timeout=5)[1], "something survived"


def told_to_learner(outcome) -> str:
    """All that a learner could see: messages, and the notebook without the test cells, which only the instructor sees in full."""
    if not outcome.notebook:
        return outcome.reason
    nb = nbformat.reads(outcome.notebook, as_version=4)
    cells = [cell for cell in nb.cells if not cell.metadata.get("nbgrader", {}).get("grade")]
    return str([cell.get("outputs") for cell in cells]) + str([outcome.reason, outcome.notes, outcome.cells])


def new_processes(before: set[int]) -> list[psutil.Process]:
    found = []
    for number in set(psutil.pids()) - before:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(number))
    return found


def is_learners(process: psutil.Process) -> bool:
    """A learner's process, of this test or orphaned; other tests that grade at the same time have some too."""
    with contextlib.suppress(psutil.Error):
        above = [parent.pid for parent in process.parents()]
        ours = os.getpid() in above or process.ppid() in (0, 1)
        return ours and process.uids().real in sandbox.USERS and process.status() != psutil.STATUS_ZOMBIE
    return False
