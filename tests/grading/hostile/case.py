"""One hostile or broken submission: what it does, and how grading it must end."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nbformat import NotebookNode

from helpers.grading.outcome import GRADED, PARTLY, REJECTED

FULL = 7.0  # of the toy course: mean 2 + 1, square 3, choice 1
__all__ = ["FULL", "GRADED", "PARTLY", "REJECTED", "Case"]


@dataclass(frozen=True)
class Case:
    """answers: replace the right ones of the toy course. change: does something to the notebook. content: does something to its bytes.

    score: of the toy course's 7 points, None when rejected. message: a regular expression for what the learner or the instructor is told.
    needs: protections without which the case is not run on a machine.
    """

    name: str
    status: str = GRADED
    score: float | None = FULL
    message: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    change: Callable[[NotebookNode], None] | None = None
    content: Callable[[bytes], bytes] | None = None
    needs: tuple[str, ...] = ()
