"""Run a notebook for grading so that nothing in a learner's cell can lose the points of another."""
from __future__ import annotations

import math
import os
import subprocess
from time import monotonic

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade
from traitlets import Any

from helpers.grading.course import grade_id

# `COURSE_CELL_SECONDS` raises the limits on a slow machine.
CELL_SECONDS = int(os.environ.get("COURSE_CELL_SECONDS", "60"))
SETUP_SECONDS = 2 * CELL_SECONDS  # the first import of torch after a start of the machine
TOTAL_SECONDS = 10 * CELL_SECONDS  # a cell of a notebook that has not started by then is not run
NOT_RUN = "NotRun"


def seconds_allowed(cell: NotebookNode) -> int:
    """How long a cell may run: `CELL_SECONDS`, or `SETUP_SECONDS` for a locked cell that is no test."""
    about = cell.metadata.get("nbgrader", {})
    return SETUP_SECONDS if about.get("locked") and not about.get("grade") else CELL_SECONDS


class GradingExecute(Execute):
    """nbgrader's Execute that keeps what was scored before a kernel dies or hangs, and has a limit for the whole notebook."""

    on_progress = Any(None, help="Called before each cell with the number of cells done and in all")

    def preprocess(self, nb: NotebookNode, resources: dict | None = None, km=None) -> tuple[NotebookNode, dict]:
        self._stopped, self._deadline = "", monotonic() + TOTAL_SECONDS
        nb, resources = super().preprocess(nb, resources, km=km)
        for cell in nb.cells:
            settle(cell)
        return nb, resources

    async def async_start_new_kernel(self, **kwargs) -> None:
        # What a C library or a child process writes goes past sys.stdout: it must reach neither the terminal nor `check --json`.
        await super().async_start_new_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kwargs)

    start_new_kernel = run_sync(async_start_new_kernel)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if self.on_progress:
            self.on_progress(index, len(self.nb.cells))
        if cell.cell_type != "code" or not cell.source.strip():
            return cell, resources
        if not self._stopped and monotonic() > self._deadline:
            self._stopped = f"not run: the notebook took more than {TOTAL_SECONDS} s in all; make its slow cells faster"
        if self._stopped:
            cell.outputs = [_error(NOT_RUN, self._stopped)]
            return cell, resources
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self._stop(cell, "ended the Python process (os._exit, or out of memory?)")
        except CellTimeoutError:
            self._stop(cell, f"did not stop after {seconds_allowed(cell)} s, nor when interrupted (an endless loop?)")
        return cell, resources

    def on_cell_executed(self, **kwargs) -> None:
        super().on_cell_executed(**kwargs)
        # `exit()` ends the kernel only after its cell has answered.
        if any(note.get("source") == "ask_exit" for note in kwargs["execute_reply"]["content"].get("payload", [])):
            self._stop(kwargs["cell"], "ended the Python process with exit()")

    def _stop(self, cell: NotebookNode, what: str) -> None:
        """Give up on the cells that follow, and put the reason into the outputs of this one and of those."""
        name, first = grade_id(cell), cell.source.strip().splitlines()[0]
        where = f"the cell `{name}`" if name else f"the cell that starts with `{first[:60]}`"
        self._stopped = f"not run: {where} {what}; what ran before it was graded"
        cell.outputs = [*cell.outputs, _error(NOT_RUN, self._stopped)]


def _error(name: str, message: str) -> NotebookNode:
    return new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])


def settle(cell: NotebookNode) -> None:
    """Change the outputs of a cell, in place, so that nbgrader scores them as the course means it.

    Output on stderr is dropped (nbgrader scores it 0). A partial score that is not between 0 and the maximum becomes an error:
    nbgrader would give full marks for a negative one or NaN, and stop at one above the maximum.
    """
    if cell.cell_type != "code":
        return
    cell.outputs = [out for out in cell.outputs if not (out.output_type == "stream" and out.name == "stderr")]
    if not is_grade(cell):
        return
    most = float(cell.metadata.nbgrader["points"])
    for place, output in enumerate(cell.outputs):
        if output.output_type != "execute_result":
            continue
        try:
            score = float(output.data.get("text/plain", ""))
        except ValueError:
            continue
        if math.isnan(score) or not 0 <= score <= most:
            reason = f"the test gave {score:g} of {most:g} points: your code returns something out of range"
            cell.outputs[place] = _error("ScoreError", reason)
