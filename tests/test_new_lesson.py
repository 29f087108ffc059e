"""A lesson from the template: everything about it passes already, names are checked, and a failure leaves nothing behind."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from exercise_harness import Lesson
from nbformat.v4 import new_code_cell, new_notebook
from notebook_hygiene import remarks

from helpers import config, new_lesson, notebooks
from helpers.errors import CourseError
from helpers.grading.course import Course
from helpers.grading.feedback import NOT_ANSWERED
from helpers.grading.release import expected


def empty_course(root: Path) -> Path:
    """A course with one lesson, 00_zero, and no exercises."""
    (root / "lessons").mkdir(parents=True)
    (root / "lessons" / "00_zero.ipynb").write_text("{}", encoding="utf-8")
    shutil.copy(config.ROOT / "nbgrader_config.py", root)
    return root


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and "classroom" not in path.parts}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A course with the new lesson 23_my_topic."""
    root = empty_course(tmp_path_factory.mktemp("new") / "course")
    assert new_lesson.new("23_my_topic", root) == 0
    return root


def test_it_makes_four_files_that_say_their_name(made):
    new = {"lessons/23_my_topic.ipynb", "solutions/23_my_topic/exercises_23.ipynb", "tests/exercises/lesson_23.py",
           "lessons/exercises/23_my_topic/exercises_23.ipynb"}
    assert files(made) == {"lessons/00_zero.ipynb", "nbgrader_config.py", *new}
    for name in new:
        text = (made / name).read_text(encoding="utf-8")
        assert "@" not in text.replace("@ vectors", "") or name.startswith("tests"), f"{name} holds a placeholder"
        assert "23" in text


def test_the_notebooks_are_clean_and_stored_executed(made):
    assert remarks(made / "lessons" / "23_my_topic.ipynb") == []
    assert remarks(made / "solutions" / "23_my_topic" / "exercises_23.ipynb") == []
    assert Course(made).released("23_my_topic").read_text(encoding="utf-8") == expected("23_my_topic", made)


def test_its_answers_are_graded_as_they_must_be(made):
    lesson = Lesson("23_my_topic", Course(made), made / "tests" / "exercises")
    assert set(lesson.wrong) == set(lesson.right) == {exercise.name for exercise in lesson.exercises}
    for exercise in lesson.exercises:
        solved = lesson.run(exercise.name)
        assert solved.score == solved.max_score == exercise.max_score, solved.failures
        untouched = lesson.run(exercise.name, lesson.stubs[exercise.name])
        assert untouched.score == 0 and {message for _, message in untouched.failures} == {NOT_ANSWERED}
        assert len(lesson.wrong[exercise.name]) >= 3
        for what, answer in lesson.wrong[exercise.name].items():
            outcome = lesson.run(exercise.name, answer)
            assert outcome.score < outcome.max_score, what
            assert {kind for kind, _ in outcome.failures} <= {"AssertionError", "ValueError", ""}, (what, outcome.failures)
        for what, answer in lesson.right[exercise.name].items():
            assert lesson.run(exercise.name, answer).score == exercise.max_score, what


@pytest.mark.parametrize(("name", "said"), [
    ("my_topic", "take two digits"), ("1_topic", "take two digits"), ("24_My Topic", "take two digits"), ("24_", "take two digits"),
    ("../24_topic", "take two digits"), ("24_topic\n", "take two digits"),
    ("23_other", "01 is the next free number \\(01_other\\)"), ("00_other", "there is a lesson 00 already"),
])
def test_a_name_that_cannot_be_used_is_refused_and_nothing_changes(made, name, said):
    before = files(made)
    with pytest.raises(CourseError, match=said):
        new_lesson.new(name, made)
    assert files(made) == before


@pytest.mark.parametrize("failing", ["run", "release"])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, failing):
    root = empty_course(tmp_path / "course")
    before = files(root)

    def execute(path: Path) -> notebooks.Run:
        return notebooks.Run(new_notebook(cells=[new_code_cell("1")]), failure="cell 1: no" if failing == "run" else None)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setattr("helpers.grading.release.release", full)
    with pytest.raises(CourseError, match="cell 1: no" if failing == "run" else "No space left .*check the permissions"):
        new_lesson.new("23_my_topic", root)
    assert files(root) == before
