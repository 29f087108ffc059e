"""Find, execute and time the notebooks of the course without a browser."""
from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import config
from helpers.errors import CourseError

if TYPE_CHECKING:
    from nbformat import NotebookNode

CLAIM = "# NBVAL_CHECK_OUTPUT"
PREDICTION = re.compile(r"^predict\(", re.MULTILINE)
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def lessons() -> list[Path]:
    """The lesson notebooks, in the order of the course."""
    return sorted((config.ROOT / "lessons").glob("[0-9][0-9]_*.ipynb"))


def solutions() -> list[Path]:
    """The notebooks with the exercises and their solutions, in the order of the course."""
    return sorted((config.ROOT / "solutions").glob("[0-9][0-9]_*/exercises_[0-9][0-9].ipynb"))


def lesson_name(lesson: str) -> str:
    """The name of a lesson given as "1", "01" or "01_what_transfers". Raises ValueError with the lessons that exist."""
    return find_lesson(lesson).stem


def find_lesson(lesson: str) -> Path:
    """The notebook of a lesson given as "1", "01" or "01_what_transfers". Raises ValueError with the lessons that exist."""
    found = lessons()
    wanted = lesson.removesuffix(".ipynb")
    for path in found:
        number = path.stem.split("_")[0]
        if wanted == path.stem or (wanted.isdecimal() and int(wanted) == int(number)):
            return path
    names = ", ".join(path.stem for path in found) or "(none yet)"
    raise ValueError(f"there is no lesson {lesson!r}: choose one of {names}")


@dataclass
class Run:
    """What came of executing a notebook: its outputs, what it claims, what it cost, and why it failed (None when it did not)."""

    notebook: NotebookNode
    claims: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_bytes: int = 0
    failure: str | None = None


def run(lesson: str, save: bool = False) -> int:
    """Execute a lesson, or the notebook at a path, in a fresh kernel; print its claims, time and memory.

    Returns 0, or 1 when a cell fails.
    save: store the executed notebook, cleaned, in place of the old one; a notebook that fails is never stored.
    Raises ValueError when there is no such lesson, CourseError when the file cannot be read as a notebook.
    """
    # "lessons/01_what_transfers.ipynb" is a path, "01_what_transfers.ipynb" may be either.
    path = Path(lesson) if len(Path(lesson).parts) > 1 or Path(lesson).is_file() else find_lesson(lesson)
    result = execute(path)
    for line in result.claims:
        print(f"  {line}")
    from helpers import measure

    cost = measure.in_words(result.seconds, result.peak_bytes)
    if result.failure:
        print(f"{path.stem} failed after {cost}\n{result.failure}")
        return 1
    print(f"{path.stem}: {cost}")
    if save:
        for remark in clean(result.notebook):
            print(f"note: {remark}", file=sys.stderr)
        write(result.notebook, path)
    return 0


def execute(path: Path, **settings: str) -> Run:
    """Execute a notebook in a fresh kernel that works in the notebook's folder, with a progress bar on standard error.

    settings: environment variables for the kernel. The file is not changed. Raises CourseError when it cannot be read.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from tqdm import tqdm

    from helpers import measure

    notebook = read(path)
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", store_widget_state=False, record_timing=False,
                            shutdown_kernel="immediate", extra_arguments=["--log-level=ERROR"],
                            resources={"metadata": {"path": str(path.resolve().parent)}})
    environment = {**os.environ, "COURSE_PROGRESS": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1", **settings}
    cells = [(place, cell) for place, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    result, meter = Run(notebook), measure.Meter()
    bar = tqdm(cells, desc=path.stem, unit="cell", leave=False, file=sys.stderr, disable=os.environ.get("COURSE_PROGRESS") == "0")
    with bar, client.setup_kernel(env=environment):
        meter.start(client.km.provisioner.pid)
        client.nb.metadata["language_info"] = {"name": "python"}
        for count, (place, cell) in enumerate(bar, start=1):
            try:
                client.execute_cell(cell, place, execution_count=count)
            except CellExecutionError as error:
                result.failure = _failure(count, cell, f"{error.ename}: {error.evalue}")
            except DeadKernelError:
                result.failure = _failure(count, cell, "the kernel died (out of memory?)")
            if result.failure:
                break
            if CLAIM in cell.source:
                result.claims += _printed(cell)
        meter.stop()
    result.seconds, result.peak_bytes = meter.seconds, meter.peak_bytes
    return result


def read(path: Path) -> NotebookNode:
    """The notebook at `path`. Raises CourseError when there is none."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    except Exception as error:  # nbformat raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise CourseError(f"{path} is not a notebook ({reason}): open and save it in JupyterLab, or go back to a copy") from None


def _printed(cell: NotebookNode) -> list[str]:
    """The lines that a cell printed."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")
    return [line for line in text.splitlines() if line.strip()]


def _failure(count: int, cell: NotebookNode, reason: str) -> str:
    """A few lines that name the cell and say what happened."""
    first = next(line for line in cell.source.splitlines() if line.strip())
    return "\n".join([f"  cell {count} (id {cell.get('id', '-')}), which starts with: {first[:90]}",
                      *(f"    {line[:200]}" for line in reason.strip().splitlines()[:5])])


def clean(notebook: NotebookNode) -> list[str]:
    """Make an executed notebook fit to be stored, in place; returns a remark for each output on standard error that was dropped.

    Kept: ids, sources, outputs, execution counts. Dropped: standard error, widget state and views (their ids change with each
    run), times of execution. A line that was redrawn with a carriage return keeps its last state. The source of a prediction is
    hidden, since it holds the answer.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(KERNELSPEC)
    notebook.metadata["language_info"] = {"name": "python"}
    remarks = []
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if PREDICTION.search(cell.source):
            cell.metadata.setdefault("jupyter", {})["source_hidden"] = True
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "hide-input"})  # for web pages
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream":
                if output.name == "stderr":
                    remarks.append(f"cell {cell.execution_count} wrote on standard error: {output.text.strip()[:120]}")
                    continue
                output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
                if not output.text.strip():
                    continue
                if kept and kept[-1].get("name") == output.name:  # what was between them was dropped
                    kept[-1].text += output.text
                    continue
            elif "data" in output:
                output.data.pop(WIDGET, None)
            kept.append(output)
        cell.outputs = kept
    return remarks


def write(notebook: NotebookNode, path: Path) -> None:
    """Store a notebook so that the old file stays whole until the new one is complete."""
    import nbformat

    text = nbformat.writes(notebook)
    replace(path, text if text.endswith("\n") else text + "\n")


def replace(path: Path, text: str) -> None:
    """Put `text` in the place of the file's content at one stroke."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(part, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def times(write: bool, chosen: Sequence[str] = ()) -> int:
    """Measure notebooks on two cores with an empty cache and print the table; returns 1 if a notebook fails.

    write: also put the table into README.md, unless a notebook failed. chosen: only these lessons (none: all).
    """
    from helpers import times as table

    return table.times(write, chosen)
