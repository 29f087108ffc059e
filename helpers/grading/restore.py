"""Put a learner's notebook in order before it is graded: test cells as the course wrote them, each cell once and in place."""
from __future__ import annotations

import copy
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, NbGraderPreprocessor
from nbgrader.utils import compute_checksum, is_grade, is_solution
from traitlets import Unicode

from helpers.grading.course import Course, grade_id


def restore(nb: NotebookNode, master: NotebookNode) -> list[str]:
    """Make `nb` gradable in place, against `master` (`Course.master`); returns what was put right, one sentence each.

    Answers are kept as they are. Test and set-up cells that nbgrader locks get the master's text, hidden tests included; missing
    ones are put back; of a cell that is there twice the last one counts and the other is run as an ordinary cell.
    """
    wanted = {grade_id(cell): cell for cell in master.cells if grade_id(cell)}
    # A test cell as released, of a name that there is no more: the test was renamed since.
    old_release = any(grade_id(cell) and grade_id(cell) not in wanted and _is_unedited(cell) for cell in nb.cells)
    notes = _name_once(nb, wanted)
    present = {grade_id(cell): cell for cell in nb.cells if grade_id(cell)}
    for name, cell in present.items():
        if _differs(cell, wanted[name]):
            if _is_unedited(cell):
                old_release = True
            else:
                notes.append(f"the {_kind(wanted[name])} cell `{name}` was changed: it is run as the course wrote it")
        if cell.cell_type != wanted[name].cell_type:
            notes.append(f"the cell `{name}` was turned into a {cell.cell_type} cell: it is "
                         f"{'run as code' if wanted[name].cell_type == 'code' else 'taken as text'}")
        _reset(cell, wanted[name])
    notes += _put_back(nb, wanted, present)
    if old_release:
        notes.insert(0, "this notebook is from an older release: it is graded with today's tests; "
                        "`python -m helpers release` brings today's text and keeps a dated copy of your answers")
    nb.metadata["kernelspec"] = copy.deepcopy(master.metadata.get("kernelspec", {"name": "python3", "display_name": "Python 3"}))
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notes


def _name_once(nb: NotebookNode, wanted: dict[str, NotebookNode]) -> list[str]:
    """Leave each name on one cell only, the last (as nbgrader does), and drop names that the lesson does not have."""
    notes, seen = [], set()
    for cell in reversed(nb.cells):
        name = grade_id(cell)
        if name in wanted and name not in seen:
            seen.add(name)
        elif cell.metadata.pop("nbgrader", None) is not None and name:
            notes.append(f"the cell `{name}` is in the notebook twice: the last one counts" if name in wanted
                         else f"the cell `{name}` does not belong to these exercises: it gives no points")
    return notes[::-1]


def _kind(cell: NotebookNode) -> str:
    return "test" if is_grade(cell) else "set-up"


def visible(cell: NotebookNode) -> str:
    """The text of a master cell as it was released."""
    shown = NotebookNode(cells=[copy.deepcopy(cell)], metadata={})
    return ClearHiddenTests().preprocess(shown, {})[0].cells[0].source


def _differs(cell: NotebookNode, wanted: NotebookNode) -> bool:
    return not is_solution(wanted) and cell.source not in (visible(wanted), wanted.source)


def _is_unedited(cell: NotebookNode) -> bool:
    """True when the cell still is what some release made of it: nbgrader's checksum, stored at release, agrees."""
    try:
        return cell.metadata["nbgrader"]["checksum"] == compute_checksum(cell)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def _reset(cell: NotebookNode, wanted: NotebookNode) -> None:
    """Give a cell the master's type and metadata and, unless it is an answer, its text."""
    if not is_solution(wanted):
        cell.source = wanted.source
    cell.cell_type = wanted.cell_type
    cell.metadata = copy.deepcopy(wanted.metadata)
    if cell.cell_type == "code":
        cell.pop("attachments", None)
        cell.outputs, cell.execution_count = [], None
    else:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)


def _put_back(nb: NotebookNode, wanted: dict[str, NotebookNode], present: dict[str, NotebookNode]) -> list[str]:
    """Insert the missing test and set-up cells where they belong; returns a note for each cell that was missing."""
    notes, order, ids = [], list(wanted), {cell.get("id") for cell in nb.cells}
    for position, name in enumerate(order):
        if name in present:
            continue
        if is_solution(wanted[name]):
            notes.append(f"the answer cell `{name}` is missing: run `python -m helpers release` for a fresh notebook "
                         "(a dated copy of this one is kept) and bring your answers over")
            continue
        notes.append(f"the {_kind(wanted[name])} cell `{name}` was missing: it was put back for grading")
        cell = copy.deepcopy(wanted[name])
        if cell.id in ids:
            cell.id = f"restored-{position}"
        before = next((present[other] for other in reversed(order[:position]) if other in present), None)
        after = next((present[other] for other in order[position:] if other in present), None)
        # By identity: cells compare equal when their content does.
        places = {id(other): index for index, other in enumerate(nb.cells)}
        place = places[id(before)] + 1 if before is not None else places[id(after)] if after is not None else len(nb.cells)
        nb.cells.insert(place, cell)
        present[name] = cell
    return notes


class RestoreCells(NbGraderPreprocessor):
    """`restore` as a step of `nbgrader autograde`, so that it grades what `check` grades."""

    root = Unicode("", help="The folder of the course; empty for the one that holds `helpers`").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        course = Course(Path(self.root) if self.root else None)
        lesson = resources["nbgrader"]["assignment"]
        if lesson in course.lessons() and resources["nbgrader"]["notebook"] == course.source(lesson).stem:
            for note in restore(nb, course.master(lesson)):
                self.log.warning(note)
        return nb, resources
