"""The checker itself: one tiny notebook for each thing that can be wrong gets exactly its remark, a clean one gets none."""
from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_hygiene import remarks

ALT = {"mystnb": {"image": {"alt": "Two bars, the left one higher."}}}
FOLDED = "<details><summary>Why?</summary>Because.</details>\n"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def picture(size: int = 100) -> NotebookNode:
    return new_output("display_data", data={"image/png": base64.b64encode(b"x" * size).decode(), "text/plain": "<Figure>"})


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def lesson() -> NotebookNode:
    """A clean lesson."""
    cells = [
        new_markdown_cell("# Does it transfer?\n\nPrerequisites: none. It takes 10 minutes.", id="title"),
        new_code_cell("from helpers import config\n\nconfig.start(seed=0)", id="setup", outputs=[printed("seed 0")]),
        new_markdown_cell("**Predict**: which is higher?", id="predict"),
        new_code_cell("plot()", id="figure", metadata=ALT, outputs=[picture()]),
        new_code_cell("# NBVAL_CHECK_OUTPUT\nassert 2 > 1\nprint('higher: True')", id="claim", outputs=[printed("higher: True")]),
        new_markdown_cell("## When it fails\n\nOften.", id="fails"),
        new_markdown_cell(f"## Self-check\n\n{FOLDED * 3}", id="check"),
        new_markdown_cell("## Now you\n\n## Go bigger\n\n## References\n\n- Kumar et al. 2022, arXiv:2202.10054", id="end"),
    ]
    number = 0
    for cell in cells:
        if cell.cell_type == "code":
            number += 1
            cell.execution_count = number
    return new_notebook(cells=cells, metadata=KERNEL)


def graded(identity: str, source: str, **about: object) -> NotebookNode:
    about = {"schema_version": 3, "grade_id": identity, "grade": False, "solution": False, "locked": True, "task": False, **about}
    return new_code_cell(source, id=identity.replace("_", "-"), metadata={"nbgrader": about})


def solution() -> NotebookNode:
    """A clean exercise notebook."""
    cells = [
        new_markdown_cell("### Exercise 1 · One (2 points)", id="heading"),
        graded("one", "def one():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", solution=True, locked=False),
        graded("test_one", 'assert one() == 1, "one() is not 1: look at what it returns"', grade=True, points=2),
    ]
    return new_notebook(cells=cells, metadata=KERNEL)


def cell(notebook: NotebookNode, identity: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == identity)


def adds(identity: str, text: str) -> Callable[[NotebookNode], None]:
    """Add text to the end of a cell."""
    def change(notebook: NotebookNode) -> None:
        cell(notebook, identity).source += text
    return change


def swaps(identity: str, old: str, new: str) -> Callable[[NotebookNode], None]:
    """Replace text in a cell."""
    def change(notebook: NotebookNode) -> None:
        assert old in cell(notebook, identity).source
        cell(notebook, identity).source = cell(notebook, identity).source.replace(old, new)
    return change


def outputs(identity: str, *new: NotebookNode) -> Callable[[NotebookNode], None]:
    """Replace the outputs of a cell."""
    def change(notebook: NotebookNode) -> None:
        cell(notebook, identity).outputs = list(new)
    return change


def sets(identity: str, **values: object) -> Callable[[NotebookNode], None]:
    """Set attributes of a cell."""
    def change(notebook: NotebookNode) -> None:
        cell(notebook, identity).update(values)
    return change


def widget() -> NotebookNode:
    return new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "?"})


LESSONS = {
    "the format is not 4.5": lambda nb: nb.update(nbformat_minor=4),
    "a cell has no id": lambda nb: cell(nb, "fails").pop("id"),
    "the cell id 'setup' is used more than once": sets("fails", id="setup"),
    "not a valid notebook": sets("fails", cell_type="poem"),
    "the kernel is not python3": lambda nb: nb.metadata.kernelspec.update(name="my-env"),
    "the state of widgets": lambda nb: nb.metadata.update(widgets={}),
    "cell setup: an absolute path in its text": adds("setup", "\nfolder = '/home/ann/data'"),
    "cell fails: an absolute path in its text": adds("fails", r" C:\Users\ann"),
    "cell figure: import * in its code": adds("figure", "\nfrom numpy import *"),
    "cell figure: a shell command": adds("figure", "\n!ls"),
    "cell figure: an installation": adds("figure", "\n%pip install numpy"),
    "cell figure: a download": adds("figure", "\nimport urllib.request"),
    "cell figure: a line of 131 characters": adds("figure", "\n#" + "x" * 130),
    "cell figure: times of execution": sets("figure", metadata={**ALT, "execution": {"iopub.execute_input": "2020"}}),
    "not numbered 1 to n": sets("figure", execution_count=7),
    "does not call config.start": swaps("setup", "config.start(seed=0)", "pass"),
    "cell figure: 20 lines of code": adds("figure", "\n\nx = 1" * 19),
    "cell figure: the answer of its prediction can be read": adds("figure", "\npredict('?', ['a', 'b'], 0, 'so')"),
    "cell figure: it failed": outputs("figure", new_output("error", ename="E", evalue="e", traceback=[])),
    "cell setup: output on standard error": outputs("setup", printed("oh", "stderr")),
    "cell setup: a warning": outputs("setup", printed("x.py:3: UserWarning: old\n")),
    "cell setup: what a progress bar left in its output": outputs("setup", printed("7/9 [00:01<00:00, 3.2it/s]")),
    "cell setup: what a progress bar left": outputs("setup", printed("1 of 2\r2 of 2")),
    "cell setup: an absolute path in its output": outputs("setup", printed("read /tmp/x.npy")),
    "cell setup: an object's address": outputs("setup", printed("<Thing at 0x7f00aa>")),
    "cell setup: a stored widget view": outputs("setup", widget()),
    "cell figure: an image of 97 KB, more than 80": outputs("figure", picture(100_000)),
    "cell figure: an image without alt text": sets("figure", metadata={}),
    "cell claim: # NBVAL_CHECK_OUTPUT must be a line of its own": swaps("claim", "# NBVAL_CHECK_OUTPUT\nassert 2 > 1",
                                                                        "assert 2 > 1  # NBVAL_CHECK_OUTPUT"),
    "cell claim: a claim without an assertion": swaps("claim", "assert 2 > 1", "2 > 1"),
    "cell claim: a claim that prints nothing": outputs("claim"),
    "no cell is marked": swaps("claim", "# NBVAL_CHECK_OUTPUT", "# a claim"),
    "the title is not a question": swaps("title", "transfer?", "transfer"),
    "does not name the prerequisites": swaps("title", "Prerequisites: none.", ""),
    "does not say how many minutes": swaps("title", "10 minutes", "long"),
    "nothing to predict": swaps("predict", "**Predict**", "Guess"),
    "there is no section 'When it fails'": swaps("fails", "When it fails", "Limits"),
    "there is no section 'Self-check'": swaps("check", "Self-check", "Questions"),
    "there is no section 'Now you'": swaps("end", "Now you", "Then"),
    "there is no section 'Go bigger'": swaps("end", "Go bigger", "Then"),
    "there is no section 'References'": swaps("end", "References", "Reading"),
    "the self-check has 2 folded answers": swaps("check", FOLDED * 3, FOLDED * 2),
    "the references have no DOI or arXiv number": swaps("end", "arXiv:2202.10054", "a paper"),
}
SOLUTIONS = {
    "cell one: an exercise is stored without outputs": outputs("one", printed("x")),
    "cell one: an exercise is stored without outputs and numbers": sets("one", execution_count=1),
    "cell test-one: the assertion in line 1 does not say what is wrong": sets("test-one", source="assert one() == 1"),
    "its test cells give 1: make them agree": lambda nb: cell(nb, "test-one").metadata.nbgrader.update(points=1),
    "lacks ### BEGIN SOLUTION or ### END SOLUTION": swaps("one", "### END SOLUTION", ""),
}


def check(notebook: NotebookNode, path: Path) -> list[str]:
    """The remarks on a notebook, written as it is: nbformat would put some faults right."""
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return remarks(path)


@pytest.mark.parametrize("remark", LESSONS)
def test_each_fault_of_a_lesson_gets_its_remark_and_no_other(tmp_path, remark):
    notebook = lesson()
    LESSONS[remark](notebook)
    found = check(notebook, tmp_path / "00_lesson.ipynb")
    assert len(found) == 1 and remark in found[0], found


@pytest.mark.parametrize("remark", SOLUTIONS)
def test_each_fault_of_a_solution_gets_its_remark_and_no_other(tmp_path, remark):
    notebook = solution()
    SOLUTIONS[remark](notebook)
    found = check(notebook, tmp_path / "exercises_00.ipynb")
    assert len(found) == 1 and remark in found[0], found


def test_clean_notebooks_get_no_remark(tmp_path):
    assert check(lesson(), tmp_path / "00_lesson.ipynb") == []
    assert check(solution(), tmp_path / "exercises_00.ipynb") == []


def test_a_file_that_is_no_notebook_gets_a_remark(tmp_path):
    (tmp_path / "00_lesson.ipynb").write_text("{", encoding="utf-8")
    assert ["not a valid notebook" in remark for remark in remarks(tmp_path / "00_lesson.ipynb")] == [True]


def test_paths_in_addresses_on_the_web_are_not_absolute_paths(tmp_path):
    notebook = lesson()
    adds("end", "\n\nhttps://example.org/home/page, lessons/tmp/x, and `and/or`")(notebook)
    assert check(notebook, tmp_path / "00_lesson.ipynb") == []
