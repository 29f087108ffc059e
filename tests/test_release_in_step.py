"""The committed exercise notebooks are what `python -m helpers release` makes of the solutions."""
import pytest

from helpers.grading.course import Course
from helpers.grading.release import expected

COURSE = Course()


def test_every_solution_is_released_and_every_release_has_a_solution():
    solutions = {path.name for path in (COURSE.root / "solutions").iterdir() if path.is_dir()}
    released = {path.parent.name for path in (COURSE.root / "lessons" / "exercises").glob("*/exercises_??.ipynb")}
    assert solutions == set(COURSE.lessons()) == released
    assert solutions, "solutions/ holds no exercises"


@pytest.mark.parametrize("lesson", COURSE.lessons())
def test_the_release_is_in_step_with_the_solution(lesson):
    released = COURSE.released(lesson).read_text(encoding="utf-8")
    assert released == expected(lesson), f"run `python -m helpers release {lesson}`"
