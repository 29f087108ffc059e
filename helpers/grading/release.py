"""Make the learner's exercise notebooks from the solutions, without ever losing a learner's work."""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from helpers.errors import CourseError
from helpers.grading.course import Course, collected_log, read_notebook

KEPT = {"nbgrader", "tags", "deletable", "editable", "jupyter", "mystnb"}


def release(lessons: list[str] | None = None, root: Path | None = None) -> int:
    """Release the exercises of these lessons (None or []: all), say what was done, and return 0.

    They are recorded in nbgrader's gradebook, so that `nbgrader autograde` works. Everything is generated in a staging folder
    first, so a failure leaves every release as it was. Raises CourseError.
    """
    course = Course(root)
    names = list(dict.fromkeys(course.find(lesson) for lesson in lessons)) if lessons else course.lessons()
    if not names:
        raise CourseError(f"there is nothing to release: {course.root / 'solutions'} holds no exercises_NN.ipynb")
    for name in names:
        course.exercises(name)
        course.report_master(name)
    classroom = course.root / "classroom"
    try:
        classroom.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="staging-", dir=classroom) as folder:
            for name in names:
                generate(course, name, Path(folder, "trial"), record=False)
            # The gradebook is written only when every lesson can be generated.
            for name in names:
                generate(course, name, Path(folder, "release"), record=True)
            for name in names:
                print(_move(course, name, Path(folder, "release", name)))
    except OSError as error:
        raise CourseError(f"the exercises could not be written ({error}): free some space or close the file, and try again; "
                          "what was there is kept") from None
    return 0


def expected(name: str, root: Path | None = None, file: str | None = None) -> str:
    """The text of the notebook that `release` writes for a lesson; a test compares it with the one in lessons/exercises/.

    file: the name of another notebook of the lesson than its exercises, the report's.
    """
    course = Course(root)
    course.exercises(name)
    with tempfile.TemporaryDirectory() as folder:
        generate(course, name, Path(folder), record=False)
        return Path(folder, name, file or course.released(name).name).read_text(encoding="utf-8")


def generate(course: Course, name: str, folder: Path, record: bool) -> None:
    """Run nbgrader's generate_assignment for a lesson into `folder`/`name`; `record` also writes it into the gradebook.

    Raises CourseError with nbgrader's own reason.
    """
    from nbgrader.converters import GenerateAssignment, NbGraderException
    from nbgrader.coursedir import CourseDirectory

    settings = course.settings()
    settings.CourseDirectory.release_directory = str(folder)
    settings.CourseDirectory.assignment_id = name
    settings.GenerateAssignment.no_database = not record
    settings.SaveCells.enabled = record
    with collected_log() as lines:
        try:
            GenerateAssignment(coursedir=CourseDirectory(config=settings), config=settings).start()
            return
        except NbGraderException as error:
            reason = _reason(lines) or str(error)
        except Exception as error:  # SQLAlchemy, alembic and the operating system each raise their own kind
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if "submissions associated" in reason:
        raise CourseError(f"{name}: the gradebook holds submissions for exercises with other cells: move classroom/gradebook.db "
                          "away (it keeps those grades) and release again")
    if record:
        raise CourseError(f"{name} could not be recorded in classroom/gradebook.db ({reason}): move that file away and "
                          "release again; the old release is kept")
    raise CourseError(f"solutions/{name} could not be turned into a release ({reason}): correct it; the old release is kept")


def _reason(lines: list[str]) -> str:
    """The last exception in nbgrader's log, on one line."""
    tracebacks = [line for line in lines if line.lstrip().startswith("Traceback")]
    return tracebacks[-1].strip().splitlines()[-1][:300] if tracebacks else ""


def _move(course: Course, name: str, staged: Path) -> str:
    """Put a staged release in place, after a dated copy of a notebook that holds work; returns the sentence to show."""
    target = course.released(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    copied = []
    for file in sorted(path for path in staged.rglob("*") if path.is_file()):
        place = target.parent / file.relative_to(staged)
        if place.is_file() and place.read_bytes() == file.read_bytes():
            continue
        if place.suffix == ".ipynb" and place.exists() and holds_work(place):
            copied.append(_dated_copy(place))
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
    shown = target.relative_to(course.root).as_posix()
    return f"{name}: released to {shown}" + (f"; your earlier work is kept beside it in {', '.join(copied)}" if copied else "")


def holds_work(path: Path) -> bool:
    """True unless the text of every cell is as it was released; outputs do not count. True for a file that cannot be read."""
    try:
        nb = read_notebook(path)
        return nb.metadata["course"]["fingerprint"] != fingerprint(nb)
    except (CourseError, KeyError, TypeError):
        return True


def _dated_copy(path: Path) -> str:
    """Copy a notebook to exercises_01.2026-11-21-1530.ipynb (with -2, -3 … when that exists); returns the new name."""
    stamp, number = datetime.now().strftime("%Y-%m-%d-%H%M"), 1
    while (copy := path.with_name(f"{path.stem}.{stamp}{f'-{number}' if number > 1 else ''}{path.suffix}")).exists():
        number += 1
    shutil.copy2(path, copy)
    return copy.name


def fingerprint(nb: NotebookNode) -> str:
    """A hash of the type and text of every cell, in order."""
    content = json.dumps([[cell.cell_type, cell.source] for cell in nb.cells])
    return hashlib.sha256(content.encode()).hexdigest()


class Tidy(NbGraderPreprocessor):
    """The last step of a release: keep only metadata that the source decides, and note the fingerprint for `holds_work`."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        for cell in nb.cells:
            cell.metadata = NotebookNode({key: value for key, value in cell.metadata.items() if key in KEPT})
        # The editor that saved the source writes its Python version and display name here.
        nb.metadata = NotebookNode(
            kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
            language_info={"name": "python"},
            course={"fingerprint": fingerprint(nb)},
        )
        return nb, resources
