"""`python3 -m helpers new 23_name`: a lesson, its exercises and their tests from the template, all of which pass already."""
from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
from pathlib import Path

from helpers import config, notebooks
from helpers.errors import CourseError

TEMPLATE = Path(__file__).parent / "template"
NAME = re.compile(r"(\d\d)_[a-z0-9]+(_[a-z0-9]+)*")


def new(name: str, root: Path | None = None) -> int:
    """Make lesson `name`, such as "23_my_topic", run it once, release its exercises, say what was made, and return 0.

    root: the course's folder (None: this repository). Nothing that exists is changed. Raises CourseError when the name is not usable
    or a number is taken, or when the template does not run here; then nothing is left behind.
    """
    from helpers.grading.release import release

    root = Path(root or config.ROOT)
    number = check(name, root)
    lesson = root / "lessons" / f"{name}.ipynb"
    exercises = root / "solutions" / name / f"exercises_{number}.ipynb"
    answers = root / "tests" / "exercises" / f"lesson_{number}.py"
    released = root / "lessons" / "exercises" / name
    words = name[3:].replace("_", " ").capitalize()
    filled = {source: _filled(source, number, name, words) for source in ("lesson.ipynb", "exercises.ipynb", "answers.py")}
    try:
        with tempfile.TemporaryDirectory(prefix="new-lesson-") as folder:
            draft = Path(folder, lesson.name)
            draft.write_text(filled["lesson.ipynb"], encoding="utf-8")
            result = notebooks.execute(draft)
        if result.failure:
            raise CourseError("the template does not run here: run `python3 -m helpers doctor` and put that right\n" + result.failure)
        notebooks.clean(result.notebook)
        for path in (lesson, exercises, answers):
            path.parent.mkdir(parents=True, exist_ok=True)
        notebooks.write(result.notebook, lesson)
        exercises.write_text(filled["exercises.ipynb"], encoding="utf-8", newline="\n")
        answers.write_text(filled["answers.py"], encoding="utf-8", newline="\n")
        with contextlib.redirect_stdout(io.StringIO()):
            release([number], root)
    except BaseException as error:
        for path in (lesson, answers):
            path.unlink(missing_ok=True)
        for folder in (exercises.parent, released):
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise CourseError(f"the lesson could not be written ({error}): check the permissions and the free space of {root}") from None
        raise
    made = [path.relative_to(root).as_posix() for path in (lesson, exercises, answers, released / exercises.name)]
    print(f"{name} is there, and its tests pass:\n" + "\n".join(f"  {path}" for path in made)
          + f"\nReplace it cell by cell (the contributor's guide: helpers/site/pages/guides/contributor.md), then:\n"
            f"  python3 -m helpers run {number} --save\n  python3 -m helpers release {number}\n"
            f"  python3 -m helpers test -k \"{number} or hygiene or release\"")
    return 0


def check(name: str, root: Path) -> str:
    """The two digits of a new lesson's name. Raises CourseError when the name cannot be used, or is taken."""
    match = NAME.fullmatch(name)
    taken = {path.name[:2] for folder in ("lessons", "solutions") for path in (root / folder).glob("[0-9][0-9]_*")}
    taken |= {path.stem[-2:] for path in (root / "tests" / "exercises").glob("lesson_[0-9][0-9].py")}
    free = next(f"{number:02}" for number in range(100) if f"{number:02}" not in taken)
    if not match:
        raise CourseError(f"{name!r} is no name for a lesson: take two digits and lower-case words, such as {free}_my_topic")
    if match[1] in taken:
        raise CourseError(f"there is a lesson {match[1]} already: {free} is the next free number ({free}{name[2:]})")
    return match[1]


def _filled(source: str, number: str, name: str, words: str) -> str:
    """A file of the template with its placeholders replaced."""
    text = (TEMPLATE / source).read_text(encoding="utf-8")
    return text.replace("@NUMBER@", number).replace("@NAME@", name).replace("@TITLE@", words)
