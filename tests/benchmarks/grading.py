"""Time this grader and stock nbgrader on the same submissions, side by side in one run, and print a table.

    python tests/benchmarks/grading.py [--submissions 20] [--many 300] [--quick]

The lesson imports torch and transformers. Every figure is end to end: start-up, gradebook, executed notebooks and feedback included; only
the line "once warm" leaves the start of the warm parent out. About 15 minutes on 4 cores; --quick leaves stock nbgrader out.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
import psutil
from nbgrader.api import Gradebook

sys.path.insert(0, str(Path(__file__).parents[1] / "grading"))
from toy_course import LESSON, SOLVED, answer, find, source_path, write_course  # noqa: E402

from helpers.grading import classroom, grader, submissions  # noqa: E402
from helpers.grading.course import Course  # noqa: E402
from helpers.grading.gradebook import Records  # noqa: E402
from helpers.grading.release import release  # noqa: E402
from helpers.grading.sandbox import Limits  # noqa: E402

SETUP = "import torch\nimport transformers\nimport numpy as np"
KINDS = (SOLVED, SOLVED | {"square": "def square(n): return 2 * n"}, SOLVED | {"mean": "def mean(numbers): return 0"}, {})
STOCK = """
c = get_config()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.source_directory, c.CourseDirectory.release_directory = "solutions", "lessons/exercises"
for step in ("submitted", "autograded", "feedback"):
    c.CourseDirectory[f"{{step}}_directory"] = f"classroom/{{step}}"
c.CourseDirectory.db_url = "sqlite:///{root}/classroom/gradebook.db"
c.ExecutePreprocessor.timeout = 120
"""


def make_course(root: Path, count: int) -> Path:
    """A released toy course that imports the frameworks, with `count` submissions of four kinds."""
    write_course(root)
    nb = nbformat.read(source_path(root), as_version=4)
    find(nb, "setup").source = SETUP
    square = find(nb, "square")
    square.source = square.source.replace("return number ** 2", "return float(torch.tensor(float(number)) ** 2)")
    nbformat.write(nb, source_path(root))
    with contextlib.redirect_stdout(io.StringIO()):
        release(root=root)
    for number in range(count):
        folder = root / "classroom" / "submitted" / f"s{number:03}" / LESSON
        folder.mkdir(parents=True)
        answer(root, KINDS[number % len(KINDS)], folder / "exercises_01.ipynb")
    return root


def scores(root: Path) -> dict[str, float]:
    """The score of every student in the gradebook."""
    with Gradebook(f"sqlite:///{root}/classroom/gradebook.db") as gradebook:
        return {submission.student_id: submission.score for submission in gradebook.assignment_submissions(LESSON)}


def ours(root: Path, workers: int) -> float:
    """Seconds to grade what is in submitted/, all included."""
    began = time.perf_counter()
    options = classroom.Options(workers=workers, limits=Limits(cell_seconds=60), regrade=True)
    with contextlib.redirect_stdout(io.StringIO()):
        classroom.grade("1", root / "classroom" / "submitted", options, root)
    return time.perf_counter() - began


def stock(root: Path, students: list[list[str]]) -> float:
    """Seconds for stock nbgrader: autograde and feedback, one process for each list of students, each on a copy of the course."""
    began, running = time.perf_counter(), []
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for number, part in enumerate(students):
        copied = root if len(students) == 1 else shutil.copytree(root, root.with_name(f"{root.name}-{number}"))
        for folder in (copied / "classroom" / "submitted").iterdir():
            if folder.name not in part:
                shutil.rmtree(folder)
        (copied / "nbgrader_config.py").write_text(STOCK.format(root=str(copied)))
        command = f"nbgrader autograde {LESSON} --create; nbgrader generate_feedback {LESSON}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        running.append(subprocess.Popen(command, shell=True, cwd=copied, env=environment, **quiet))
    for process in running:
        process.wait()
    return time.perf_counter() - began


def memory_of_a_warm_process(root: Path) -> float:
    """MB that a learner's process has for itself, after its set-up cell, beside the warm parent."""
    about = grader.materials(Course(root), LESSON, "seed", Limits())
    grading = grader.Grader(about)
    try:
        with grader.Box(grading, 0, Limits()) as box:
            box.channel.send({"do": "cell", "source": SETUP, "seconds": 60})
            box.channel.receive(60)
            inside = psutil.Process(box.process).children(recursive=True)[-1]
            return inside.memory_full_info().uss / 1e6
    finally:
        grading.close()


def warm_rate(root: Path, workers: int, number: int) -> float:
    """Of `number` submissions, how many a minute; start-up is not counted, gradebook, notebooks and feedback are."""
    course = Course(root)
    found = submissions.find(root / "classroom" / "submitted", LESSON)[:number]
    grading = grader.Grader(grader.materials(course, LESSON, "seed", Limits()))
    try:
        grading.grade(found[0])
        began = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool, Records(course, LESSON) as records:
            batch = []
            for future in as_completed([pool.submit(grading.grade, submission) for submission in found]):
                batch.append(future.result())
                if len(batch) == 5:
                    records.write(batch)
                    batch = []
            records.write(batch)
        return 60 * len(found) / (time.perf_counter() - began)
    finally:
        grading.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", type=int, default=20)
    parser.add_argument("--many", type=int, default=300)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    os.environ["COURSE_PROGRESS"] = "0"
    count = arguments.submissions
    rows: list[tuple[str, str]] = []

    def row(what: str, seconds: float, number: int = count) -> None:
        rows.append((what, f"{seconds:7.1f} s {60 * number / seconds:7.1f} a minute"))
        print(*rows[-1], sep="  ", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mine = make_course(place / "ours", count)
        theirs = shutil.copytree(mine, place / "stock")
        split = shutil.copytree(mine, place / "split")
        names = sorted(path.name for path in (mine / "classroom" / "submitted").iterdir())
        for workers in (4, 2, 1):
            seconds = ours(mine, workers)
            row(f"this grader, {workers} workers, end to end", seconds)
            if workers == 4:
                end_to_end = seconds
        warm_20 = warm_rate(mine, 4, count)
        print(f"this grader, 4 workers, once warm: {warm_20:.0f} a minute")
        print(f"memory of one more warm process: {memory_of_a_warm_process(mine):.0f} MB")
        many = make_course(place / "many", arguments.many)
        warm = {workers: warm_rate(many, workers, arguments.many // 2) for workers in (1, 2, 4)}
        for workers, rate in warm.items():
            times = f"{rate / warm[1]:.2f}x one worker"
            print(f"{arguments.many // 2} submissions, {workers} workers, once warm: {rate:.0f} a minute ({times})")
        warm_many = warm_rate(many, 4, arguments.many)
        times = f"{warm_many / warm_20:.2f}x the rate of {count}"
        print(f"{arguments.many} submissions, 4 workers, once warm: {warm_many:.0f} a minute ({times})")
        row(f"{arguments.many} submissions, 4 workers, end to end", ours(many, 4), arguments.many)
        if arguments.quick:
            return 0
        four = stock(split, [names[start::4] for start in range(4)])
        row("stock nbgrader, four processes", four)
        serial = stock(theirs, [names])
        row("stock nbgrader, serial", serial)
        print(f"end to end {serial / end_to_end:.1f}x stock serial, {four / end_to_end:.1f}x four processes; "
              f"once warm {warm_20 * serial / 60 / count:.1f}x stock serial")
        equal = scores(mine) == scores(theirs)
        print("equal scores:", equal)
        return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
