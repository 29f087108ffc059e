"""Run one exercise of a lesson in this process, with a given answer, and score it as `python -m helpers check` does.

A case runs the notebook's set-up and ordinary cells and the reference solutions of the exercises before it, in a namespace of
its own, then the answer, then the exercise's test cells, hidden tests included. The test cells of earlier exercises are left out:
no exercise may need them, since a learner may have failed them.
"""
from __future__ import annotations

import ast
import contextlib
import copy
import functools
import importlib.util
import io
import sys
import time
import traceback
import types
from dataclasses import dataclass
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import determine_grade, is_grade, is_solution
from threadpoolctl import threadpool_limits

from helpers.grading.course import Course, Exercise, grade_id, read_notebook
from helpers.grading.execute import settle
from helpers.grading.feedback import explain


@dataclass
class Outcome:
    """Score of one exercise; per test cell that lost points, the kind of its error ("" for partial credit) and its message."""

    score: float
    max_score: float
    failures: list[tuple[str, str]]
    test_seconds: float


class Lesson:
    """The exercises of a lesson with their reference solutions, stubs, wrong answers and alternative right answers."""

    def __init__(self, name: str, course: Course, answers: Path) -> None:
        self.name, self.course = name, course
        self.exercises = course.exercises(name)
        self.file = answers / f"lesson_{name.split('_')[0]}.py"
        self.wrong, self.right = _answers(self.file)

    def exercise(self, name: str) -> Exercise:
        return next(exercise for exercise in self.exercises if exercise.name == name)

    @functools.cached_property
    def source(self) -> NotebookNode:
        return read_notebook(self.course.source(self.name))

    @functools.cached_property
    def stubs(self) -> dict[str, str]:
        """The answer cells as they are released."""
        return {grade_id(cell): cell.source for cell in self.course.master(self.name).cells if is_solution(cell)}

    def run(self, name: str, answer: str | None = None, hidden: bool = True) -> Outcome:
        """Run exercise `name` with `answer` (None: the reference solution), with or without its hidden tests."""
        exercise, space = self.exercise(name), types.ModuleType("__main__").__dict__
        answer_cell, failures, score, seconds = None, [], 0.0, 0.0
        # In a learner's kernel the set-up cell does this for libraries that it loads; here they are loaded already.
        with contextlib.chdir(self.course.source(self.name).parent), _figures_closed(), threadpool_limits(1):
            for cell in self.source.cells:
                if cell.cell_type != "code" or is_grade(cell) and grade_id(cell) not in exercise.tests:
                    continue
                cell = copy.deepcopy(cell)
                if grade_id(cell) == name:
                    cell.source, answer_cell = cell.source if answer is None else answer, cell
                if not hidden:
                    cell.source = _without_hidden(cell.source)
                began = time.process_time()
                run_cell(cell, space)
                if is_grade(cell):
                    seconds += time.process_time() - began
                    settle(cell)
                    points, most = determine_grade(cell)
                    score += points
                    if points < most:
                        errors = [out.ename for out in cell.outputs if out.output_type == "error"]
                        failures.append((errors[-1] if errors else "", explain(cell, answer_cell, name)))
                    if grade_id(cell) == exercise.tests[-1]:
                        break
                elif cell is not answer_cell and any(out.output_type == "error" for out in cell.outputs):
                    raise RuntimeError(f"{self.name}: a set-up cell or an earlier solution fails:\n{cell.source}\n{cell.outputs}")
        return Outcome(score, exercise.max_score, failures, seconds)


def run_cell(cell: NotebookNode, space: dict) -> None:
    """Execute a cell in `space` and store its outputs as a kernel does: stdout, then an error or the last expression's value."""
    printed, outputs = io.StringIO(), []
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            value = _execute(TransformerManager().transform_cell(cell.source), space)
        if value is not None:
            # nbgrader gives full marks for any other value: np.float64(0.5), tensor(0.5), True.
            if is_grade(cell) and type(value) not in (int, float):
                raise TypeError(f"{grade_id(cell)} ends with {value!r:.40}: end it with float(...), or with a semicolon")
            outputs = [new_output("execute_result", {"text/plain": repr(value)}, execution_count=1)]
    except (Exception, SystemExit) as error:
        shown = traceback.format_exception(error)
        outputs = [new_output("error", ename=type(error).__name__, evalue=str(error), traceback=shown)]
    text = printed.getvalue()
    cell.outputs = ([new_output("stream", text=text)] if text else []) + outputs


def _execute(source: str, space: dict) -> object:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), space)
    # As in a notebook, a semicolon at the end hides the value.
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
    return None if source.rstrip().endswith(";") else value


def _without_hidden(source: str) -> str:
    kept, inside = [], False
    for line in source.splitlines():
        inside = inside or "BEGIN HIDDEN TESTS" in line
        if not inside:
            kept.append(line)
        inside = inside and "END HIDDEN TESTS" not in line
    return "\n".join(kept)


@contextlib.contextmanager
def _figures_closed():
    try:
        yield
    finally:
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def _answers(file: Path) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """WRONG and RIGHT of a file such as tests/exercises/lesson_01.py; both empty when there is no such file."""
    if not file.exists():
        return {}, {}
    spec = importlib.util.spec_from_file_location(f"answers_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG, module.RIGHT
