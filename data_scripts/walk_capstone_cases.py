"""Walk through lesson 22 with each of its bundled cases, and store what was decided and found in helpers/capstone/walks.json.

    python data_scripts/walk_capstone_cases.py [--only "faces"] [--to FILE]

The lesson's own cells are executed, up to the table that shows the result of this script. It also prints how long each case takes; the
lesson promises a minute on two cores with an empty cache.
"""
from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import nbformat

from helpers import capstone, config, measure, notebooks
from helpers.capstone import cases
from helpers.errors import CourseError

LESSON = config.ROOT / "lessons" / "22_capstone.ipynb"
LAST = "claim-deploy"  # the last cell of the walk
CHOICE = 'CASE = "photographs"'


def notebook_for(case: str) -> nbformat.NotebookNode:
    """The lesson up to the end of the walk, with another case, and a last cell that prints the decisions as JSON."""
    notebook = nbformat.read(LESSON, as_version=4)
    end = next(place for place, cell in enumerate(notebook.cells) if cell.id == LAST)
    notebook.cells = [*notebook.cells[: end + 1], nbformat.v4.new_code_cell("print(json.dumps(decisions))", id="decisions")]
    choice = next(cell for cell in notebook.cells if CHOICE in cell.source)
    choice.source = choice.source.replace(CHOICE, f'CASE = "{case}"')
    return notebook


def walk(case: str) -> tuple[dict, float, int]:
    """(decisions, seconds, peak bytes) of one case, with an empty cache. Raises CourseError when a cell of the lesson fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walk.ipynb"
        nbformat.write(notebook_for(case), path)
        result = notebooks.execute(path, COURSE_CACHE=f"{folder}/cache")
    if result.failure:
        raise CourseError(f"{case}: {result.failure}")
    return json.loads(result.notebook.cells[-1].outputs[0].text), result.seconds, result.peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=capstone.CASES, help="one case, printed and not stored")
    parser.add_argument("--to", type=Path, default=cases.WALKS, metavar="FILE")
    arguments = parser.parse_args()
    walks = []
    for case in [arguments.only] if arguments.only else capstone.CASES:
        decisions, seconds, peak_bytes = walk(case)
        walks.append(decisions)
        print(f"{case}: {measure.in_words(seconds, peak_bytes)}\n{json.dumps(decisions, indent=1)}")
    if not arguments.only:
        lines = ",\n".join("  " + json.dumps(decisions) for decisions in walks)
        arguments.to.write_text(f'{{"script": "data_scripts/{Path(__file__).name}", "walks": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
