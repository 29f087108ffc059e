"""Measure every notebook of the course, and keep the table in README.md in step with the measurement."""
from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import config, notebooks
from helpers.errors import CourseError

if TYPE_CHECKING:
    from nbformat import NotebookNode

CORES = 2
BEGIN, END = "<!-- times -->", "<!-- /times -->"


def times(write: bool, chosen: Sequence[str] = ()) -> int:
    """Measure lessons and their solutions and print the table; returns 1 if a notebook fails.

    write: also put the table into README.md, unless a notebook failed. chosen: only these lessons ("1", "01" or a name; none: all); the
    rows of the others are kept. Raises ValueError for a lesson that does not exist, CourseError when README.md has no place for the table.
    """
    readme = config.ROOT / "README.md"
    if write:
        insert(_text_of(readme), "")  # before minutes of measuring
    names = {notebooks.find_lesson(lesson).stem for lesson in chosen}
    results: dict[Path, notebooks.Run] = {}
    with two_cores():
        for path in notebooks.lessons() + notebooks.solutions():
            if names and names.isdisjoint((path.stem, path.parent.name)):
                continue
            with tempfile.TemporaryDirectory(prefix="course-cache-", ignore_cleanup_errors=True) as cache:
                results[path] = notebooks.execute(path, COURSE_CACHE=cache, COURSE_CORES=str(CORES))
            if results[path].failure:
                print(f"{path.stem} failed\n{results[path].failure}", file=sys.stderr)
    rows = table(results, _text_of(readme) if names else "")
    print(rows)
    if any(result.failure for result in results.values()):
        return 1
    if write:
        notebooks.replace(readme, insert(_text_of(readme), rows))
    return 0


@contextlib.contextmanager
def two_cores() -> Iterator[None]:
    """Keep this process and what it starts on two cores, where the system can do that (Linux and Windows)."""
    import psutil

    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        yield
        return
    before = process.cpu_affinity()
    process.cpu_affinity(before[:CORES])
    try:
        yield
    finally:
        process.cpu_affinity(before)


def table(results: dict[Path, notebooks.Run], old: str = "") -> str:
    """A Markdown table with a row per lesson: its question, and seconds and memory of the lesson and of its exercises.

    old: a text with an older table, whose rows stand in for lessons that are not in `results`.
    """
    solutions = {path.parent.name: result for path, result in results.items() if path.parent.parent.name == "solutions"}
    rows = {name: row for row in old.splitlines() for name in re.findall(r"^\| \[[^]]*\]\(lessons/(\w+)\.ipynb\)", row)}
    for path, result in results.items():
        if path.stem in solutions or path.parent.name == "lessons":
            number, name = path.stem.split("_", 1)
            link = f"[{number} {name.replace('_', ' ')}](lessons/{path.name})"
            cells = [link, _title(result.notebook), *_cost(result), *_cost(solutions.get(path.stem))]
            rows[path.stem] = "| " + " | ".join(cells) + " |"
    foot = f"Measured on {CORES} CPU cores with an empty cache, by `python3 -m helpers times --write`."
    head = ["| Lesson | Question | Runs in | Memory | Exercises run in | Memory |", "|---|---|--:|--:|--:|--:|"]
    return "\n".join([*head, *(rows[name] for name in sorted(rows)), "", foot])


def _cost(result: notebooks.Run | None) -> list[str]:
    if result is None or result.failure:
        return ["–", "–"] if result is None else ["failed", "–"]
    return [f"{result.seconds:.0f} s", f"{result.peak_bytes / 1e9:.1f} GB"]


def _title(notebook: NotebookNode) -> str:
    """The first heading, without the lesson's number."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return re.sub(r"^(Lesson )?\d+\s*[·:.-]\s*", "", found[1].strip()).replace("|", r"\|") if found else ""


def insert(text: str, rows: str) -> str:
    """`text` with `rows` between the two markers. Raises CourseError when a marker is missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise CourseError(f"README.md has no place for the table: put {BEGIN} and, below it, {END} where it belongs")
    return text[:text.index(BEGIN)] + f"{BEGIN}\n{rows}\n{END}" + text[text.index(END) + len(END):]


def _text_of(readme: Path) -> str:
    try:
        return readme.read_text(encoding="utf-8")
    except OSError as error:
        raise CourseError(f"README.md cannot be read ({error.strerror}): bring it back with `git checkout README.md`") from None
