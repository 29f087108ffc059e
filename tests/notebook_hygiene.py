"""What a notebook of the course must look like. `remarks(path)` says, in one sentence each, where one does not."""
from __future__ import annotations

import ast
import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers.errors import CourseError

CLAIM = "# NBVAL_CHECK_OUTPUT"
LONGEST_CELL, LONGEST_LINE, LARGEST_IMAGE = 19, 130, 80 * 1024
ABSOLUTE_PATH = re.compile(r"(?<![\w./:~-])(?:/(?:home|root|tmp|Users)/[\w.-]+|[A-Za-z]:\\\\?[\w.-]+)")
PREDICTION = re.compile(r"^predict\(", re.MULTILINE)
FORBIDDEN_CODE = {
    "import *": re.compile(r"^\s*from\s+\S+\s+import\s+\*", re.MULTILINE),
    "a shell command": re.compile(r"^\s*(!|%%?(bash|sh|cmd|system|sx)\b)", re.MULTILINE),
    "an installation": re.compile(r"^\s*%(pip|conda|mamba|uv)\b", re.MULTILINE),
    "a download": re.compile(r"\b(wget|curl|urllib|urlretrieve)\b"),
}
FORBIDDEN_TEXT = {
    "a warning": re.compile(r"\b\w*Warning: |\bWARNING\b"),
    "what a progress bar left": re.compile(r"\r|\d(it/s|s/it)\b"),
    "an absolute path": ABSOLUTE_PATH,
    "an object's address, which changes with each run": re.compile(r"\bat 0x[0-9a-fA-F]+"),
}
SECTIONS = {
    "When it fails": re.compile(r"^#+ .*when it fails", re.IGNORECASE | re.MULTILINE),
    "Self-check": re.compile(r"^#+ .*self-check", re.IGNORECASE | re.MULTILINE),
    "Now you": re.compile(r"^#+ .*now you", re.IGNORECASE | re.MULTILINE),
    "Go bigger": re.compile(r"^#+ .*go bigger", re.IGNORECASE | re.MULTILINE),
    "References": re.compile(r"^#+ .*references", re.IGNORECASE | re.MULTILINE),
}
SOURCE_OF_TRUTH = re.compile(r"\b10\.\d{4,9}/\S+|arxiv[:/.]\s*(org/(abs|pdf)/)?\d{4}\.\d{4,5}", re.IGNORECASE)


def remarks(path: Path) -> list[str]:
    """What is wrong with a lesson, or with the source of exercises (a name that starts with "exercises_"); [] when nothing is."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text)
        if (raw.get("nbformat"), raw.get("nbformat_minor")) != (4, 5):
            return ["the format is not 4.5: save it in JupyterLab"]
        if not all(cell.get("id") for cell in raw["cells"]):
            return ["a cell has no id: save the notebook in JupyterLab"]
        if twice := [name for name, count in Counter(cell["id"] for cell in raw["cells"]).items() if count > 1]:
            return [f"the cell id {twice[0]!r} is used more than once"]
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        return [f"not a valid notebook: {str(error).splitlines()[0]}"]
    rules = _of_a_solution if path.name.startswith("exercises_") else _of_a_lesson
    return [*_of_both(notebook), *rules(notebook)]


def _of_both(notebook: NotebookNode) -> Iterator[str]:
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    if "widgets" in notebook.metadata:
        yield "the notebook holds the state of widgets"
    for cell in notebook.cells:
        if ABSOLUTE_PATH.search(cell.source):
            yield f"{_name(cell)}: an absolute path in its text"
    for cell in _code(notebook):
        for what, pattern in FORBIDDEN_CODE.items():
            if pattern.search(cell.source):
                yield f"{_name(cell)}: {what} in its code"
        for line in cell.source.splitlines():
            if len(line) > LONGEST_LINE:
                yield f"{_name(cell)}: a line of {len(line)} characters, more than {LONGEST_LINE}"
        if "execution" in cell.metadata:
            yield f"{_name(cell)}: times of execution in its metadata"


def _of_a_lesson(notebook: NotebookNode) -> Iterator[str]:
    cells = _code(notebook)
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        yield "its code cells are not numbered 1 to n: run it from top to bottom in a fresh kernel, and save it"
    if not cells or not re.search(r"\bconfig\.start\(", cells[0].source):
        yield "the first code cell does not call config.start"
    for cell in cells:
        lines = sum(bool(line.strip()) for line in cell.source.splitlines())
        if lines > LONGEST_CELL:
            yield f"{_name(cell)}: {lines} lines of code, more than {LONGEST_CELL}"
        if PREDICTION.search(cell.source) and not cell.metadata.get("jupyter", {}).get("source_hidden"):
            yield f"{_name(cell)}: the answer of its prediction can be read: hide the source (metadata jupyter.source_hidden)"
        yield from _outputs(cell)
    yield from _claims(cells)
    yield from _sections(notebook)


def _outputs(cell: NotebookNode) -> Iterator[str]:
    """What must not be stored."""
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"{_name(cell)}: it failed"
            continue
        if output.get("name") == "stderr":
            yield f"{_name(cell)}: output on standard error"
            continue
        data = output.get("data", {})
        text = "\n".join([_joined(output.get("text", "")), *(_joined(value) for kind, value in data.items() if "text/" in kind)])
        for what, pattern in FORBIDDEN_TEXT.items():
            if pattern.search(text):
                yield f"{_name(cell)}: {what} in its output"
        if any("jupyter.widget" in kind for kind in data):
            yield f"{_name(cell)}: a stored widget view, which nothing can show"
        for kind in ("image/png", "image/jpeg"):
            size = len(base64.b64decode(_joined(data.get(kind, ""))))
            if size > LARGEST_IMAGE:
                yield f"{_name(cell)}: an image of {size // 1024} KB, more than {LARGEST_IMAGE // 1024}"
    images = [kind for output in cell.outputs for kind in output.get("data", {}) if kind.startswith("image/")]
    if images and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip():
        yield f"{_name(cell)}: an image without alt text in the cell's metadata (mystnb.image.alt)"


def _claims(cells: list[NotebookNode]) -> Iterator[str]:
    """Claims: cells whose printed line nbval compares."""
    marked = [cell for cell in cells if CLAIM.strip("# ") in cell.source]
    for cell in marked:
        if CLAIM not in [line.strip() for line in cell.source.splitlines()]:
            yield f"{_name(cell)}: {CLAIM} must be a line of its own, or nbval does not see it"
        elif not any(isinstance(node, ast.Assert) for node in ast.walk(_tree(cell.source))):
            yield f"{_name(cell)}: a claim without an assertion"
        elif cell.execution_count and not any(output.get("name") == "stdout" for output in cell.outputs):
            yield f"{_name(cell)}: a claim that prints nothing to compare"
    if not marked:
        yield f"no cell is marked {CLAIM}"


def _sections(notebook: NotebookNode) -> Iterator[str]:
    """The parts that every lesson has."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    first, everything = (texts or [""])[0], "\n\n".join(texts)
    title = first.strip().splitlines()[0] if first.strip() else ""
    if not (title.startswith("# ") and title.rstrip().endswith("?")):
        yield "the title is not a question"
    if "prerequisite" not in first.lower():
        yield "the first cell does not name the prerequisites"
    if not re.search(r"\bminutes?\b", first, re.IGNORECASE):
        yield "the first cell does not say how many minutes"
    if "**Predict" not in everything and not any(PREDICTION.search(cell.source) for cell in _code(notebook)):
        yield "there is nothing to predict"
    for name, heading in SECTIONS.items():
        if not heading.search(everything):
            yield f"there is no section '{name}'"
    if (check := _section(everything, SECTIONS["Self-check"])) is not None and check.count("<details") != 3:
        yield f"the self-check has {check.count('<details')} folded answers, not 3"
    if (listed := _section(everything, SECTIONS["References"])) is not None and not SOURCE_OF_TRUTH.search(listed):
        yield "the references have no DOI or arXiv number"


def _section(text: str, heading: re.Pattern) -> str | None:
    """The text below a heading up to the next one, or None."""
    found = heading.search(text)
    return re.split(r"^#+ ", text[found.end():], maxsplit=1, flags=re.MULTILINE)[0] if found else None


def _of_a_solution(notebook: NotebookNode) -> Iterator[str]:
    from helpers.grading.course import exercises_of

    for cell in _code(notebook):
        if cell.outputs or cell.execution_count is not None:
            yield f"{_name(cell)}: an exercise is stored without outputs and numbers"
        if cell.metadata.get("nbgrader", {}).get("grade"):
            for node in ast.walk(_tree(cell.source)):
                if isinstance(node, ast.Assert) and node.msg is None:
                    yield f"{_name(cell)}: the assertion in line {node.lineno} does not say what is wrong"
    try:
        exercises_of(notebook, "the notebook")
    except CourseError as error:
        yield str(error)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _name(cell: NotebookNode) -> str:
    return f"cell {cell.id}"


def _joined(value: str | list[str]) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _tree(source: str) -> ast.AST:
    """The syntax tree; of a cell that is not plain Python, an empty one (running it shows what is wrong)."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])
