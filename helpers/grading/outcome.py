"""What grading is given and what it finds: a submission, the result of each test cell, and how the whole ended."""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from helpers.grading.course import Exercise
from helpers.grading.feedback import Result, clip
from helpers.grading.harmless import cut

GRADED, PARTLY, REJECTED = "graded", "graded up to", "rejected"


@dataclass(frozen=True)
class Submission:
    """One learner's file. `problem` is "" or the sentence why it is rejected before anything of it runs.

    student: nbgrader's id, usable as a folder name. origin: where the file was found, for messages. submitted: ISO 8601 in UTC or "".
    report: the notebook that a person grades, b"" when the lesson has none or it was not handed in.
    """

    student: str
    origin: str
    content: bytes = b""
    problem: str = ""
    submitted: str = ""
    report: bytes = b""

    def digest(self) -> str:
        """sha256 of the content and the report, in hexadecimal."""
        return hashlib.sha256(self.content + self.report).hexdigest()


@dataclass(frozen=True)
class CellResult:
    """Points of one test cell, and what failed in it ("" at full marks). hidden: the check that failed is one that learners do not see."""

    name: str
    score: float
    max_score: float
    message: str = ""
    hidden: bool = False


@dataclass
class Outcome:
    """How the grading of one submission ended.

    status: `GRADED`; `PARTLY` when its process died or ran out of time (what came before keeps its points); `REJECTED` when there was
    nothing to grade. reason: a sentence, "" when graded. stopped_at: the cell at which it stopped. cells: every test cell of the
    lesson, in order. notes: what was put right. notebook: the executed notebook as JSON. Cells and notebook are empty when rejected.
    report: the one for a person, as it was handed in, "" for none.
    """

    student: str
    lesson: str
    origin: str
    digest: str
    status: str
    submitted: str = ""
    reason: str = ""
    stopped_at: str = ""
    cells: list[CellResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    notebook: str = ""
    seconds: float = 0.0
    missing_protections: list[str] = field(default_factory=list)
    report: str = ""

    def __post_init__(self) -> None:
        # They quote what a learner wrote, which may be endless, or hold what can be neither printed nor written to a file.
        self.reason, self.notes = cut(self.reason), [cut(note) for note in self.notes]

    def score(self) -> float | None:
        """Points reached; None when rejected, which is not the same as 0."""
        return None if self.status == REJECTED else sum(cell.score for cell in self.cells)

    def max_score(self) -> float:
        """Points that the cells give at most."""
        return sum(cell.max_score for cell in self.cells)

    def results(self, exercises: list[Exercise]) -> list[Result]:
        """The same per exercise, as `check` shows it; empty when rejected."""
        if self.status == REJECTED:
            return []
        cells = {cell.name: cell for cell in self.cells}
        found = []
        for exercise in exercises:
            own = [cells[name] for name in exercise.tests]
            message = clip("\n".join(dict.fromkeys(cell.message for cell in own if cell.message)))
            found.append(Result(exercise.name, sum(cell.score for cell in own), exercise.max_score, message))
        return found

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """The outcome that `to_json` wrote. Raises ValueError when the text is torn or something else."""
        try:
            data = json.loads(text)
            return cls(**data | {"cells": [CellResult(**cell) for cell in data["cells"]]})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a grading outcome: {error}") from None


@dataclass(frozen=True)
class Marks:
    """What the gradebook holds for one learner. points: what counts for each test cell. automatic: what the grader gave it. by_hand: cells
    whose points an instructor has set. penalty: points lost by handing in late. report: points, of how many, and how many answers a
    person has yet to grade, or to look at again; None when the lesson has no report. to_grade: the same, test cells included.
    """

    points: dict[str, float]
    automatic: dict[str, float | None]
    by_hand: set[str]
    penalty: float
    comments: list[str]
    report: tuple[float, float, int] | None = None
    to_grade: int = 0

    def total(self) -> float:
        """Points that count."""
        return max(0.0, sum(self.points.values()) + (self.report[0] if self.report else 0.0) - self.penalty)

    def holds(self, outcome: Outcome) -> bool:
        """True when this outcome is what was recorded."""
        return all(self.automatic.get(cell.name) == cell.score for cell in outcome.cells)


def points_that_count(outcome: Outcome, marks: Marks | None) -> float | None:
    """With those that an instructor gave and without those lost by handing in late; None when rejected. marks: None when not recorded."""
    return outcome.score() if marks is None or outcome.status == REJECTED else marks.total()


def results_that_count(outcome: Outcome, exercises: list[Exercise], marks: Marks | None) -> list[Result]:
    """Per exercise, with the points that an instructor set in the gradebook; empty when rejected."""
    results = outcome.results(exercises)
    for exercise, result in zip(exercises, results, strict=False):
        if marks and marks.by_hand.intersection(exercise.tests):
            result.score = sum(marks.points[name] for name in exercise.tests)
    return results


def why(outcome: Outcome, marks: Marks | None) -> str:
    """The outcome's reason; of a rejected one also what its learner has in the gradebook from an earlier submission."""
    if outcome.status != REJECTED or marks is None:
        return outcome.reason
    return f"{outcome.reason}; an earlier submission has {marks.total():g} points in the gradebook, which no table holds"


def rejected(submission: Submission, lesson: str, reason: str) -> Outcome:
    """The outcome of a submission in which there is nothing to grade."""
    return Outcome(
        submission.student, lesson, submission.origin, submission.digest(), REJECTED, submission.submitted, reason=reason
    )
