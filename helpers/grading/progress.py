"""What the learner has reached so far, kept in .course/progress.json."""
from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import config
from helpers.errors import CourseError

if TYPE_CHECKING:
    from helpers.grading.feedback import Result

WIDTH = 20


def show(root: Path | None = None) -> int:
    """Print every lesson: best score, the date of the last check, and what to do next; returns 0.

    Raises CourseError when there is no lesson.
    """
    root = Path(root or config.ROOT)
    known = load(root)
    graded = {path.parent.name for path in (root / "solutions").glob("*/exercises_*.ipynb")} | set(known)
    names = sorted(graded | {path.stem for path in (root / "lessons").glob("[0-9][0-9]_*.ipynb")})
    if not names:
        raise CourseError("there are no lessons yet: lessons/ and solutions/ are empty")
    for name in names:
        entries = known.get(name)
        number = name.split("_")[0]
        if name not in graded:
            print(f"{name:<28} [{'-' * WIDTH}]  no exercises: read lessons/{name}.ipynb")
            continue
        if not entries:
            print(f"{name:<28} [{'-' * WIDTH}]  not tried yet: open lessons/exercises/{name}/exercises_{number}.ipynb")
            continue
        score, most = sum(item["best"] for item in entries.values()), sum(item["max"] for item in entries.values())
        bar = "#" * int(WIDTH * score / most)
        missing = next((key for key, item in entries.items() if item["best"] < item["max"]), None)
        advice = f"next: `{missing}`, then `python -m helpers check {number}`" if missing else "done"
        print(f"{name:<28} [{bar:-<{WIDTH}}] {score:g}/{most:g}  {max(item['date'] for item in entries.values())[:10]}  {advice}")
    return 0


def record(root: Path, lesson: str, outcome: Sequence[Result]) -> None:
    """Keep the last and the best score of each exercise. Raises CourseError when the file cannot be written."""
    known = load(root)
    before, now = known.get(lesson, {}), datetime.now().isoformat(timespec="seconds")
    known[lesson] = {}
    for item in outcome:
        old = before.get(item.name, {})
        # Points that count differently since a new release say nothing about the best score.
        best = max(item.score, old["best"]) if old.get("max") == item.max_score else item.score
        known[lesson][item.name] = {"best": best, "last": item.score, "max": item.max_score, "date": now}
    _write(_file(root), json.dumps({"lessons": known}, indent=1))


def load(root: Path) -> dict[str, dict[str, dict]]:
    """Per lesson and exercise {"best", "last", "max": points, "date": ISO 8601}; a damaged file is put aside, and {} returned."""
    file = _file(root)
    try:
        lessons = json.loads(file.read_text(encoding="utf-8"))["lessons"]
        for item in (item for exercises in lessons.values() for item in exercises.values()):
            if not (item["max"] > 0 and 0 <= item["best"] <= item["max"] and 0 <= item["last"] and item["date"] >= ""):
                raise ValueError(item)
        return lessons
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CourseError(f"{file} cannot be read ({error.strerror}): check its permissions") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        number, aside = 1, file.with_name("progress.damaged.json")
        while aside.exists():
            number, aside = number + 1, file.with_name(f"progress.damaged-{number + 1}.json")
        os.replace(file, aside)
        print(f"note: the record of your progress was damaged: it is kept as .course/{aside.name} and a new one begins",
              file=sys.stderr)
        return {}


def _file(root: Path) -> Path:
    return Path(root) / ".course" / "progress.json"


def _write(file: Path, text: str) -> None:
    """Write through a temporary file, so that an interruption leaves the old content."""
    temporary = None
    try:
        file.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, suffix=".part", delete=False) as stream:
            temporary = stream.name
            stream.write(text)
        os.replace(temporary, file)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CourseError(f"your result could not be recorded in {file} ({error.strerror}): free some space, or make the "
                              "folder writable, and check again") from None
        raise
