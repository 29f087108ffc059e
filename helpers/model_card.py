"""A model card made from a run: what a model is for, how it was measured, where it fails, and which file it is about.

(Mitchell et al. 2019, arXiv:1810.03993.) The format is that of the Hugging Face hub, whose own library writes and reads its head.
"""
from __future__ import annotations

import hashlib
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from helpers.errors import CourseError

PACKAGES = ("torch", "onnxruntime", "numpy")


class Measurement(NamedTuple):
    """One measured number. what: such as "accuracy". spread: how sure it is, in words, such as "0.72 to 0.92 (95 %, 38 groups)". on: the
    data. unit: such as "ms"."""

    what: str
    value: float
    spread: str
    on: str
    unit: str = ""


def over_runs(what: str, values: Sequence[float], on: str, unit: str = "") -> Measurement:
    """The mean of repeated runs, with their standard deviation and number. Raises ValueError for fewer than two, or one not finite."""
    values = [float(value) for value in values]
    if len(values) < 2 or not all(map(math.isfinite, values)):
        raise ValueError(f"{what}: {len(values)} run(s), {values[:3]}: a number without its spread says little, repeat the run")
    return Measurement(what, statistics.mean(values), f"± {statistics.stdev(values):.3f} (sd of {len(values)})", on, unit)


@dataclass(frozen=True)
class Card:
    """What no program can find out, in the author's words, and what the run has measured.

    name: of the model. file: the one that is deployed; its sha256 goes into the card. purpose: what it is for. not_for: uses that it
    was not made for. limits: known failures. data: what it was trained and tested on, and on which terms. licence: of the model, as the
    hub abbreviates it. base: the pretrained model it comes from. task: one of the hub's names for what it does.
    """

    name: str
    file: Path
    purpose: str
    not_for: Sequence[str]
    limits: Sequence[str]
    data: str
    licence: str
    base: str
    classes: Sequence[str]
    measured: Sequence[Measurement]
    watch: Mapping[str, str] = field(default_factory=dict)
    task: str = "image-classification"

    def __post_init__(self) -> None:
        for name in ("name", "purpose", "not_for", "limits", "data", "licence", "base", "classes", "measured"):
            if not getattr(self, name):
                raise ValueError(f"the card has no {name}: whoever takes the model over will need it, so write it down")
        for row in self.measured:
            if not math.isfinite(row.value) or not row.spread:
                raise ValueError(f"{row.what}: {row.value}, spread {row.spread!r}: a number without its spread says little, measure both")


def sha256(path: Path) -> str:
    """The hash of a file. Raises CourseError when there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror}): export the model first, then write its card") from None


def text(card: Card) -> str:
    """The card as Markdown, with a head for machines. Nothing in it depends on the day or the place it was made."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(task_type=card.task, dataset_type="custom", dataset_name=row.on, metric_type=row.what,
                   metric_value=round(row.value, 4))
        for row in card.measured
    ]
    head = ModelCardData(model_name=card.name, license=card.licence, base_model=card.base, pipeline_tag=card.task, eval_results=results)
    digest = sha256(card.file)  # first: it says what to do when there is no file
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    table = ["| what | value | spread | measured on |", "|---|---|---|---|"]
    table += [f"| {row.what} | {f'{row.value:.3f} {row.unit}'.strip()} | {row.spread} | {row.on} |" for row in card.measured]
    file = Path(card.file)
    parts = [
        f"---\n{head.to_yaml()}\n---", f"# {card.name}", card.purpose,
        "## Not for", _listed(card.not_for), "## Where it fails", _listed(card.limits),
        "## Measured", "\n".join(table),
        "## Data", f"{card.data} {len(card.classes)} classes: {', '.join(card.classes)}.",
        "## Watched while it runs", _listed([f"**{name}**: {what}" for name, what in card.watch.items()] or ["nothing"]),
        "## File", _listed([f"`{file.name}`, {file.stat().st_size} bytes", f"sha256 `{digest}`",
                            f"made with Python {platform.python_version()}, {versions}"]),
    ]
    return "\n\n".join(parts) + "\n"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def write(card: Card, path: Path) -> Path:
    """Write the card to a file. Returns the path."""
    Path(path).write_text(text(card), encoding="utf-8", newline="\n")
    return Path(path)


def check(path: Path, file: Path) -> None:
    """That a card is about this very file. Raises CourseError when the file has changed since, or the card names none."""
    content = Path(path).read_text(encoding="utf-8")
    if sha256(file) not in content:
        raise CourseError(f"{Path(path).name} is not about this {Path(file).name}: the file is another one, so measure it and write "
                          "its card anew")
