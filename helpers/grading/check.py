"""Grade the learner's own notebook in a fresh kernel and say, per exercise, what failed and what to look at."""
from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.utils import setenv

from helpers.errors import CourseError
from helpers.grading import progress
from helpers.grading.course import Course, Exercise, collected_log, grade_id, read_notebook
from helpers.grading.execute import GradingExecute
from helpers.grading.feedback import Result, results
from helpers.grading.restore import restore


def check(lesson: str, path: str | None = None, as_json: bool = False, root: Path | None = None) -> int:
    """Grade a lesson's exercises (the learner's own notebook, or the one at `path`) and show the result.

    Returns 0 at full marks, 1 when points were lost. Raises CourseError when the notebook cannot be graded: nothing is printed on
    standard output then, with `as_json` too. `as_json` prints one object and sends notes to standard error. The notebook is only
    read; the result is recorded when it is the learner's own.
    """
    course = Course(root)
    name = course.find(lesson)
    target = Path(path).resolve() if path else course.released(name)
    if not target.exists():
        hint = "check the path" if path else f"run `python -m helpers release {name}` to make it"
        raise CourseError(f"there is no notebook {target}: {hint}")
    # A library that prints while it loads must not spoil the JSON.
    with contextlib.redirect_stdout(sys.stderr):
        outcome, notes = grade(course, name, target)
    score, most = sum(item.score for item in outcome), sum(item.max_score for item in outcome)
    if as_json:
        print(*(f"note: {note}" for note in notes), sep="\n", file=sys.stderr, end="\n" if notes else "")
        print(json.dumps({"lesson": name, "score": score, "max_score": most, "exercises": [vars(item) for item in outcome]}))
    else:
        _show(name, course.exercises(name), outcome, notes)
    sys.stdout.flush()
    if target == course.released(name).resolve():
        progress.record(course.root, name, outcome)
    return 0 if score == most else 1


def grade(course: Course, name: str, path: Path) -> tuple[list[Result], list[str]]:
    """Results of the notebook at `path`, per exercise, and notes on cells that were put right. Raises CourseError."""
    exercises, nb, master = course.exercises(name), read_notebook(path), course.master(name)
    names = {grade_id(cell) for cell in nb.cells} - {None}
    if not names:
        raise CourseError(f"{path} has no exercises: give the exercise notebook of {name}, exercises_*.ipynb")
    if not names & {exercise.name for exercise in exercises}:
        raise CourseError(f"{path} does not hold the exercises of {name}: it is another lesson's, or an old release; "
                          f"for today's run `python -m helpers release {name}`, which keeps a dated copy of your answers")
    notes = restore(nb, master)
    return results(execute(course, nb, path.parent), exercises), notes


def execute(course: Course, nb: NotebookNode, folder: Path) -> NotebookNode:
    """Run a restored notebook in a fresh kernel that works in `folder`, with a progress bar on standard error."""
    from tqdm import tqdm

    with tqdm(desc="grading", total=len(nb.cells), unit="cell", leave=False, file=sys.stderr,
              disable=os.environ.get("COURSE_PROGRESS") == "0") as bar:
        def moved(done: int, _total: int) -> None:
            bar.n = done
            bar.refresh()

        runner = GradingExecute(config=course.settings(), on_progress=moved)
        # Timeouts and dead kernels are in the results, so the log is not shown.
        with setenv(NBGRADER_EXECUTION="autograde"), collected_log():
            return runner.preprocess(nb, {"metadata": {"path": str(folder)}})[0]


def _show(name: str, exercises: list[Exercise], outcome: list[Result], notes: list[str]) -> None:
    """Print a result for a person: a line per exercise, below it what failed, at the end the sum."""
    for note in notes:
        print(f"note: {note}")
    for exercise, item in zip(exercises, outcome, strict=True):
        mark = "ok  " if item.score == item.max_score else "    "
        print(f"{mark}{item.score:g}/{item.max_score:g}  {exercise.title}")
        for line in item.message.splitlines():
            print(f"          {line}")
    score, most = sum(item.score for item in outcome), sum(item.max_score for item in outcome)
    print(f"{name}: {score:g} of {most:g} points")
