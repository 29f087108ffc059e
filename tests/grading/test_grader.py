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


@functools.cache
def lesson(name):
    return Lesson(name, COURSE, ANSWERS)


def notebooks(name):
    """Notebooks that together hold every wrong and every other right answer: (description, {exercise: answer}), None for the reference."""
    here = lesson(name)
    of_exercise = {e.name: [*here.wrong.get(e.name, {}).values(), *here.right.get(e.name, {}).values()] for e in here.exercises}
    for number in range(max(map(len, of_exercise.values()))):
        yield {exercise: answers[number] if number < len(answers) else None for exercise, answers in of_exercise.items()}


def submission(name, answers):
    """The released notebook with these answers (None: the reference solution)."""
    nb = nbformat.read(COURSE.released(name), as_version=4)
    solved = {grade_id(cell): cell.source for cell in lesson(name).source.cells if grade_id(cell)}
    for cell in nb.cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)] or solved[grade_id(cell)]
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
            for exercise, answer in answers.items():
                expected = lesson(name).run(exercise, answer)
                assert found[exercise].score == expected.score, (exercise, answer, found[exercise].message, expected.failures)
                assert bool(found[exercise].message) == (expected.score < expected.max_score)
    finally:
        grading.close()
