"""Grade a class: find the submissions, grade them on several workers or machines, record everything, lose nothing."""
from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import config
from helpers.errors import CourseError
from helpers.grading import submissions, tables
from helpers.grading.course import Course, Exercise
from helpers.grading.gradebook import Records
from helpers.grading.grader import Grader, Materials, materials
from helpers.grading.journal import Journal
from helpers.grading.outcome import GRADED, PARTLY, REJECTED, Marks, Outcome, Submission, points_that_count, rejected, why
from helpers.grading.pages import summary_page
from helpers.grading.sandbox import Limits

ALL_POINTS, POINTS_LOST, NOT_ALL_GRADED = 0, 1, 3  # exit codes; 2: cannot be done (an error sentence)
BATCH, BATCH_SECONDS = 20, 5.0
WORKER_SECONDS = 60  # until the first worker of a scheduler has come up
TRIES = 3  # a submission on which the grader fails, or ends a worker, this many times is rejected
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True)
class Options:
    """How to grade; see `python3 -m helpers grade --help`."""

    workers: int | None = None
    scheduler: str | None = None
    solutions: Path | None = None
    resume: bool = False
    regrade: bool = False
    as_json: bool = False
    csv: Path | None = None
    to: Path | None = None
    seed: str | None = None
    require_sandbox: bool = False
    limits: Limits = Limits()


def grade(lesson: str, path: Path, options: Options, root: Path | None = None) -> int:
    """Grade what is at `path`; one notebook alone is only reported, a class is recorded too. Returns an exit code. Raises CourseError."""
    course = Course(root, options.solutions)
    name = course.find(lesson)
    if path.is_file() and path.suffix != ".zip":
        if options.to or options.csv or options.resume or options.regrade:
            raise CourseError("one notebook alone is graded and shown, and nothing is stored: leave --to, --csv, --resume and --regrade "
                              "out, or give the folder that holds STUDENT/LESSON/")
        return grade_one(course, name, path, options)
    return grade_class(course, name, path, options)


def grade_one(course: Course, name: str, path: Path, options: Options) -> int:
    """Grade one notebook and print the result: the form for CI and classroom services. Nothing is stored."""
    (submission,) = submissions.find(path, name)
    secret = options.seed or secrets.token_hex(16)
    grader = Grader(materials(course, name, secret, options.limits, options.require_sandbox))
    try:
        say_protections(grader.missing)
        outcome = grade_and_try_again(grader, submission)
    finally:
        grader.close()
    exercises = course.exercises(name)
    if options.as_json:
        print(json.dumps(as_object(outcome, exercises) | {"seed": secret}))
    else:
        for line in report(outcome, exercises):
            print(line)
        print("one notebook alone is graded and shown, and nothing is stored: to record it, give the folder that holds STUDENT/LESSON/",
              file=sys.stderr)
    if outcome.status != GRADED:
        return NOT_ALL_GRADED
    return ALL_POINTS if outcome.score() == outcome.max_score() else POINTS_LOST


def as_object(outcome: Outcome, exercises: list[Exercise]) -> dict:
    """The outcome as `check --json` prints it, and how it ended. The score is null when nothing could be graded."""
    return {
        "lesson": outcome.lesson, "student": outcome.student, "status": outcome.status, "reason": outcome.reason, "score": outcome.score(),
        "max_score": sum(exercise.max_score for exercise in exercises), "exercises": [vars(item) for item in outcome.results(exercises)],
        "notes": outcome.notes, "missing_protections": outcome.missing_protections,
    }


def report(outcome: Outcome, exercises: list[Exercise]) -> Iterator[str]:
    """Lines for a person about one outcome."""
    yield from (f"note: {note}" for note in outcome.notes)
    for exercise, item in zip(exercises, outcome.results(exercises), strict=False):
        yield f"{'ok  ' if item.score == item.max_score else '    '}{item.score:g}/{item.max_score:g}  {exercise.title}"
        yield from (f"          {line}" for line in item.message.splitlines())
    if outcome.status != GRADED:
        yield f"{outcome.status}: {outcome.reason}"
    if outcome.status != REJECTED:
        yield f"{outcome.lesson}: {outcome.score():g} of {outcome.max_score():g} points"


def say_protections(missing: list[str]) -> None:
    """Say before anything runs which protections this machine lacks."""
    if missing:
        print(f"warning: not protected here: {', '.join(missing)}; learners' code may do what your own programs may do "
              "(--require-sandbox refuses instead)", file=sys.stderr)


def grade_class(course: Course, name: str, path: Path, options: Options) -> int:
    """Grade a class, store the results in classroom/, and print a summary."""
    found = submissions.find(path, name)
    folder = options.to or course.root / "classroom" / "grading" / name
    exercises_digest = hashlib.sha256(course.source(name).read_bytes()).hexdigest()
    journal_path = folder / "journal.jsonl"
    if options.resume and not journal_path.exists():
        raise CourseError(f"there is nothing to resume in {folder}: leave --resume out")
    journal = Journal(journal_path, name, exercises_digest, options.seed)
    try:
        about = materials(course, name, journal.secret, options.limits, options.require_sandbox)
        say_journal(journal)
        kept = {} if options.regrade else {s.student for s in found if unchanged(s, journal)}
        pending = [submission for submission in found if submission.student not in kept]
        if kept:
            print(f"{len(kept)} of {len(found)} were graded before and are unchanged: kept (--regrade grades them again)", file=sys.stderr)
        missing: list[str] = []
        with Records(course, name) as records:
            held = records.marks(kept)
            again = [outcome for student in kept if not is_held(outcome := journal.outcomes[student], held, journal)]
            if lost := sorted(journal.recorded & {outcome.student for outcome in again}):
                print(f"the gradebook did not hold what was recorded of {people(lost)}: recorded again. Points, comments and penalties "
                      "that were given by hand are in the gradebook that was there before; put it back if it was moved away",
                      file=sys.stderr)
            if again:
                store(again, records, journal)
            if pending:
                missing = _grade_pending(pending, about, options, records, journal)
            outcomes = [journal.outcomes[submission.student] for submission in found]
            for outcome, submission in zip(outcomes, found, strict=True):
                outcome.submitted = submission.submitted or outcome.submitted
            records.refresh([outcome for outcome in outcomes if outcome.student in kept])
            records.write_feedback([journal.outcomes[student] for student in kept])
            marks, most = records.marks(outcome.student for outcome in outcomes), records.possible()
            remarks = [*about_waiting(outcomes, marks), *about_reports(outcomes, records)]
            absent = journal.outcomes.keys() | (records.students() if journal.begun_anew else set())
            remarks += about_absent(sorted(absent - {outcome.student for outcome in outcomes}))
    finally:
        journal.close()
    missing = sorted({item for outcome in outcomes for item in outcome.missing_protections} | set(missing))
    exercises = course.exercises(name)
    texts = {
        "grades.csv": tables.full_csv(outcomes, exercises, marks, most), "canvas.csv": tables.canvas_csv(outcomes, marks, most),
        "moodle.csv": tables.moodle_csv(outcomes, exercises, marks, most), "outcomes.jsonl": tables.json_lines(outcomes),
        "summary.html": summary_page(outcomes, exercises, marks, most, name, missing, remarks),
    }  # fmt: skip
    write_exports(texts, folder, options.csv)
    if options.as_json:
        print(json.dumps(class_object(outcomes, exercises, marks, most, remarks)))
    else:
        show_class(outcomes, marks, name, remarks, folder)
    return ALL_POINTS if all(outcome.status == GRADED for outcome in outcomes) else NOT_ALL_GRADED


def is_held(outcome: Outcome, held: dict[str, Marks], journal: Journal) -> bool:
    """False for what was graded, but ended before it was recorded, or is not what the gradebook holds (any more)."""
    if outcome.student not in journal.recorded:
        return False
    return outcome.status == REJECTED or (outcome.student in held and held[outcome.student].holds(outcome))


def unchanged(submission: Submission, journal: Journal) -> bool:
    """True when this very file has been graded before."""
    before = journal.outcomes.get(submission.student)
    return before is not None and before.digest == submission.digest() and (before.status != REJECTED or not submission.content)


def say_journal(journal: Journal) -> None:
    """Tell what was found in the journal."""
    if journal.begun_anew:
        print("the exercises (or the seed) have changed since the last grading: everything is graded again", file=sys.stderr)
    if journal.torn:
        print(f"{journal.torn} damaged lines in the journal were dropped: what they held is graded again", file=sys.stderr)


def _grade_pending(
    pending: list[Submission], about: Materials, options: Options, records: Records, journal: Journal
) -> list[str]:  # fmt: skip
    """Grade, journal each outcome as it comes, record in batches. Returns the protections that are missing."""
    import os

    from tqdm import tqdm

    batch: list[Outcome] = []
    last = time.monotonic()
    failing: Counter[str] = Counter()
    with _pool(about, options, len(pending)) as (run, missing):
        say_protections(missing)
        bar = tqdm(desc=f"grading {about.lesson}", total=len(pending), unit="submission", file=sys.stderr,
                   disable=os.environ.get("COURSE_PROGRESS") == "0")
        try:
            with bar, contextlib.closing(run(pending)) as outcomes:
                for outcome in outcomes:
                    outcome.notes += records.report_notes(outcome)
                    journal.add(outcome)
                    batch.append(outcome)
                    failing.update(cell.name for cell in outcome.cells if cell.score < cell.max_score)
                    failing.update([outcome.status] if outcome.status != GRADED else [])
                    bar.set_postfix_str(", ".join(f"{name} fails {count}" for name, count in failing.most_common(2)), refresh=False)
                    bar.update()
                    if len(batch) >= BATCH or time.monotonic() - last > BATCH_SECONDS:
                        store(batch, records, journal)
                        batch, last = [], time.monotonic()
        finally:
            if batch:
                store(batch, records, journal)
    return missing


def store(batch: list[Outcome], records: Records, journal: Journal) -> None:
    """Put outcomes into the gradebook, and note that in the journal."""
    records.write(batch)
    journal.mark_recorded([outcome.student for outcome in batch])


def ended_workers(submission: Submission, lesson: str) -> Outcome:
    """The outcome of a submission under which one worker after the other has ended."""
    return rejected(submission, lesson, f"grading it ended {TRIES} workers: look at it by hand")


Run = Callable[[list[Submission]], Generator[Outcome]]  # gives outcomes as they come


@contextlib.contextmanager
def _pool(about: Materials, options: Options, count: int) -> Iterator[tuple[Run, list[str]]]:
    """A function that grades submissions on several workers, and the missing protections."""
    if options.scheduler:
        with _dask(about, options.scheduler) as pool:
            yield pool
        return
    grader = Grader(about)
    with ThreadPoolExecutor(min(options.workers or config.cores(), count)) as pool:

        def run(pending: list[Submission]) -> Generator[Outcome]:
            futures, suspects = {pool.submit(attempts, grader, submission, TRIES - 1): submission for submission in pending}, []
            for future in as_completed(futures):
                if isinstance(found := future.result(), Outcome):
                    yield found
                else:
                    suspects.append(futures[future])
            for submission in suspects:  # the last try alone: it may only have stood beside the one that ends the process they share
                yield pool.submit(grade_and_try_again, grader, submission, 1).result()

        try:
            yield run, grader.missing
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            grader.close()


def attempts(grader: Grader, submission: Submission, tries: int) -> Outcome | str:
    """The outcome, or in words why the last of `tries` attempts failed, for reasons that are not the learner's.

    Raises CourseError when the disk is full: no other submission would fare better, and nothing wrong may be recorded.
    """
    what = ""
    for _ in range(tries):
        try:
            return grader.grade(submission)
        except CourseError:
            raise
        except Exception as error:  # a fault of the grader on one submission must not end the class's grading
            if isinstance(error, OSError) and error.errno in FULL:
                raise CourseError(f"grading needs room for temporary files ({error.strerror}): make room and give the same command "
                                  "again; what was graded until now is kept") from None
            what = f"{type(error).__name__}: {str(error)[:200]}"
            grader.revive()
    return what


def grade_and_try_again(grader: Grader, submission: Submission, tries: int = TRIES) -> Outcome:
    """The outcome of up to `tries` attempts, the last ones that this submission has. Raises CourseError as `attempts` does."""
    found = attempts(grader, submission, tries)
    if isinstance(found, Outcome):
        return found
    return rejected(submission, grader.about.lesson, f"the grader failed on it {TRIES} times ({found}): look at it by hand")


@contextlib.contextmanager
def _dask(about: Materials, address: str) -> Iterator[tuple[Run, list[str]]]:
    """The same on the workers of a Dask scheduler."""
    try:
        from distributed import Client, KilledWorker

        client = Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise CourseError(f"no Dask scheduler answers at {address} ({error}): start one with `dask scheduler`, and workers with "
                          "`dask worker`") from None

    def run(pending: list[Submission]) -> Generator[Outcome]:
        # Each task carries the materials (about 100 KB): data that they share would be lost with the workers that hold them.
        futures, suspects = {client.submit(grade_remotely, about, submission, pure=False): submission for submission in pending}, []
        for future in _as_they_end(client, futures):
            if isinstance(future.exception(), KilledWorker):
                suspects.append(futures[future])
            else:
                yield future.result()
        for submission in suspects:  # once more and alone: it may only have waited behind the one that ends workers
            future = client.submit(grade_remotely, about, submission, pure=False)
            for ended in _as_they_end(client, [future]):
                killed = isinstance(ended.exception(), KilledWorker)
                yield ended_workers(submission, about.lesson) if killed else ended.result()

    try:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise CourseError(f"the scheduler at {address} has no workers: start some with `dask worker {address} --nthreads 1`") from None
        client.run_on_scheduler(allow_failures, TRIES - 1)
        missing = sorted({item for found in client.run(remote_protections, about, on_error="ignore").values() for item in found})
        yield run, missing
    finally:
        client.close()


def _as_they_end(client: Any, futures: Iterable[Any]) -> Iterator[Any]:
    """Dask's futures as they end. Raises CourseError when all workers are gone and none comes back."""
    from distributed import wait

    waiting, seen = set(futures), time.monotonic()
    while waiting:
        try:
            done, waiting = wait(waiting, timeout=2, return_when="FIRST_COMPLETED")
            yield from done
        except TimeoutError:
            pass
        if client.scheduler_info(n_workers=-1)["workers"]:
            seen = time.monotonic()
        elif time.monotonic() - seen > WORKER_SECONDS:
            raise CourseError("all workers are gone: start some and give the same command again; what was graded is kept")


def allow_failures(number: int, dask_scheduler: Any = None) -> None:
    """On the scheduler: how many workers may end under a task before it is given up."""
    dask_scheduler.allowed_failures = number


_graders: dict[str, Grader] = {}
_graders_lock = threading.Lock()


def _grader_of(about: Materials) -> Grader:
    """This process's grader for these materials; the one before it is closed."""
    key = hashlib.sha256(repr(about).encode()).hexdigest()
    with _graders_lock:
        if key not in _graders:
            for old in _graders.values():
                old.close()
            _graders.clear()
            _graders[key] = Grader(about)
        return _graders[key]


def grade_remotely(about: Materials, submission: Submission) -> Outcome:
    """What a Dask worker runs. It raises nothing but CourseError: not every exception survives the way to the client."""
    return grade_and_try_again(_grader_of(about), submission)


def remote_protections(about: Materials) -> list[str]:
    """What protections a Dask worker's machine lacks."""
    return _grader_of(about).missing


def write_exports(texts: dict[str, str], folder: Path, csv: Path | None) -> None:
    """Write the tables and the summary into `folder`, and grades.csv to `csv` too. Raises CourseError."""
    written = {folder / name: text for name, text in texts.items()} | ({csv: texts["grades.csv"]} if csv else {})
    for path, text in written.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
            temporary.replace(path)
        except OSError as error:
            raise CourseError(f"{path} cannot be written ({error.strerror}): the grades are in the gradebook; make room or name another "
                              "place, and give the same command again") from None


def about_waiting(outcomes: list[Outcome], marks: dict[str, Marks]) -> list[str]:
    """A sentence about the submissions with answers that wait for a person."""
    waiting = [outcome.student for outcome in outcomes if outcome.status != REJECTED and marks[outcome.student].to_grade]
    if not waiting:
        return []
    return [f"answers wait for a person (written ones, or handed in again after points were given by hand): {people(waiting)}; "
            "give their points in formgrader, then give the same command again"]


def about_reports(outcomes: list[Outcome], records: Records) -> list[str]:
    """A sentence about the submissions without a report that could be taken."""
    without = [outcome.student for outcome in outcomes if not records.has_report(outcome)]
    return [f"no report that could be taken (the notes say why): {people(without)}"] if without else []


def about_absent(students: list[str]) -> list[str]:
    """A sentence about those who were graded before and are not among the submissions now."""
    if not students:
        return []
    return [f"graded before, but not among these submissions and so not in these tables: {people(students)}; for one table of all put "
            "all submissions into one folder"]


def people(students: list[str]) -> str:
    """How many, and up to ten of their names."""
    return f"{len(students)} ({', '.join(students[:10])}{', ...' if len(students) > 10 else ''})"


def class_object(
    outcomes: list[Outcome], exercises: list[Exercise], marks: dict[str, Marks], most: float, remarks: list[str]
) -> dict:  # fmt: skip
    """The class for `--json`: of each what the grader found, and as `total` the points that count."""
    counts = Counter(outcome.status for outcome in outcomes)
    found = [as_object(outcome, exercises) | {"total": points_that_count(outcome, marks.get(outcome.student)), "max_total": most}
             for outcome in outcomes]
    return {"lesson": outcomes[0].lesson, "counts": {status: counts[status] for status in (GRADED, PARTLY, REJECTED)}, "remarks": remarks,
            "submissions": found}


def show_class(outcomes: list[Outcome], marks: dict[str, Marks], lesson: str, remarks: list[str], folder: Path) -> None:
    """Print the counts, who was not graded in full and why, what else is to be known, and where the files are."""
    counts = Counter(outcome.status for outcome in outcomes)
    print(f"{lesson}: {counts[GRADED]} graded, {counts[PARTLY]} graded up to some cell, {counts[REJECTED]} rejected")
    for outcome in outcomes:
        if outcome.status != GRADED:
            print(f"  {outcome.student}: {outcome.status}: {why(outcome, marks.get(outcome.student))}")
    for remark in remarks:
        print(remark)
    print(f"tables and summary: {folder}")
