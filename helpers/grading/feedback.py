"""Scores and messages of an executed exercise notebook: nbgrader's scores, and sentences instead of tracebacks."""
from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from nbformat import NotebookNode
from nbgrader.utils import determine_grade

from helpers.grading.course import STUB, Exercise, grade_id
from helpers.grading.execute import NOT_RUN
from helpers.grading.harmless import clean

LINES, WIDTH = 12, 160
NOT_ANSWERED = "not answered yet"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Result:
    """Points of one exercise, and what failed ("" at full marks)."""

    name: str
    score: float
    max_score: float
    message: str


def results(nb: NotebookNode, exercises: list[Exercise]) -> list[Result]:
    """One result per exercise of a notebook that was restored and executed."""
    cells = {grade_id(cell): cell for cell in nb.cells if grade_id(cell)}
    return [_result(exercise, cells) for exercise in exercises]


def _result(exercise: Exercise, cells: dict[str, NotebookNode]) -> Result:
    score, messages = 0.0, []
    for name in exercise.tests:
        points, most = determine_grade(cells[name])
        score += points
        if points < most:
            messages.append(explain(cells[name], cells.get(exercise.name), exercise.name))
    return Result(exercise.name, score, exercise.max_score, clip("\n".join(dict.fromkeys(messages))))


def explain(test: NotebookNode, answer: NotebookNode | None, name: str) -> str:
    """Why a test cell did not give full marks, in a sentence or a few lines; `answer` is the cell it tests, None when missing."""
    if answer is None:
        return f"the answer cell `{name}` is missing from the notebook"
    error, cause = _last_error(test), _last_error(answer)
    if error is not None and error.ename == NOT_RUN:
        return error.evalue
    if cause is not None and not (error is not None and error.ename == "AssertionError"):
        error, where = cause, f"your cell `{name}` stops with "
    else:
        where = ""
    if error is None:
        printed = "".join(out.text for out in test.outputs if out.output_type == "stream").strip()
        return printed or f"partly right: look at what `{grade_id(test)}` tests"
    if error.ename == "NotImplementedError" and STUB in error.evalue:
        return NOT_ANSWERED
    text = ANSI.sub("", error.evalue).strip()
    if error.ename == "CellTimeoutError":
        return f"{f'your cell `{name}`' if where else 'the test'} was stopped because it took too long: is there an endless loop?"
    if error.ename == "AssertionError" and not where:
        return text or f"a test in `{grade_id(test)}` failed"
    if error.ename == "SyntaxError" or error.ename == "IndentationError":
        text = re.sub(r"\(\S+, line (\d+)\)", r"(line \1)", text)
        return f"{where}{error.ename}: {text}"
    line = _line_in(error, answer)
    what = f"{error.ename}: {text}" if text else error.ename
    return f"{where}{what}" + (f" (line {line} of your cell `{name}`)" if line else "")


def _last_error(cell: NotebookNode) -> NotebookNode | None:
    return next((out for out in reversed(cell.get("outputs", [])) if out.output_type == "error"), None)


def _line_in(error: NotebookNode, cell: NotebookNode) -> str:
    """The deepest line of `cell` in the traceback of an error, "" when the error did not pass through it."""
    frames = re.findall(rf"In\[{cell.execution_count}\], line (\d+)", ANSI.sub("", "\n".join(error.traceback)))
    return frames[-1] if frames else ""


def clip(text: str) -> str:
    """At most `LINES` lines of at most `WIDTH` characters, with "…" where something was left out; cleaned."""
    lines = [piece for line in clean(text).splitlines() for piece in textwrap.wrap(line, WIDTH) or [""]]
    return "\n".join(lines if len(lines) <= LINES else [*lines[:LINES - 1], "…"])
