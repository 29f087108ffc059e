"""Broken, edited and forged notebooks."""
import copy
import json

from case import GRADED, REJECTED, Case
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from toy_course import find

RIGHT = 7.0


def drop(*names):
    def change(nb):
        nb.cells = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") not in names]

    return change


def edit(name, source):
    def change(nb):
        find(nb, name).source = source

    return change


def duplicate(name):
    def change(nb):
        place = nb.cells.index(find(nb, name))
        again = copy.deepcopy(nb.cells[place])
        again.id = "again"
        nb.cells.insert(place, again)

    return change


def reverse(nb):
    nb.cells = nb.cells[::-1]


def retype(name, kind):
    def change(nb):
        cell = find(nb, name)
        place = nb.cells.index(cell)
        fresh = new_markdown_cell(cell.source, id=cell.id, metadata=cell.metadata) if kind == "markdown" else cell
        nb.cells[place] = fresh

    return change


def about(name, **values):
    def change(nb):
        find(nb, name).metadata.nbgrader.update(values)

    return change


def strip_metadata(nb):
    for cell in nb.cells:
        cell.metadata.pop("nbgrader", None)


def rename_all(nb):
    for cell in nb.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.grade_id = "other_" + cell.metadata.nbgrader.grade_id


def many_cells(nb):
    nb.cells += [new_code_cell("1", id=f"more-{n}") for n in range(5000)]


def old_schema(nb):
    for cell in nb.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.pop("schema_version", None)
            cell.metadata.nbgrader.pop("cell_type", None)


def forged_outputs(nb):
    cell = find(nb, "test_square")
    cell.outputs = [new_output("execute_result", {"text/plain": "3.0"}, execution_count=1)]
    find(nb, "square").source = "def square(n): return None"


def old_format(content):
    nb = json.loads(content)
    nb["nbformat_minor"] = 2
    for cell in nb["cells"]:
        cell.pop("id", None)
    return json.dumps(nb).encode()


def deep(content):
    return b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b', "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'


CASES = [
    Case("an empty file", REJECTED, None, "not a notebook", content=lambda content: b""),
    Case("not JSON", REJECTED, None, "not a notebook", content=lambda content: b"%PDF-1.7 my answers"),
    Case("half of the file", REJECTED, None, "not a notebook", content=lambda content: content[: len(content) // 2]),
    Case("binary noise", REJECTED, None, "not a notebook", content=lambda content: bytes(range(256)) * 100),
    Case("JSON that is no notebook", REJECTED, None, "not a notebook", content=lambda content: b'{"score": 7}'),
    Case("JSON nested 100,000 deep", REJECTED, None, "not a notebook|damaged", content=deep),
    Case("a number of 100,000 digits", REJECTED, None, "not a notebook|damaged", content=lambda content: b'{"nbformat": ' + b"9" * 100_000 + b', "cells": []}'),
    Case("a file of 30 MB", REJECTED, None, "30 MB|clear its outputs", content=lambda content: content + b" " * 30_000_000),
    Case("cells that are no cells", REJECTED, None, "damaged|not a notebook", content=lambda content: b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1, null]}'),
    Case("a notebook of the future", REJECTED, None, "damaged|not a notebook|exercises", content=lambda content: content.replace(b'"nbformat": 4', b'"nbformat": 9')),
    Case("a byte-order mark and CRLF", GRADED, RIGHT, "", content=lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")),
    Case("the format of 2016", GRADED, RIGHT, "", content=old_format),
    Case("no exercises at all", REJECTED, None, "no exercises", change=strip_metadata),
    Case("another lesson", REJECTED, None, "another lesson's or an old release", change=rename_all),
    Case("5,000 cells more", REJECTED, None, "5012 cells|1000 are allowed", change=many_cells),
    Case("every answer cell deleted", REJECTED, None, "cells are missing", change=drop("mean", "square", "choice")),
    Case("one answer cell deleted", GRADED, 4.0, "answer cell `square` is missing", change=drop("square")),
    Case("a test cell deleted", GRADED, RIGHT, "was missing", change=drop("test_square")),
    Case("the set-up cell deleted", GRADED, RIGHT, "was missing", change=drop("setup")),
    Case("a test cell emptied", GRADED, 4.0, "was changed", {"square": "def square(n): return None"}, change=edit("test_square", "pass")),
    Case("a test cell that gives 1000 points", GRADED, 4.0, "was changed", {"square": "def square(n): return None"}, change=edit("test_square", "1000")),
    Case("a test cell twice", GRADED, RIGHT, "twice", change=duplicate("test_square")),
    Case("an answer cell twice", GRADED, RIGHT, "twice", change=duplicate("square")),
    Case("the cells in reverse order", GRADED, None, "", change=reverse),
    Case("a test cell made text", GRADED, RIGHT, "run as code", change=retype("test_square", "markdown")),
    Case("an answer cell made text", GRADED, RIGHT, "run as code", change=retype("square", "markdown")),
    Case("points forged", GRADED, 4.0, "", {"square": "def square(n): return None"}, change=about("test_mean", points=1000)),
    Case("an answer declared a test", GRADED, RIGHT, "", change=about("square", grade=True, points=50)),
    Case("a test declared an answer", GRADED, RIGHT, "", change=about("test_square", grade=False, solution=True, locked=False)),
    Case("a checksum forged", GRADED, RIGHT, "", change=about("test_square", checksum="0" * 32)),
    Case("metadata of an old schema", GRADED, RIGHT, "", change=old_schema),
    Case("a grade_id that is a list", GRADED, RIGHT, "answer cell `square` is missing", change=about("square", grade_id=["square"])),
    Case("outputs forged", GRADED, 4.0, "", change=forged_outputs),
    Case("a kernel that does not exist", GRADED, RIGHT, "", change=lambda nb: nb.metadata.update(kernelspec={"name": "evil", "display_name": "e", "language": "sh"})),
    Case("a syntax error", GRADED, 4.0, "SyntaxError", {"square": "def square(n) return n"}),
    Case("an answer of null bytes", GRADED, 4.0, "", {"square": "x = '\0'\ndef square(n): return None"}),
    Case("an unpaired surrogate", GRADED, 4.0, "", {"square": "def square(n): return '\\ud800'"}),
    Case("shell magic", GRADED, RIGHT, "", {"square": "!echo hello\n%timeit -n1 -r1 1\ndef square(n): return n * n"}),
    Case("a cell magic that runs a script", GRADED, RIGHT, "", {"square": "def square(n): return n * n"},
         change=lambda nb: nb.cells.insert(2, new_code_cell("%%bash\necho hi; sleep 0", id="bash"))),
    Case("top-level await", GRADED, RIGHT, "", {"square": "import asyncio\nawait asyncio.sleep(0)\ndef square(n): return n * n"}),
    Case("skip-execution tags", GRADED, 4.0, "", {"square": "def square(n): return None"},
         change=lambda nb: find(nb, "test_square").metadata.update(tags=["skip-execution", "raises-exception"])),
]
