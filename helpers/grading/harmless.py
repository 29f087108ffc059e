"""Make an executed notebook safe to look at: formgrader puts a notebook's HTML into a page that has the instructor's rights."""
from __future__ import annotations

import base64
import contextlib
import re
from typing import Any

import nbformat
from nbformat import NotebookNode

from helpers.grading.course import grade_id

IMAGES = {"image/png": b"\x89PNG\r\n", "image/jpeg": b"\xff\xd8\xff"}
LONGEST = 10_000  # characters of a text output
NOT_SHOWN = "an output that is neither text nor a PNG or JPEG image is not shown"
# Halves of surrogate pairs cannot be stored, control characters (but tab, line ends and the escape of colours) not be shown.
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ud800-\udfff]")


def harmless(nb: NotebookNode, master: NotebookNode) -> NotebookNode:
    """A copy in which nothing that a learner wrote is HTML, Markdown or a script any more, only text and images.

    nb: an executed notebook with the cells of `master` restored. Cells of `master` keep their nbgrader metadata and their Markdown,
    other metadata and attachments go.
    """
    trusted = {cell.source for cell in master.cells if cell.cell_type != "code"}
    about = {grade_id(cell): cell.metadata.nbgrader for cell in master.cells if grade_id(cell)}
    cells = []
    for number, cell in enumerate(nb.cells):
        if cell.cell_type == "code":
            outputs = [shown for output in cell.outputs if (shown := safe_output(output))]
            safe = {"cell_type": "code", "source": clean(cell.source), "outputs": outputs, "execution_count": cell.execution_count}
        else:
            safe = {"cell_type": "markdown", "source": cell.source if cell.source in trusted else as_code(clean(cell.source))}
        metadata = {"nbgrader": about[grade_id(cell)]} if grade_id(cell) in about else {}
        cells.append(safe | {"id": f"cell-{number}", "metadata": metadata})
    metadata = {"kernelspec": master.metadata["kernelspec"]} if "kernelspec" in master.metadata else {}
    # Built as plain data: the constructors of nbformat check each part against the schema, which costs more than all the rest.
    return nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def as_code(text: str) -> str:
    """Markdown that shows `text` as it is: a code block whose fence does not occur in it."""
    fence = "`" * (1 + max(2, *map(len, re.findall("`+", text)), 0))
    return f"{fence}\n{text}\n{fence}"


def clean(text: Any) -> str:
    """A notebook's text (a string or a list of lines) without what cannot be stored or shown."""
    return UNSEEN.sub("\ufffd", "".join(map(str, text)) if isinstance(text, list) else str(text))


def cut(text: Any) -> str:
    """The text, cleaned, and at most `LONGEST` characters of it."""
    text = clean(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… and {len(text) - LONGEST} more characters"


def safe_output(output: NotebookNode) -> dict[str, Any] | None:
    """The text, PNG or JPEG of an output, without metadata; None when it is no output at all."""
    kind = output.output_type
    if kind == "stream":
        return {"output_type": kind, "name": "stderr" if output.name == "stderr" else "stdout", "text": cut(output.text)}
    if kind == "error":
        traceback = [cut(line) for line in output.traceback[:100]]
        return {"output_type": kind, "ename": clean(output.ename)[:200], "evalue": cut(output.evalue), "traceback": traceback}
    if kind not in ("display_data", "execute_result"):
        return None
    data = {}
    if "text/plain" in output.data:
        data["text/plain"] = cut(output.data["text/plain"])
    for image, start in IMAGES.items():
        packed = "".join(clean(output.data.get(image, "")).split())
        with contextlib.suppress(ValueError):  # not base64: whatever it is, it is no image
            if packed and base64.b64decode(packed, validate=True).startswith(start):
                data[image] = packed
    more = {"execution_count": output.get("execution_count")} if kind == "execute_result" else {}
    return {"output_type": kind, "data": data or {"text/plain": NOT_SHOWN}, "metadata": {}} | more
