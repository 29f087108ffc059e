"""The exercises of the course: where their notebooks are, what they hold, and the form that grading starts from."""
from __future__ import annotations

import contextlib
import copy
import json
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader import preprocessors
from nbgrader.utils import is_grade, is_solution
from traitlets.config import Config, PyFileConfigLoader
from traitlets.log import get_logger

from helpers import config
from helpers.errors import CourseError

STUB = "Write your answer here, then run the tests below."
HEADING = re.compile(r"^#{2,4} +(?P<title>.*\S) +\((?P<points>\d+(?:\.\d+)?) points?\) *$", re.MULTILINE)
MAX_CELLS, MAX_OUTPUTS = 1000, 20_000  # of a notebook that is handed in
# What SaveCells records in nbgrader's gradebook: the learner's notebook with the hidden tests still in it.
MASTER_STEPS = ("LockCells", "ClearSolutions", "ClearOutput", "CheckCellMetadata", "ComputeChecksums")


@dataclass(frozen=True)
class Exercise:
    """One exercise: the grade_id of its answer cell, its title, its points, and the grade_ids of its test cells."""

    name: str
    title: str
    max_score: float
    tests: tuple[str, ...]


class Course:
    """The folder that holds solutions/, lessons/exercises/, classroom/ and nbgrader_config.py."""

    def __init__(self, root: Path | str | None = None, solutions: Path | str | None = None) -> None:
        """root: the course's folder (None: this repository). solutions: where the solution notebooks are, if not in root/solutions."""
        self.root = Path(root or config.ROOT).resolve()
        self.solutions = Path(solutions).resolve() if solutions else self.root / "solutions"

    def lessons(self) -> list[str]:
        """Names of the lessons that have exercises, such as "01_what_transfers", in order."""
        found = self.solutions.glob("*/exercises_*.ipynb")
        return sorted({path.parent.name for path in found if path.name == _file_name(path.parent.name)})

    def find(self, lesson: str) -> str:
        """The name of a lesson given as "1", "01" or "01_what_transfers". Raises CourseError when none or several match."""
        names = self.lessons()
        if lesson in names:
            return lesson
        matches = [name for name in names if lesson.isdecimal() and name.split("_")[0].isdecimal()
                   and int(name.split("_")[0]) == int(lesson)]
        if not names and self.solutions == self.root / "solutions" and (self.root / "lessons" / "exercises").is_dir():
            raise CourseError("this copy of the course has no solutions/, and with it no hidden tests: use the Validate button of the "
                              "notebook, and hand it in to your teacher (who grades with `--solutions FOLDER`)")
        if len(matches) != 1:
            raise CourseError(f"there are no exercises for a lesson {lesson!r}: choose one of {', '.join(names) or '(none yet)'}")
        return matches[0]

    def source(self, name: str) -> Path:
        """The notebook in solutions/ that everything about this lesson's exercises is made from."""
        return self.solutions / name / _file_name(name)

    def released(self, name: str) -> Path:
        """The notebook in lessons/exercises/ that the learner works in."""
        return self.root / "lessons" / "exercises" / name / _file_name(name)

    def report(self, name: str) -> Path | None:
        """The notebook beside the exercises that a person grades, report_NN.ipynb in solutions/, or None when the lesson has none."""
        path = self.source(name).with_name(report_name(name))
        return path if path.exists() else None

    def settings(self) -> Config:
        """nbgrader_config.py of this course, as a fresh traitlets configuration."""
        try:
            return PyFileConfigLoader("nbgrader_config.py", path=str(self.root)).load_config()
        except FileNotFoundError:
            raise CourseError(f"nbgrader_config.py is missing in {self.root}: bring it back with "
                              "`git checkout nbgrader_config.py`") from None

    def exercises(self, name: str) -> list[Exercise]:
        """The exercises of a lesson, in order. Raises CourseError naming the cell when the source notebook is not in order."""
        nb, where = read_notebook(self.source(name)), f"solutions/{name}/{_file_name(name)}"
        saved = json.loads(self.source(name).read_text(encoding="utf-8-sig"))["cells"]
        if lacking := [number for number, cell in enumerate(saved, start=1) if not cell.get("id")]:
            # nbformat invents ids for such cells, other ones at each release.
            raise CourseError(f"{where}, cell {lacking[0]}: the cell has no id: save the notebook once in JupyterLab")
        return exercises_of(nb, where)

    def master(self, name: str) -> NotebookNode:
        """The learner's notebook with stubs, checksums and locks, and with the hidden tests still in the test cells."""
        return self._master(self.source(name))

    def report_master(self, name: str) -> NotebookNode | None:
        """The same for the report, None when the lesson has none. Raises CourseError naming the cell that is not in order."""
        path = self.report(name)
        if path is None:
            return None
        check_report(read_notebook(path), f"solutions/{name}/{path.name}")
        return self._master(path)

    def _master(self, path: Path) -> NotebookNode:
        nb, settings = read_notebook(path), self.settings()
        for step in MASTER_STEPS:
            nb, _ = getattr(preprocessors, step)(config=settings).preprocess(nb, {})
        return nb


def _file_name(lesson: str) -> str:
    return f"exercises_{lesson.split('_')[0]}.ipynb"


def report_name(lesson: str) -> str:
    """The file name of a lesson's report, such as "report_22.ipynb"."""
    return f"report_{lesson.split('_')[0]}.ipynb"


def read_notebook(path: Path) -> NotebookNode:
    """A notebook in today's format. Raises CourseError when the file cannot be read or is not a notebook."""
    try:
        return parse_notebook(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise CourseError(f"there is no notebook {path}: check the path") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None


def parse_notebook(data: bytes, name: str, handed_in: bool = False) -> NotebookNode:
    """The notebook in a file's content, in today's format; `name` is for messages. Raises CourseError when it is none.

    handed_in: refuse also more than `MAX_CELLS` or `MAX_OUTPUTS`.
    """
    try:
        text = data.decode("utf-8-sig")
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise CourseError(f"{name} is not a notebook (its content is not JSON), perhaps cut short while it was saved: "
                          "go back to a checkpoint or to a dated copy beside it; the file was left as it is") from None
    if not (isinstance(content, dict) and isinstance(content.get("nbformat"), int)
            and isinstance(content.get("cells", content.get("worksheets")), list)):
        raise CourseError(f"{name} is JSON but not a notebook: give the path of an .ipynb file")
    if handed_in:
        _check_size(content, name)
    try:
        # nbformat warns and logs before it repairs what it can; what it cannot is raised by `validate`.
        with warnings.catch_warnings(), collected_log():
            warnings.simplefilter("ignore")
            nb = nbformat.reads(text, as_version=4)
            if nb.nbformat_minor < 5:
                nb = nbformat.v4.upgrade(nb)
            _, nb = nbformat.validator.normalize(nb)
            nbformat.validate(nb)
        # Of a format that is newer than today's, nbformat lets cells of any kind pass.
        for number, cell in enumerate(nb.cells, start=1):
            known = cell.cell_type in ("code", "markdown", "raw")
            if not (known and isinstance(cell.get("source"), str) and isinstance(cell.metadata, dict)):
                raise ValueError(f"cell {number} is of an unknown kind, or has no text")
    except Exception as error:  # nbformat raises many kinds for damaged content
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CourseError(f"{name} is a damaged notebook ({reason[:150]}): open and save it in JupyterLab, or go back to a copy; "
                          "the file was left as it is") from None
    return nb


def _check_size(content: dict[str, Any], name: str) -> None:
    """Raise CourseError when a notebook has too many parts: nbformat takes a second for each ten thousand of them, or more."""
    sheets = content.get("worksheets")  # of an old format
    parts = [part.get("cells") for part in (content, *(sheets if isinstance(sheets, list) else ())) if isinstance(part, dict)]
    cells = [cell for part in parts if isinstance(part, list) for cell in part]
    found = [cell.get("outputs") for cell in cells if isinstance(cell, dict)]
    outputs = sum(len(item) for item in found if isinstance(item, list))
    for count, most, what in ((len(cells), MAX_CELLS, "cells"), (outputs, MAX_OUTPUTS, "outputs")):
        if count > most:
            raise CourseError(f"{name} has {count} {what}, {most} are allowed: remove what is not needed and hand it in again")


@contextlib.contextmanager
def collected_log() -> Iterator[list[str]]:
    """Collect what nbgrader and nbclient log instead of showing it: nbgrader reports the cause of a failure nowhere else."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = get_logger(), Collect(logging.WARNING)
    before = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, [handler]
    try:
        yield lines
    finally:
        logger.propagate, logger.handlers = before


def grade_id(cell: NotebookNode) -> str | None:
    """The nbgrader name of a cell, or None for an ordinary cell."""
    about = cell.metadata.get("nbgrader")
    name = about.get("grade_id") if isinstance(about, dict) else None
    return name if isinstance(name, str) else None


def exercises_of(nb: NotebookNode, where: str) -> list[Exercise]:
    """The exercises in a source notebook; `where` names it in errors. Raises CourseError naming the cell that is wrong.

    An exercise is a heading `### Exercise N · Title (P points)`, then one answer cell, then test cells worth P points in all.
    """
    found: list[Exercise] = []
    title, points, seen = "", None, set()
    for number, cell in enumerate(nb.cells, start=1):
        here = f"{where}, cell {number}" + (f" ({grade_id(cell)})" if grade_id(cell) else "")
        if cell.cell_type == "markdown" and (heading := HEADING.search(cell.source)):
            _check_points(found, title, points, where)
            title, points = heading["title"], float(heading["points"])
        about = cell.metadata.get("nbgrader")
        if not about:
            continue
        if grade_id(cell) in seen:
            raise CourseError(f"{here}: the grade_id is used twice: give each cell its own")
        seen.add(grade_id(cell))
        _check_cell(cell, here)
        if is_solution(cell):
            if points is None:
                raise CourseError(f"{here}: no heading such as '### Exercise 1 · Title (2 points)' comes before this answer cell")
            if found and found[-1].title == title:
                raise CourseError(f"{here}: a second answer cell in '{title}': start a new exercise with its own heading")
            found.append(Exercise(grade_id(cell), title, 0.0, ()))
        elif is_grade(cell):
            if not found or found[-1].title != title:
                raise CourseError(f"{here}: a test cell comes before the answer cell of its exercise: move it below")
            last = found[-1]
            found[-1] = Exercise(last.name, title, last.max_score + float(about["points"]), (*last.tests, grade_id(cell)))
    _check_points(found, title, points, where)
    if not found:
        raise CourseError(f"{where} has no exercises: mark an answer cell as nbgrader's 'Autograded answer' and its tests as "
                          "'Autograder tests'")
    return found


def check_report(nb: NotebookNode, where: str) -> None:
    """Raise CourseError unless every nbgrader cell of a report is a written answer with points, named once."""
    seen: set[str] = set()
    for number, cell in enumerate(nb.cells, start=1):
        about = cell.metadata.get("nbgrader")
        if not about:
            continue
        here = f"{where}, cell {number}" + (f" ({grade_id(cell)})" if grade_id(cell) else "")
        if grade_id(cell) is None or grade_id(cell) in seen:
            raise CourseError(f"{here}: the cell needs a grade_id of its own: name it in the Create Assignment panel")
        seen.add(grade_id(cell))
        if cell.cell_type != "markdown" or about.get("task") or not (about.get("grade") and about.get("solution")):
            raise CourseError(f"{here}: a report holds only written answers: make it nbgrader's 'Manually graded answer', in Markdown")
        if not (isinstance(about.get("points"), int | float) and about["points"] > 0):
            raise CourseError(f"{here}: the answer has no points: give it 1 or more")
    if not seen:
        raise CourseError(f"{where} has no answer cell: mark one as nbgrader's 'Manually graded answer'")


def _check_cell(cell: NotebookNode, here: str) -> None:
    """Raise CourseError when the nbgrader metadata of a source cell is incomplete or of a kind the course does not use."""
    about = copy.deepcopy(cell.metadata["nbgrader"])
    if about.get("schema_version") != 3:
        raise CourseError(f"{here}: nbgrader metadata of an old schema: run `nbgrader update` on the notebook")
    if not about.get("grade_id"):
        raise CourseError(f"{here}: the cell has nbgrader metadata but no grade_id: name it in the Create Assignment panel")
    if about.get("task") or cell.cell_type != "code" and (about.get("grade") or about.get("solution")):
        raise CourseError(f"{here}: graded by hand; exercise notebooks hold only cells that are graded by their tests")
    if about.get("grade") and about.get("solution"):
        raise CourseError(f"{here}: one cell is both answer and test: make them two cells")
    if about.get("grade") and not (isinstance(about.get("points"), int | float) and about["points"] > 0):
        raise CourseError(f"{here}: the test cell has no points: give it 1 or more")
    if about.get("solution") and not ("### BEGIN SOLUTION" in cell.source and "### END SOLUTION" in cell.source):
        raise CourseError(f"{here}: the answer cell lacks ### BEGIN SOLUTION or ### END SOLUTION: put them around the answer")


def _check_points(found: list[Exercise], title: str, points: float | None, where: str) -> None:
    """Raise CourseError when the exercise that ends here has no answer cell, no tests, or another total than its title says."""
    if points is None:
        return
    if not found or found[-1].title != title:
        raise CourseError(f"{where}: '{title}' has no answer cell: add one below its heading")
    if not found[-1].tests:
        raise CourseError(f"{where}: '{title}' ({found[-1].name}) has no test cell: add one below the answer cell")
    if found[-1].max_score != points:
        raise CourseError(f"{where}: the title of '{title}' says {points:g} points, its test cells give {found[-1].max_score:g}: "
                          "make them agree")
