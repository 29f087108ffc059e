"""The class grader gives honest answers, right and wrong, the points that they get in one process, for every exercise of the course."""
import functools
import itertools
import os
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from exercise_harness import Lesson  # noqa: E402

from helpers.grading import grader, sandbox  # noqa: E402
from helpers.grading.course import Course, grade_id  # noqa: E402
from helpers.grading.outcome import GRADED, Submission  # noqa: E402

COURSE = Course()
ANSWERS = Path(__file__).parents[1] / "exercises"
# Notebooks of wrong answers a lesson; each takes as long as grading a submission. The others are tried by test_exercise_answers.py, in
# one process and ten times as fast; here too with COURSE_EVERY_ANSWER=1.
WRONG = None if os.environ.get("COURSE_EVERY_ANSWER") else 1


@functools.cache
def lesson(name):
    return Lesson(name, COURSE, ANSWERS)


def notebooks(name):
    """Notebooks that hold the other right answers, then wrong ones: {exercise: (answer or None for the reference, whether it is right)}."""
    here = lesson(name)
    for answers, right, limit in ((here.right, True, None), (here.wrong, False, WRONG)):
        columns = {exercise.name: [(answer, right) for answer in answers.get(exercise.name, {}).values()] for exercise in here.exercises}
        rows = itertools.zip_longest(*columns.values(), fillvalue=(None, True))
        yield from (dict(zip(columns, row, strict=True)) for row in itertools.islice(rows, limit))


def submission(name, answers):
    """The released notebook with these answers."""
    nb = nbformat.read(COURSE.released(name), as_version=4)
    solved = {grade_id(cell): cell.source for cell in lesson(name).source.cells if grade_id(cell)}
    for cell in nb.cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)][0] or solved[grade_id(cell)]
    return Submission("ada", "ada.ipynb", nbformat.writes(nb).encode())


@pytest.mark.skipif(sys.platform == "win32", reason="processes inherit sockets by number")
@pytest.mark.parametrize("name", COURSE.lessons())
def test_every_right_and_wrong_answer_gets_the_points_that_check_gives(name):
    about = grader.materials(COURSE, name, "a secret", sandbox.Limits())
    grading = grader.Grader(about)
    try:
        for answers in notebooks(name):
            outcome = grading.grade(submission(name, answers))
            assert outcome.status == GRADED, outcome.reason
            found = {result.name: result for result in outcome.results(list(about.exercises))}
            for exercise, (answer, right) in answers.items():
                result = found[exercise]
                assert (result.score == result.max_score) == right == (not result.message), (exercise, answer, result)
                if not right:
                    # Hidden tests draw their inputs anew, so a part of the points may be luck: it must be luck that `check` can have too.
                    outcomes = (lesson(name).run(exercise, answer) for _ in range(4))
                    assert any(result.score == expected.score for expected in outcomes), (exercise, answer, result)
    finally:
        grading.close()
