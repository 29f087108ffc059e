"""The class grader gives honest answers, right and wrong, the points that they get in one process, for every exercise of the course."""
import functools
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
SAME_POINTS = 2  # notebooks of each lesson whose points are compared with those of `check`; all would take twice the time


@functools.cache
def lesson(name):
    return Lesson(name, COURSE, ANSWERS)


def notebooks(name):
    """Notebooks that together hold every wrong and every other right answer: {exercise: (answer, whether it is right)}."""
    here = lesson(name)
    of_exercise = {exercise.name: [(answer, False) for answer in here.wrong.get(exercise.name, {}).values()]
                   + [(answer, True) for answer in here.right.get(exercise.name, {}).values()] for exercise in here.exercises}
    for number in range(max(map(len, of_exercise.values()))):  # None: the reference solution
        yield {exercise: answers[number] if number < len(answers) else (None, True) for exercise, answers in of_exercise.items()}


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
        for number, answers in enumerate(notebooks(name)):
            outcome = grading.grade(submission(name, answers))
            assert outcome.status == GRADED, outcome.reason
            found = {result.name: result for result in outcome.results(list(about.exercises))}
            for exercise, (answer, right) in answers.items():
                result = found[exercise]
                assert (result.score == result.max_score) == right == (not result.message), (exercise, answer, result)
                if number < SAME_POINTS:
                    expected = lesson(name).run(exercise, answer)
                    assert result.score == expected.score, (exercise, answer, result.message, expected.failures)
    finally:
        grading.close()
