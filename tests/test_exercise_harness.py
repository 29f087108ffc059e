"""The harness gives the scores and messages of a real kernel, and finds each kind of weak exercise."""
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent / "grading"))

from exercise_harness import Lesson
from toy_course import LESSON, SOLVED, find, source_path, write_course

from helpers.grading.course import Course


@pytest.fixture
def toy(tmp_path):
    root, answers = write_course(tmp_path / "course"), tmp_path / "answers"
    answers.mkdir()
    wrong = {"mean": {"always 2": "def mean(n):\n    return 2"}}
    (answers / "lesson_01.py").write_text(f"WRONG = {wrong}\nRIGHT = {{}}\n", encoding="utf-8")
    return lambda: Lesson(LESSON, Course(root), answers)


def test_scores_and_messages(toy):
    lesson = toy()
    for name, text in SOLVED.items():
        assert lesson.run(name).failures == lesson.run(name, text).failures == []
        untouched = lesson.run(name, lesson.stubs[name])
        assert untouched.score == 0 and {message for _, message in untouched.failures} == {"not answered yet"}
    wrong = lesson.run("mean", lesson.wrong["mean"]["always 2"])
    assert wrong.score == 0 and wrong.failures[0] == ("AssertionError", "one number is its own mean: look at the divisor")
    partial = lesson.run("square", "def square(n):\n    return n * abs(n)")
    assert partial.score == 2.25 and partial.failures == [("", "3 of 4 squares are right: try a negative number")]
    assert lesson.run("mean", "def mean(n)").failures[0][1].startswith("your cell `mean` stops with SyntaxError")


def test_hidden_tests_can_be_left_out(toy):
    third = "def mean(n):\n    if not n:\n        raise ValueError\n    return sum(n) / 3"
    assert toy().run("mean", third).score == 1 and toy().run("mean", third, hidden=False).score == 3


def test_an_exercise_that_needs_an_earlier_test_cell_fails(toy, tmp_path):
    path = source_path(tmp_path / "course")
    nb = nbformat.read(path, as_version=4)
    find(nb, "test_mean").source += "\nbest = 'letters'"
    find(nb, "test_choice").source = "assert choice == best, 'a message of some length'"
    nbformat.write(nb, path)
    assert toy().run("choice").failures[0][0] == "NameError"


@pytest.mark.parametrize("last", ["True", "[1]", "__import__('fractions').Fraction(1, 2)"])
def test_a_partial_score_that_is_no_plain_number_is_found(toy, tmp_path, last):
    path = source_path(tmp_path / "course")
    nb = nbformat.read(path, as_version=4)
    find(nb, "test_square").source = last
    nbformat.write(nb, path)
    assert "end it with float(...)" in toy().run("square").failures[0][1]


def test_a_broken_setup_cell_is_an_error_not_a_score(toy, tmp_path):
    path = source_path(tmp_path / "course")
    nb = nbformat.read(path, as_version=4)
    find(nb, "setup").source = "import no_such_module"
    nbformat.write(nb, path)
    with pytest.raises(RuntimeError, match="no_such_module"):
        toy().run("mean", "mean = None")
