"""Grade one submission: a box for the learner's process, a trusted process for the tests, and an outcome whatever happens."""
from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import determine_grade, is_grade, is_solution

from helpers import config
from helpers.errors import CourseError
from helpers.grading import cold, sandbox, warm
from helpers.grading.course import Course, Exercise, grade_id, parse_notebook
from helpers.grading.execute import NOT_RUN, settle
from helpers.grading.feedback import clip, explain
from helpers.grading.outcome import GRADED, PARTLY, CellResult, Outcome, Submission, rejected
from helpers.grading.restore import restore
from helpers.grading.wire import Channel, WireError

MAX_NOTEBOOK = 20 * 2**20
START_SECONDS = 120  # importing the frameworks after a start of the machine
_numbers = itertools.count(os.getpid())


@dataclass(frozen=True)
class Materials:
    """What grading a lesson needs, as plain data that can travel to another machine. Secret: it holds the hidden tests.

    names: what the answer cells define. modules: what the exercises import. secret: where hidden inputs come from.
    """

    lesson: str
    exercises: tuple[Exercise, ...]
    master: str
    names: tuple[str, ...]
    modules: tuple[str, ...]
    secret: str
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)
    require_sandbox: bool = False


def materials(course: Course, lesson: str, secret: str, limits: sandbox.Limits, require_sandbox: bool = False) -> Materials:
    """Read a lesson's solution notebook. Raises CourseError when it is not in order."""
    exercises, source = course.exercises(lesson), course.master(lesson)
    solved = nbformat.read(course.source(lesson), as_version=4)
    names, modules = [], []
    for cell in solved.cells:
        if cell.cell_type == "code" and grade_id(cell):
            tree = ast.parse(cell.source)
            if is_solution(cell):
                names += defined_names(tree)
            modules += imported(tree)
    return Materials(lesson, tuple(exercises), nbformat.writes(source), tuple(dict.fromkeys(names)), tuple(dict.fromkeys(modules)), secret,
                     limits, require_sandbox)


def defined_names(tree: ast.Module) -> list[str]:
    """Functions, classes and variables that a cell defines at its top level."""
    names = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return names


def imported(tree: ast.Module) -> list[str]:
    """The modules that a cell imports, at any depth."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


class Grader:
    """Grades submissions of one lesson, one at a time; keeps a warm parent process and what it found out about the sandbox."""

    def __init__(self, about: Materials) -> None:
        """Find out which protections there are. Raises CourseError when `about` requires the sandbox and it cannot be had."""
        self.about = about
        self.master = nbformat.reads(about.master, as_version=4)
        self.parent: warm.WarmParent | None = None
        self.prefix: list[str] = []  # of the command that starts a cold process
        self.lock = threading.Lock()
        self.own = threading.local()  # .branch: the process that forks for this thread
        self.branches: list[warm.Forks] = []
        self.missing = self._protections()
        if about.require_sandbox and self.missing:
            raise CourseError(f"the sandbox is not complete on this machine (missing: {', '.join(self.missing)}): grade on Linux as root, "
                              "or install bubblewrap, or leave --require-sandbox out")

    def close(self) -> None:
        """End the warm parent and its branches, if there are any."""
        for branch in self.branches:
            branch.close()
        self.branches = []
        if self.parent is not None:
            self.parent.close()
            self.parent = None

    def revive(self) -> None:
        """Start another warm parent if this one is gone (several threads may notice at once)."""
        self.own.branch = None
        with self.lock:
            if self.parent is not None and self.parent.process.poll() is not None:
                self.parent.close()
                self.parent = warm.WarmParent(list(self.about.modules))

    def forks(self) -> warm.Forks | None:
        """The process that forks for this thread, None where processes start cold. Raises EOFError when the warm parent is gone."""
        if self.parent is None:
            return None
        if getattr(self.own, "branch", None) is None:
            self.own.branch = self.parent.branch()
            self.branches.append(self.own.branch)
        return self.own.branch

    def grade(self, submission: Submission) -> Outcome:
        """Grade one submission; returns an outcome whatever the notebook does.

        Raises EOFError when the warm parent is gone, OSError when no box could be built or the disk is full: try again (`revive` first).
        """
        began = time.monotonic()
        try:
            nb, notes = self.read(submission)
        except CourseError as error:
            return replace_seconds(rejected(submission, self.about.lesson, str(error)), began, self.missing)
        run = Run(self, nb, submission.digest())
        try:
            run.perform()
        except CourseError as error:
            return replace_seconds(rejected(submission, self.about.lesson, str(error)), began, self.missing)
        status, reason = (PARTLY, f"stopped at {run.stopped_at}: {run.reason}") if run.reason else (GRADED, "")
        outcome = Outcome(
            submission.student, self.about.lesson, submission.origin, submission.digest(), status, submission.submitted, reason,
            run.stopped_at, run.results(), notes + run.notes, nbformat.writes(nb),
            report=submission.report.decode("utf-8-sig", "backslashreplace"),
        )
        return replace_seconds(outcome, began, self.missing)

    def read(self, submission: Submission) -> tuple[NotebookNode, list[str]]:
        """The submission put in order, ready to run, and what was put right. Raises CourseError with the reason to reject it."""
        if submission.problem:
            raise CourseError(submission.problem)
        if len(submission.content) > MAX_NOTEBOOK:
            raise CourseError(f"the notebook has {len(submission.content) / 1e6:.0f} MB: clear its outputs and hand it in again")
        with self.lock:  # nbformat's warnings and log are caught in ways that are not made for threads
            nb = parse_notebook(submission.content, submission.origin, handed_in=True)
        names = {grade_id(cell) for cell in nb.cells} - {None}
        if not names:
            raise CourseError("the notebook has no exercises: hand in the exercise notebook of this lesson")
        answers = {exercise.name for exercise in self.about.exercises}
        if not names & ({grade_id(cell) for cell in self.master.cells} - {None, "setup"}):
            raise CourseError(f"the notebook does not hold the exercises of {self.about.lesson}: it is another lesson's or an old release")
        if not names & answers:
            raise CourseError("cells are missing: the notebook has not one of the answer cells of this lesson")
        return nb, restore(nb, self.master)

    def _protections(self) -> list[str]:
        """What cannot be had here. Tries, in this order: a warm process in a box, a cold one in bubblewrap, a cold one without a box."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError, EOFError):
                self.parent = warm.WarmParent(list(self.about.modules))
                with Box(self, seed=0, limits=self.about.limits) as box:
                    return box.missing()
            self.close()
            self.prefix = sandbox.bubblewrap(self.about.limits, sandbox.environment_folders())
            if self.prefix:
                with contextlib.suppress(OSError), Box(self, seed=0, limits=self.about.limits) as box:
                    return box.missing()
                self.prefix = []
        return [name for name in sandbox.PROTECTIONS if sys.platform == "win32" or name != "limit on CPU time"]


def is_root() -> bool:
    """Whether the grader may give learners' processes users of their own; else they get a user namespace."""
    return hasattr(os, "getuid") and os.getuid() == 0


def replace_seconds(outcome: Outcome, began: float, missing: list[str]) -> Outcome:
    """The outcome with the time that it took, and with what protected it."""
    return replace(outcome, seconds=round(time.monotonic() - began, 3), missing_protections=list(missing))


class Box:
    """A learner's process, warm and boxed where that is possible; ends with the `with` block whatever it has started.

    Entering raises EOFError when the warm parent is gone and OSError when the box cannot be built: neither is the learner's fault.
    """

    def __init__(self, grader: Grader, seed: int, limits: sandbox.Limits) -> None:
        self.grader, self.seed, self.limits = grader, seed, limits

    def __enter__(self) -> Box:
        self.folder = tempfile.mkdtemp(prefix="course-grading-")
        self.group = sandbox.Group(f"course-grading-{os.getpid()}-{next(_numbers)}", self.limits)
        self.sock, theirs = socket.socketpair()
        self.channel, self.process, self.child, self.forks = Channel(self.sock), 0, None, self.grader.forks()
        self.user = sandbox.USERS[next(_numbers) * 7 % len(sandbox.USERS)] if is_root() and self.forks is not None else None
        with theirs:
            self._start(theirs)
        try:
            ready, _ = self.channel.receive(START_SECONDS)
        except (EOFError, TimeoutError, WireError) as error:
            self.__exit__()
            raise OSError(f"a process for the learner's code could not be started ({type(error).__name__})") from None
        if "problem" in ready:
            self.__exit__()
            raise OSError(f"the sandbox cannot be built: {ready['problem']}")
        return self

    def _start(self, theirs: socket.socket) -> None:
        settings = {"limits": sandbox.as_settings(self.limits), "seed": self.seed}
        if self.forks is None:
            self.child = cold.start("student", settings, [theirs], self.grader.prefix, self.folder)
            self.group.add(self.child.pid)
            return
        request = settings | {"groups": [str(folder / "cgroup.procs") for folder in self.group.folders], "root": self.folder,
                              "user": self.user, "folders": sandbox.environment_folders()}
        self.process = self.forks.fork("student", request, [theirs])

    def missing(self) -> list[str]:
        """Which protections this box does not have."""
        found = [] if self.user is not None else ["own user"]
        return found + ([] if self.group.counts_memory else ["memory limit (cgroup)"])

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        if self.process:
            with contextlib.suppress(OSError, EOFError):
                self.forks.kill(self.process)
        if self.child is not None:
            with contextlib.suppress(OSError):
                self.child.kill() if sys.platform == "win32" else os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        self.group.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


class Run:
    """One run of a notebook in a box, and what came out."""

    def __init__(self, grader: Grader, nb: NotebookNode, digest: str) -> None:
        self.grader, self.about, self.nb, self.digest = grader, grader.about, nb, digest
        self.reason, self.stopped_at, self.notes = "", "", []
        self.kinds: list[str] = []  # of the cells, as the trusted process is told
        self.hidden: dict[str, str] = {}  # test cell -> what may be said about the hidden test that failed

    def perform(self) -> None:
        """Run every cell; fills in the outputs, `reason`, `stopped_at` and `hidden`. Raises CourseError when the course is at fault."""
        seed = int(self.digest[:8], 16)
        with Box(self.grader, seed, self.about.limits) as box:
            self._converse(box)
            if self.reason and box.group.ran_out_of_memory():
                self.reason = f"needed more than {self.about.limits.memory_mb} MB of memory"
        for cell in self.nb.cells:
            settle(cell)

    def job(self, folder: str) -> dict[str, Any]:
        """What the trusted process is told."""
        cells = []
        wanted = {grade_id(cell): cell for cell in self.grader.master.cells if grade_id(cell)}
        for number, cell in enumerate(self.nb.cells):
            name = grade_id(cell)
            kind = "text" if cell.cell_type != "code" or not cell.source.strip() else "learner"
            if kind == "learner" and name in wanted and not is_solution(wanted[name]):
                kind = "test" if is_grade(wanted[name]) else "locked"
            seconds = self.about.limits.cell_seconds * (2 if kind == "locked" else 1)
            cells.append({"source": cell.source, "name": name or f"cell {number + 1}", "kind": kind, "seconds": seconds})
        self.kinds = [cell["kind"] for cell in cells]
        secret = hashlib.sha256(f"{self.about.secret} {self.digest}".encode()).hexdigest()
        environment = {"COURSE_CACHE": str(config.cache_dir())}
        return {"cells": cells, "names": list(self.about.names), "cell_seconds": self.about.limits.cell_seconds, "secret": secret,
                "total_seconds": self.about.limits.total_seconds, "environment": environment, "folder": folder,
                "memory_mb": 2 * self.about.limits.memory_mb}

    def _converse(self, box: Box) -> None:
        """Start the trusted process, follow its reports, and give it up when it takes too long."""
        ours, theirs = socket.socketpair()
        report, process, child = Channel(ours), 0, None
        with ours, theirs, tempfile.TemporaryDirectory(prefix="course-checker-") as folder:
            if box.forks is not None:
                process = box.forks.fork("checker", {}, [theirs, box.sock])
            else:
                child = cold.start("checker", {}, [theirs, box.sock], [], folder)
            theirs.close()
            try:
                report.send(self.job(folder))
                self._follow(report)
            finally:
                if process:
                    with contextlib.suppress(OSError, EOFError):
                        box.forks.kill(process)
                if child is not None:
                    child.kill()
                    child.wait()

    def _follow(self, report: Channel) -> None:
        deadline = time.monotonic() + self.about.limits.total_seconds + START_SECONDS
        at = 0
        while True:
            try:
                event, _ = report.receive(max(0.01, deadline - time.monotonic()))
            except (EOFError, TimeoutError, WireError) as error:
                self._stop(at, "took too long in all" if isinstance(error, TimeoutError) else "broke the process that runs the tests")
                return
            if event.get("done"):
                return
            at = event.get("begins", event.get("cell"))
            if "cell" in event:
                self._record(at, event)

    def _record(self, index: int, event: dict[str, Any]) -> None:
        """Put what a cell gave into the notebook."""
        cell = self.nb.cells[index]
        if event.get("teacher"):
            raise CourseError(f"the course's own cell `{grade_id(cell)}` fails ({event['teacher'][:200]}): nothing can be graded "
                              "until that is mended")
        if cell.cell_type == "code":
            cell.outputs = valid_outputs(event["outputs"])
            cell.execution_count = event.get("count")
        if event.get("hidden"):
            self.hidden[grade_id(cell)] = event.get("shown") or "a hidden test failed"
        if event.get("stopped"):
            self._stop(index, event["stopped"])

    def _stop(self, index: int, reason: str) -> None:
        """Give up at this cell. Raises OSError when nothing of the learner's has run yet: then the machine is at fault."""
        cell = self.nb.cells[index]
        name = f"`{grade_id(cell)}`" if grade_id(cell) else f"cell {index + 1}"
        if "learner" not in self.kinds[: index + 1]:
            raise OSError(f"before any cell of the learner's, {name} {reason}")
        self.reason, self.stopped_at = reason, name.strip("`")
        message = f"not run: {name} {reason}; what ran before it was graded"
        for later in self.nb.cells[index:]:
            if later.cell_type == "code" and later.source.strip():
                later.outputs = [nbformat.v4.new_output("error", ename=NOT_RUN, evalue=message, traceback=[f"{NOT_RUN}: {message}"])]

    def results(self) -> list[CellResult]:
        """Points and messages of all test cells, in the order of the lesson."""
        cells, found = {grade_id(cell): cell for cell in self.nb.cells if grade_id(cell)}, []
        for exercise in self.about.exercises:
            for name in exercise.tests:
                score, most = determine_grade(cells[name])
                message = ""
                if score < most:
                    message = self.hidden.get(name) or explain(cells[name], cells.get(exercise.name), exercise.name)
                found.append(CellResult(name, float(score), float(most), clip(message), name in self.hidden))
        return found


def valid_outputs(outputs: list[Any]) -> list[NotebookNode]:
    """The outputs that are valid nbformat; a forged one is dropped."""
    found = []
    for output in outputs[:200] if isinstance(outputs, list) else []:
        with contextlib.suppress(Exception):
            node = nbformat.from_dict(output)
            nbformat.validate(node, ref="output", version=4)
            found.append(node)
    return found

