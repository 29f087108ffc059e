"""Put a class's outcomes where nbgrader keeps them: the gradebook, the executed notebooks, the learners' feedback."""
from __future__ import annotations

import copy
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import api
from nbgrader.preprocessors import AssignLatePenalties, SaveCells
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from helpers.errors import CourseError
from helpers.grading.course import Course, collected_log
from helpers.grading.outcome import REJECTED, Outcome
from helpers.grading.pages import feedback_page

LOCKED_SECONDS = 60  # how long to wait for another program that writes to the gradebook


class Records:
    """The one writer of a lesson's results. Use it as a context manager.

    What an instructor has entered by hand (scores, extra credit, comments) stays when a submission is recorded again. A rejected
    submission gets no entry, and an earlier one of that student is left as it is.
    """

    def __init__(self, course: Course, lesson: str) -> None:
        """Open the gradebook and make the assignment if it is not there. Raises CourseError."""
        self.course, self.lesson, self.file = course, lesson, course.source(lesson).stem
        self.exercises, self.master = course.exercises(lesson), course.master(lesson)
        settings = course.settings().CourseDirectory
        self.url = settings.db_url
        self.autograded, self.feedback = (course.root / settings[f"{kind}_directory"] for kind in ("autograded", "feedback"))
        self.gradebook = self._patiently(self._open)

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the gradebook."""
        self.gradebook.close()

    def _patiently(self, action: Any, *arguments: Any) -> Any:
        """Call `action`, again while another program has the gradebook locked. Raises CourseError when it stays so."""
        deadline = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return action(*arguments)
            except OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise CourseError(f"the gradebook cannot be used ({str(error.orig)[:100]}): close what else works on it and give the "
                                      "same command again; what was graded is in the journal") from None
                self.gradebook.db.rollback()
                time.sleep(0.5)
            except SQLAlchemyError as error:
                raise CourseError(f"the gradebook cannot be written ({' '.join(str(error).split())[:150]}): move classroom/gradebook.db "
                                  "away and give the same command again; what was graded is in the journal") from None

    def _open(self) -> api.Gradebook:
        """The gradebook, with this lesson's assignment and cells in it."""
        with collected_log():
            gradebook = self.gradebook = api.Gradebook(self.url)
            gradebook.update_or_create_assignment(self.lesson)
            resources = {"nbgrader": {"notebook": self.file, "assignment": self.lesson, "db_url": self.url}}
            try:
                SaveCells().preprocess(copy.deepcopy(self.master), resources)
            except RuntimeError:
                raise CourseError(f"{self.lesson}: the gradebook holds submissions for exercises with other cells: move "
                                  "classroom/gradebook.db away (it keeps those grades) and give the same command again") from None
        gradebook.db.expire_all()
        return gradebook

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Record a batch: one commit for all scores, then the files. Raises CourseError; what was written before stays."""
        graded = [outcome for outcome in outcomes if outcome.status != REJECTED]
        if graded:
            self._patiently(self._write_scores, graded)
        for outcome in outcomes:
            if outcome.status != REJECTED:
                folder = self.autograded / outcome.student / self.lesson
                write_file(folder / f"{self.file}.ipynb", outcome.notebook)
                if outcome.submitted:
                    write_file(folder / "timestamp.txt", outcome.submitted)
            page = feedback_page(outcome, self.exercises, self.master, self._comments(outcome))
            write_file(self.feedback / outcome.student / self.lesson / f"{self.file}.html", page)

    def _write_scores(self, outcomes: list[Outcome]) -> None:
        db = self.gradebook.db
        with db.no_autoflush:
            assignment = self.gradebook.find_assignment(self.lesson)
            notebook = next(notebook for notebook in assignment.notebooks if notebook.name == self.file)
            cells = {cell.name: cell.id for cell in notebook.grade_cells}
            before = {submission.student_id: submission for submission in assignment.submissions}
            students = {student.id for student in db.query(api.Student.id)}
            for outcome in outcomes:
                if outcome.student not in students:
                    db.add(api.Student(id=outcome.student))
                    students.add(outcome.student)
                submission = before.get(outcome.student)
                if submission is None:
                    submission = before[outcome.student] = self._new(assignment, outcome.student)
                submission.timestamp = moment(outcome.submitted)
                own = next(part for part in submission.notebooks if part.notebook_id == notebook.id)
                grades = {grade.cell_id: grade for grade in own.grades}
                for result in outcome.cells:
                    grade = grades[cells[result.name]]
                    grade.auto_score = result.score
                    # As nbgrader does: a score given by hand stays, and is to be looked at again.
                    grade.needs_manual_grade = grade.manual_score is not None
        try:
            db.commit()
        except SQLAlchemyError:
            db.rollback()
            raise
        if assignment.duedate is not None:
            for outcome in outcomes:
                self._penalty(outcome.student)

    def _new(self, assignment: api.Assignment, student: str) -> api.SubmittedAssignment:
        """A submission with an empty grade for each test cell and an empty comment for each answer cell, as nbgrader makes it."""
        submission = api.SubmittedAssignment(assignment_id=assignment.id, student_id=student)
        for notebook in assignment.notebooks:
            part = api.SubmittedNotebook(notebook_id=notebook.id, assignment=submission)
            for cell in notebook.grade_cells:
                api.Grade(cell_id=cell.id, notebook=part)
            for cell in notebook.solution_cells:
                api.Comment(cell_id=cell.id, notebook=part)
        self.gradebook.db.add(submission)
        return submission

    def _penalty(self, student: str) -> None:
        """Let nbgrader's own step set the penalty for a late submission."""
        about = {"notebook": self.file, "assignment": self.lesson, "student": student, "db_url": self.url}
        with collected_log():
            AssignLatePenalties(config=self.course.settings()).preprocess(nbformat.v4.new_notebook(), {"nbgrader": about})

    def _comments(self, outcome: Outcome) -> list[str]:
        """What an instructor has written about this submission."""
        if outcome.status == REJECTED:
            return []
        try:
            submission = self.gradebook.find_submission(self.lesson, outcome.student)
        except api.MissingEntry:
            return []
        return [comment.manual_comment for part in submission.notebooks for comment in part.comments if comment.manual_comment]


def moment(text: str) -> datetime | None:
    """A time of the gradebook (in UTC, without a zone) from ISO 8601; None when there is none."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises CourseError when the disk is full or the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(temporary, path)
    except OSError as error:
        raise CourseError(f"{path} cannot be written ({error.strerror}): make room and give the same command again; what was graded "
                          "is in the journal") from None
