"""For every exercise: its solution has full marks, its stub none, each wrong answer loses points with a sentence that helps, and
each alternative right answer has full marks."""
import functools
from pathlib import Path

import pytest
from exercise_harness import Lesson

from helpers.grading.course import Course
from helpers.grading.feedback import NOT_ANSWERED

ANSWERS = Path(__file__).parent / "exercises"
COURSE = Course()


@functools.cache
def lesson(name):
    return Lesson(name, COURSE, ANSWERS)


EXERCISES = [(name, exercise.name) for name in COURSE.lessons() for exercise in lesson(name).exercises]


def answers(kind):
    """(lesson, exercise, description) of every answer of a kind, "wrong" or "right"."""
    return [(name, exercise, what) for name in COURSE.lessons()
            for exercise, cases in getattr(lesson(name), kind).items() for what in cases]


def test_every_lesson_has_its_answers_file_and_it_names_only_exercises_that_exist():
    assert EXERCISES, "solutions/ holds no exercises"
    for name in COURSE.lessons():
        real = {exercise.name for exercise in lesson(name).exercises}
        assert lesson(name).file.exists(), f"write {lesson(name).file} with WRONG and RIGHT"
        assert set(lesson(name).wrong) | set(lesson(name).right) <= real


@pytest.mark.parametrize("name, exercise", EXERCISES)
def test_the_solution_has_full_marks_and_the_stub_none(name, exercise):
    solved = lesson(name).run(exercise)
    assert solved.score == solved.max_score, solved.failures
    untouched = lesson(name).run(exercise, lesson(name).stubs[exercise])
    assert untouched.score == 0
    assert {message for _, message in untouched.failures} == {NOT_ANSWERED}


@pytest.mark.parametrize("name, exercise", EXERCISES)
def test_there_are_three_wrong_answers(name, exercise):
    assert len(set(lesson(name).wrong.get(exercise, {}).values())) >= 3


@pytest.mark.parametrize("name, exercise, what", answers("wrong"))
def test_a_wrong_answer_loses_points_and_says_why(name, exercise, what):
    outcome = lesson(name).run(exercise, lesson(name).wrong[exercise][what])
    assert outcome.score < outcome.max_score, "this wrong answer gets full marks"
    for kind, message in outcome.failures:
        assert kind in ("AssertionError", "ValueError", ""), f"a {kind} reaches the learner instead of a sentence: {message}"
        assert len(message) > 20 and not message.startswith(("a test in ", "partly right: ")), f"no helpful message: {message!r}"


@pytest.mark.parametrize("name, exercise, what", answers("right"))
def test_another_right_answer_keeps_full_marks(name, exercise, what):
    outcome = lesson(name).run(exercise, lesson(name).right[exercise][what])
    assert outcome.score == outcome.max_score, outcome.failures


@pytest.mark.parametrize("name, exercise", EXERCISES)
def test_the_visible_tests_take_less_than_two_seconds(name, exercise):
    # The fastest of three, and twice the time: other tests run on the same two cores at the same time.
    seconds = []
    while len(seconds) < 3 and (not seconds or seconds[-1] >= 4):
        seconds.append(lesson(name).run(exercise, hidden=False).test_seconds)
    assert min(seconds) < 4
