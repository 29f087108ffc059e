"""`python3 -m helpers fetch`: download ahead what "Go bigger" sections need, and fill a folder that a classroom can share."""
from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers import notebooks
from helpers.downloads import registry, store, transfer
from helpers.errors import CourseError


def of_lessons(lessons: Sequence[str]) -> tuple[str, ...]:
    """What these lessons download, in the registry's order; of all lessons when none is named. Raises ValueError for no lesson."""
    numbers = [notebooks.lesson_name(lesson).split("_")[0] for lesson in lessons]
    wanted = {name for number in numbers for name in registry.of_lesson(number)}
    return tuple(name for name in registry.names() if not lessons or name in wanted)


def show(names: Sequence[str]) -> int:
    """Print what would be downloaded, one line each; returns 0."""
    for name in names:
        entry = registry.item(name)
        where = f"{entry.repository} at {entry.revision[:12]}" if name in registry.MODELS else entry.files[0].url.split("/")[2]
        print(f"{name:<20}{entry.megabytes:>5} MB  lessons {', '.join(entry.lessons):<27} {entry.licence:<13} {where}")
    print(f"together {sum(registry.item(name).megabytes for name in names):,} MB")
    return 0


def fetch(lessons: Sequence[str] = (), to: str | Path | None = None, only_list: bool = False) -> int:
    """Download what the lessons need, verify it, and say one line for each item; returns 0, or 1 when something could not be had.

    to: a folder (None: where the lessons look by themselves). Run again, it goes on where it was. Raises ValueError for a lesson that
    does not exist, CourseError when the folder cannot be made.
    """
    names = of_lessons(lessons)
    if not names:
        print("these lessons download nothing")
        return 0
    if only_list:
        return show(names)
    place = store.own() if to is None else Path(to).expanduser()
    try:
        (place / store.PARTIAL).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(f"{place} cannot be written ({error.strerror}): choose another folder") from None
    if freed := store.sweep(place):
        print(f"removed {freed / 1e6:.0f} MB that an interrupted download had left")
    failed = 0
    for name in names:
        try:
            state = transfer.fetch(name, place)
        except CourseError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr, flush=True)
        else:
            locked = store.read_lock(place, name)
            size = sum(size for size, _ in locked.files.values()) / 1e6
            at = f", commit {locked.revision[:12]}" if locked.revision else ""
            print(f"{state:<11} {name:<19} {size:7.1f} MB in {len(locked.files)} files, verified{at}", flush=True)
    if not failed:
        shutil.rmtree(place / store.PARTIAL, ignore_errors=True)
    print(f"{len(names) - failed} of {len(names)} are in {place}")
    if to is not None and not failed:
        print(f"share the folder and set COURSE_DOWNLOADS={place} with COURSE_PROFILE=full: then no lesson asks the network for them")
    return 1 if failed else 0
