"""Put a class's outcomes where nbgrader keeps them: the gradebook, the executed notebooks, the learners' feedback."""
from __future__ import annotations

import copy
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader import api
from nbgrader.preprocessors import AssignLatePenalties, SaveCells
from nbgrader.utils import compute_checksum, is_grade
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from helpers.errors import CourseError
from helpers.grading.course import Course, collected_log, grade_id, parse_notebook, report_name
from helpers.grading.harmless import cut, harmless
from helpers.grading.outcome import REJECTED, Marks, Outcome
from helpers.grading.pages import feedback_page
from helpers.grading.restore import restore

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
        self.report_master, self.report_file = course.report_master(lesson), Path(report_name(lesson)).stem
        settings = course.settings().CourseDirectory
        self.url = settings.db_url
        self.autograded, self.feedback = (course.root / settings[f"{kind}_directory"] for kind in ("autograded", "feedback"))
        self.gradebook: api.Gradebook | None = None
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
            except SQLAlchemyError as error:
                reason = " ".join(str(getattr(error, "orig", error)).split())[:150]
                if "full" in reason or "I/O" in reason:
                    raise CourseError(f"classroom/gradebook.db cannot be written ({reason}): make room and give the same command again; "
                                      "what was graded is in the journal") from None
                if not isinstance(error, OperationalError) or "locked" not in reason:
                    raise CourseError(f"classroom/gradebook.db cannot be used ({reason}): put back a copy that can, or move it away (a new "
                                      "one is made, without what was entered by hand for any lesson) and give the same command again; "
                                      "what was graded is in the journal") from None
                if time.monotonic() > deadline:
                    raise CourseError("classroom/gradebook.db is locked by another program: close what else works on it and give the same "
                                      "command again; what was graded is in the journal") from None
                if self.gradebook is not None:
                    self.gradebook.db.rollback()
                time.sleep(0.5)

    def _open(self) -> api.Gradebook:
        """The gradebook, with this lesson's assignment and cells in it."""
        with collected_log():
            gradebook = self.gradebook = api.Gradebook(self.url)
            gradebook.update_or_create_assignment(self.lesson)
            try:
                for file, master in ((self.file, self.master), (self.report_file, self.report_master)):
                    resources = {"nbgrader": {"notebook": file, "assignment": self.lesson, "db_url": self.url}}
                    if master is not None:
                        SaveCells().preprocess(copy.deepcopy(master), resources)
            except RuntimeError:
                raise CourseError(f"{self.lesson}: the gradebook holds submissions for exercises with other cells: move "
                                  "classroom/gradebook.db away (it keeps those grades, and what was entered by hand for all lessons) and "
                                  "give the same command again") from None
        gradebook.db.expire_all()
        return gradebook

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Record a batch: one commit for all scores, then the files. Raises CourseError; what was written before stays."""
        notebooks = {outcome.student: self._safe(outcome) for outcome in outcomes if outcome.status != REJECTED}
        reports = {student: self._report(outcome)[0] for outcome in outcomes if (student := outcome.student) in notebooks}
        if notebooks:
            self._patiently(self._write_scores, [outcome for outcome in outcomes if outcome.status != REJECTED], notebooks, reports)
        for outcome in outcomes:
            if outcome.status != REJECTED:
                folder = self.autograded / outcome.student / self.lesson
                write_file(folder / f"{self.file}.ipynb", nbformat.v4.writes(notebooks[outcome.student]))
                if report := reports.get(outcome.student):
                    write_file(folder / f"{self.report_file}.ipynb", nbformat.v4.writes(report))
                if outcome.submitted:
                    write_file(folder / "timestamp.txt", outcome.submitted)
            self._write_page(outcome, notebooks.get(outcome.student))

    def possible(self) -> float:
        """The most points that a learner can reach, with those of the report if the lesson has one."""
        report = [] if self.report_master is None else [cell for cell in self.report_master.cells if is_grade(cell)]
        return sum(exercise.max_score for exercise in self.exercises) + sum(cell.metadata.nbgrader.points for cell in report)

    def refresh(self, outcomes: Sequence[Outcome]) -> None:
        """Let the time of handing in and the due date count as they are now, also where nothing was graded anew. Raises CourseError."""
        self._patiently(self._refresh, [outcome for outcome in outcomes if outcome.status != REJECTED])

    def _refresh(self, outcomes: list[Outcome]) -> None:
        assignment = self.gradebook.find_assignment(self.lesson)
        submissions = {submission.student_id: submission for submission in assignment.submissions}
        for outcome in outcomes:
            if outcome.submitted and outcome.student in submissions:
                submissions[outcome.student].timestamp = moment(outcome.submitted)
        self.gradebook.db.commit()
        self._penalties(assignment, outcomes)
        self.gradebook.db.expire_all()

    def has_report(self, outcome: Outcome) -> bool:
        """False when the lesson asks for a report and this submission has none that could be taken."""
        return self.report_master is None or outcome.status == REJECTED or self._report(outcome)[0] is not None

    def write_feedback(self, outcomes: Sequence[Outcome]) -> None:
        """Write the learners' pages of what was recorded before once more, with what an instructor has entered since."""
        for outcome in outcomes:
            self._write_page(outcome, self._safe(outcome) if outcome.status != REJECTED else None)

    def marks(self, students: Iterable[str]) -> dict[str, Marks]:
        """What counts for those of these students of whom something has been recorded."""
        found = {student: self._patiently(self._marks, student) for student in students}
        return {student: marks for student, marks in found.items() if marks is not None}

    def students(self) -> set[str]:
        """All of whom something has been recorded for this lesson."""
        return {submission.student_id for submission in self._patiently(self.gradebook.assignment_submissions, self.lesson)}

    def report_notes(self, outcome: Outcome) -> list[str]:
        """What was put right in a report, or why there is none; to be journalled with the other notes, or it is lost."""
        if not self.has_report(outcome) and not outcome.report:
            return [f"no report was handed in with this notebook: hand in {self.report_file}.ipynb beside it"]
        return self._report(outcome)[1]

    def _safe(self, outcome: Outcome) -> NotebookNode:
        try:
            return harmless(nbformat.v4.reads(outcome.notebook), self.master)
        except Exception as error:  # one notebook that cannot be shown must not end the class's grading; its points count
            reason = f"This notebook cannot be shown ({type(error).__name__}): open the one that was handed in."
            return harmless(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(reason)]), self.master)

    def _report(self, outcome: Outcome) -> tuple[NotebookNode | None, list[str]]:
        """The report, put in order and harmless, and notes; None when there is none, or what was handed in is no notebook."""
        if self.report_master is None or not outcome.report:
            return None, []
        try:
            nb = parse_notebook(outcome.report.encode("utf-8", "backslashreplace"), f"{self.report_file}.ipynb", handed_in=True)
            notes = [cut(f"in your report: {note}") for note in restore(nb, self.report_master)]
            return harmless(nb, self.report_master), notes
        except CourseError as error:
            return None, [cut(f"the report was not taken: {error}")]
        except Exception as error:  # one report must not end the class's grading, whatever it holds
            reason = f"it cannot be read ({type(error).__name__}): open and save it in JupyterLab, and hand it in again"
            return None, [f"the report was not taken: {reason}"]

    def _write_page(self, outcome: Outcome, notebook: NotebookNode | None) -> None:
        page = feedback_page(outcome, self.exercises, self.master, notebook, self._patiently(self._marks, outcome.student))
        write_file(self.feedback / outcome.student / self.lesson / f"{self.file}.html", page)

    def _write_scores(
        self, outcomes: list[Outcome], notebooks: dict[str, NotebookNode], reports: dict[str, NotebookNode | None]
    ) -> None:  # fmt: skip
        db = self.gradebook.db
        with db.no_autoflush:
            assignment = self.gradebook.find_assignment(self.lesson)
            notebook = next(notebook for notebook in assignment.notebooks if notebook.name == self.file)
            cells = {cell.name: cell.id for cell in [*notebook.grade_cells, *notebook.solution_cells]}
            before = {submission.student_id: submission for submission in assignment.submissions}
            students = {student.id for student in db.query(api.Student.id)}
            for outcome in outcomes:
                if outcome.student not in students:
                    db.add(api.Student(id=outcome.student))
                    students.add(outcome.student)
                submission = before.get(outcome.student)
                if submission is None:
                    submission = before[outcome.student] = self._new(assignment, outcome.student)
                if outcome.submitted:  # when it is not known, what was known before stays
                    submission.timestamp = moment(outcome.submitted)
                own = next(part for part in submission.notebooks if part.notebook_id == notebook.id)
                grades = {grade.cell_id: grade for grade in own.grades}
                for result in outcome.cells:
                    grade = grades[cells[result.name]]
                    grade.auto_score = result.score
                    # As nbgrader does: a score given by hand stays, and is to be looked at again.
                    grade.needs_manual_grade = grade.manual_score is not None
                answers = {cells[grade_id(cell)]: cell for cell in notebooks[outcome.student].cells if grade_id(cell) in cells}
                for comment in own.comments:
                    comment.auto_comment = "No response." if unanswered(answers.get(comment.cell_id)) else None
                if self.report_master is not None:
                    self._await_person(submission, assignment, reports.get(outcome.student))
        try:
            db.commit()
        except SQLAlchemyError:
            db.rollback()
            raise
        self._penalties(assignment, outcomes)

    def _await_person(self, submission: api.SubmittedAssignment, assignment: api.Assignment, report: NotebookNode | None) -> None:
        """Mark each written answer as one that a person is to grade; what has not been answered has 0 points, as in nbgrader."""
        notebook = next(notebook for notebook in assignment.notebooks if notebook.name == self.report_file)
        own = next((part for part in submission.notebooks if part.notebook_id == notebook.id), None) or self._part(submission, notebook)
        names = {cell.id: cell.name for cell in notebook.grade_cells}
        answers = {grade_id(cell): cell for cell in report.cells if not unanswered(cell)} if report else {}
        for grade in own.grades:
            answered = names[grade.cell_id] in answers
            grade.auto_score = None if answered else 0.0
            grade.needs_manual_grade = answered or grade.manual_score is not None

    def _part(self, submission: api.SubmittedAssignment, notebook: api.Notebook) -> api.SubmittedNotebook:
        """An empty grade for each graded cell, and an empty comment for each answer cell, of one notebook of a submission."""
        part = api.SubmittedNotebook(notebook_id=notebook.id, assignment=submission)
        for cell in notebook.grade_cells:
            api.Grade(cell_id=cell.id, notebook=part)
        for cell in notebook.solution_cells:
            api.Comment(cell_id=cell.id, notebook=part)
        return part

    def _new(self, assignment: api.Assignment, student: str) -> api.SubmittedAssignment:
        """A submission with an empty grade for each test cell and an empty comment for each answer cell, as nbgrader makes it."""
        submission = api.SubmittedAssignment(assignment_id=assignment.id, student_id=student)
        for notebook in assignment.notebooks:
            self._part(submission, notebook)
        self.gradebook.db.add(submission)
        return submission

    def _penalties(self, assignment: api.Assignment, outcomes: list[Outcome]) -> None:
        """Only with a due date: without one a penalty was entered by hand, and stays."""
        if assignment.duedate is not None:
            for outcome in outcomes:
                self._penalty(outcome.student)

    def _penalty(self, student: str) -> None:
        """Let nbgrader's own step set the penalty for a late submission."""
        about = {"assignment": self.lesson, "student": student, "db_url": self.url}
        with collected_log():
            try:
                for file in [self.file] if self.report_master is None else [self.file, self.report_file]:
                    resources = {"nbgrader": about | {"notebook": file}}
                    AssignLatePenalties(config=self.course.settings()).preprocess(nbformat.v4.new_notebook(), resources)
            except Exception as error:  # whatever an instructor's plugin raises
                if isinstance(error, SQLAlchemyError):
                    raise
                raise CourseError(f"the plugin for late submissions fails for {student} ({type(error).__name__}: {str(error)[:100]}): "
                                  "mend it and give the same command again; the scores are in the gradebook") from None

    def _marks(self, student: str) -> Marks | None:
        """What counts for this student in the gradebook; None when nothing has been recorded."""
        try:
            submission = self.gradebook.find_submission(self.lesson, student)
        except api.MissingEntry:
            return None
        parts = {part.name: part for part in submission.notebooks}
        grades = parts[self.file].grades
        comments = [comment.manual_comment for part in parts.values() for comment in part.comments if comment.manual_comment]
        by_hand = {grade.name for grade in grades if grade.manual_score is not None or grade.extra_credit}
        report, waiting = None, sum(bool(grade.needs_manual_grade) for grade in grades)
        if self.report_master is not None and self.report_file in parts:
            written = parts[self.report_file].grades
            open_ones = sum(bool(grade.needs_manual_grade) for grade in written)
            report = sum(grade.score for grade in written), sum(grade.max_score for grade in written), open_ones
            waiting += open_ones
        return Marks({grade.name: grade.score for grade in grades}, {grade.name: grade.auto_score for grade in grades}, by_hand,
                     submission.late_submission_penalty or 0.0, comments, report, waiting)


def unanswered(cell: NotebookNode | None) -> bool:
    """True for an answer cell that still is as it was released."""
    return cell is not None and bool(grade_id(cell)) and cell.metadata.nbgrader.get("checksum") == compute_checksum(cell)


def moment(text: str) -> datetime:
    """A time of the gradebook (in UTC, without a zone) from ISO 8601."""
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def write_file(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises CourseError when the disk is full or the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # two graders may write at once
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(temporary, path)
    except OSError as error:
        raise CourseError(f"{path} cannot be written ({error.strerror}): make room and give the same command again; what was graded "
                          "is in the journal") from None
