"""`check`, `nbgrader autograde` and `nbgrader validate` say the same of a notebook, with the shipped configuration."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.validator import Validator
from toy_course import LESSON, REPOSITORY, SOLVED, answer, find, released_path

from helpers.grading.check import grade
from helpers.grading.course import Course, collected_log

NOISE = """import logging, os, subprocess, sys, warnings
warnings.warn("a warning")
print("to stderr", file=sys.stderr)
logging.getLogger("x").warning("a log line")
def mean(numbers):
    warnings.warn("another")
    print("in the test cell", file=sys.stderr)
    logging.warning("and this")
    os.write(2, b"from C\\n")
    subprocess.run([sys.executable, "-c", "import sys; sys.exit('from a child process')"])
    if not numbers:
        raise ValueError("none")
    return sum(numbers) / len(numbers)"""


def deleted_test(nb):
    nb.cells.remove(find(nb, "test_mean"))


def duplicated_answer(nb):
    twin = nbformat.from_dict(dict(find(nb, "mean")))
    twin.id = "twin"
    nb.cells.insert(nb.cells.index(find(nb, "mean")), twin)


# Per notebook: answers, change of the notebook, score, and what Validate says (it sees the visible tests, and only them).
CASES = {
    "solved": (SOLVED, None, 7, "passes"),
    "untouched": ({}, None, 0, "fails"),
    "partial": ({"mean": SOLVED["mean"], "square": "def square(n):\n    return n * abs(n)"}, None, 5.25, "fails"),
    "wrong": ({"mean": "def mean(n):\n    return 0", "square": "def square(n):\n    return -1", "choice": "choice = 'noise'"},
              None, 0, "fails"),
    "wrong_for_hidden_tests": (SOLVED | {"mean": SOLVED["mean"].replace("/ len(numbers)", "/ 3")}, None, 5, "passes"),
    "stderr": (SOLVED | {"mean": NOISE}, None, 7, "passes"),
    "deleted_test": (SOLVED | {"mean": "def mean(n):\n    return 0"}, deleted_test, 4, "fails"),
    "duplicated_answer": (SOLVED, duplicated_answer, 7, "stops"),
    "dead_kernel": (SOLVED | {"square": "import os; os._exit(1)"}, None, 3, "stops"),
}


@pytest.fixture(autouse=True)
def as_outside_of_pytest(monkeypatch):
    """With this variable a kernel does not read what is written to the file descriptor 2, as it does for a learner."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)


@pytest.fixture(scope="module")
def submissions(pristine, tmp_path_factory):
    """The course with one submission per case, graded by nbgrader in one go; returns its folder and {case: score}."""
    root = shutil.copytree(pristine, tmp_path_factory.mktemp("agree") / "course")
    for name, (answers, change, _, _) in CASES.items():
        path = root / "classroom" / "submitted" / name / LESSON / "exercises_01.ipynb"
        path.parent.mkdir(parents=True)
        nb = answer(root, answers, path)
        if change:
            change(nb)
            nbformat.write(nb, path)
    graded = nbgrader(root, "autograde", LESSON)
    assert graded.returncode == 0, graded.stderr
    with Gradebook(Course(root).settings().CourseDirectory.db_url) as gradebook:
        return root, {name: gradebook.find_submission(LESSON, name).score for name in CASES}


def submitted(root: Path, name: str) -> Path:
    return root / "classroom" / "submitted" / name / LESSON / "exercises_01.ipynb"


@pytest.mark.parametrize("name", CASES)
def test_check_scores_as_autograde_does(submissions, monkeypatch, name):
    monkeypatch.setenv("COURSE_PROGRESS", "0")
    root, graded = submissions
    outcome, _ = grade(Course(root), LESSON, submitted(root, name))
    assert sum(item.score for item in outcome) == graded[name] == CASES[name][2]


@pytest.mark.parametrize("name", CASES)
def test_validate_passes_and_fails_with_them(submissions, name):
    root, graded = submissions
    validator = Validator(config=Course(root).settings())
    with collected_log():
        if CASES[name][3] == "stops":
            with pytest.raises(Exception, match="Kernel died|failed to validate"):
                validator.validate(str(submitted(root, name)))
            return
        problems = validator.validate(str(submitted(root, name)))
    assert bool(problems) == (CASES[name][3] == "fails"), problems
    if graded[name] == 7:
        assert not problems


def nbgrader(root, *arguments):
    """Run the real command from the course's folder."""
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    env.pop("PYTEST_CURRENT_TEST", None)
    return subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=root, env=env, capture_output=True, text=True)


def test_the_validate_command_works_from_the_folder_of_the_course(course):
    answer(course, SOLVED | {"mean": NOISE})
    validated = nbgrader(course, "validate", released_path(course).relative_to(course).as_posix())
    assert "Success! Your notebook passes all the tests." in validated.stdout, validated.stderr


def test_the_validate_button_reads_the_configuration(course, monkeypatch):
    """The server extension behind the button finds nbgrader_config.py in the server's folder."""
    from nbgrader.server_extensions.validate_assignment.handlers import ValidateAssignmentHandler

    class Button(ValidateAssignmentHandler):
        def __init__(self):
            pass

        root_dir = str(course)

    answer(course, SOLVED | {"mean": NOISE})
    monkeypatch.chdir(course)
    # Not with another sys.stderr: the application closes the logging handlers it finds, and TensorFlow's would close pytest's own stream.
    with collected_log():
        config = Button().load_config()
        assert config.Execute.timeout == Course(course).settings().Execute.timeout
        assert Validator(config=config).validate(str(released_path(course))) == {}
