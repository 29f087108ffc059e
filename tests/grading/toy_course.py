"""A course of one small lesson, written by code into a temporary folder, with the shipped nbgrader configuration."""
from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import config

LESSON = "01_toy"
REPOSITORY = config.ROOT

MEAN = """def mean(numbers):
    ### BEGIN SOLUTION
    if not numbers:
        raise ValueError("no numbers")
    return sum(numbers) / len(numbers)
    ### END SOLUTION"""
TEST_MEAN = """assert mean([1, 2, 3]) == 2, "mean([1, 2, 3]) is not 2: divide the sum by how many there are"
### BEGIN HIDDEN TESTS
assert mean([4]) == 4, "one number is its own mean: look at the divisor"
### END HIDDEN TESTS"""
TEST_EMPTY = """try:
    mean([])
except ValueError:
    pass
else:
    raise AssertionError("the mean of no number was accepted: raise a ValueError")"""
SQUARES = """def square(number):
    ### BEGIN SOLUTION
    return number ** 2
    ### END SOLUTION"""
TEST_SQUARES = """right = [square(n) == n * n for n in (0, 1, 2, -3)]
print(f"{sum(right)} of 4 squares are right: try a negative number")
3 * sum(right) / 4"""
CHOICE = """### BEGIN SOLUTION
choice = "letters"
### END SOLUTION"""
TEST_CHOICE = 'assert choice == "letters", f"{choice!r} is not the better source: compare the curves"'
HEADINGS = ("### Exercise 1 · Mean (3 points)", "### Exercise 2 · Squares (3 points)", "### Exercise 3 · Choice (1 point)")


def cell(identity: str, source: str, points: float | None = None, solution: bool = False) -> NotebookNode:
    """A code cell with nbgrader metadata: an answer, a test with points, or else a locked set-up cell."""
    about = {"schema_version": 3, "grade_id": identity, "grade": points is not None, "solution": solution, "task": False,
             "locked": not solution, "cell_type": "code"} | ({} if points is None else {"points": points})
    return new_code_cell(source, id=identity.replace("_", "-"), metadata={"nbgrader": about})


def source_notebook() -> NotebookNode:
    """Three exercises: two test cells with hidden tests; partial credit; a choice made at the top level."""
    cells = [
        new_markdown_cell("# Toy exercises", id="title"),
        cell("setup", "import sys"),
        new_markdown_cell(HEADINGS[0], id="h1"),
        cell("mean", MEAN, solution=True),
        cell("test_mean", TEST_MEAN, points=2),
        cell("test_mean_empty", TEST_EMPTY, points=1),
        new_markdown_cell(HEADINGS[1], id="h2"),
        cell("square", SQUARES, solution=True),
        cell("test_square", TEST_SQUARES, points=3),
        new_markdown_cell(HEADINGS[2], id="h3"),
        cell("choice", CHOICE, solution=True),
        cell("test_choice", TEST_CHOICE, points=1),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}})


def write_course(root: Path) -> Path:
    """Write the course into `root`, not yet released; returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "nbgrader_config.py", root)
    (root / "solutions" / LESSON).mkdir(parents=True)
    nbformat.write(source_notebook(), source_path(root))
    return root


def source_path(root: Path) -> Path:
    return root / "solutions" / LESSON / "exercises_01.ipynb"


def released_path(root: Path) -> Path:
    return root / "lessons" / "exercises" / LESSON / "exercises_01.ipynb"


def find(nb: NotebookNode, name: str) -> NotebookNode:
    """The cell with this grade_id."""
    return next(cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name)


SOLVED = {
    "mean": MEAN.replace("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION", ""),
    "square": "def square(number):\n    return number * number",
    "choice": "choice = 'letters'",
}


def answer(root: Path, answers: dict[str, str], target: Path | None = None) -> NotebookNode:
    """Write answers into the learner's notebook, or into a copy of it at `target`; returns the notebook."""
    nb = nbformat.read(released_path(root), as_version=4)
    for name, text in answers.items():
        find(nb, name).source = text
    nbformat.write(nb, target or released_path(root))
    return nb
