"""Grading a class from end to end: the gradebook, the files, the tables; and that nothing is lost when something is killed."""
import contextlib
import csv
import errno
import io
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import zipfile
from datetime import datetime
from pathlib import Path

import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook
from sqlalchemy.exc import OperationalError
from toy_course import LESSON, SOLVED, answer, find, source_path

from helpers import config
from helpers.errors import CourseError
from helpers.grading import classroom, grader, journal, pages, submissions, tables
from helpers.grading.course import Course
from helpers.grading.gradebook import Records
from helpers.grading.harmless import harmless
from helpers.grading.outcome import GRADED, PARTLY, REJECTED, CellResult, Marks, Outcome
from helpers.grading.sandbox import Limits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes inherit sockets by number")
QUICK = Limits(cell_seconds=5, total_seconds=60)
CANARY = "hidden-canary"
WRONG_SQUARE = SOLVED | {"square": "def square(n): return 2 * n"}  # right for 0 and 2: half of 3 points


def options(**more):
    return classroom.Options(**{"limits": QUICK, "workers": 2} | more)


def hand_in(course: Path, student: str, answers: dict[str, str], stamp: str = "") -> Path:
    folder = course / "classroom" / "submitted" / student / LESSON
    folder.mkdir(parents=True, exist_ok=True)
    answer(course, answers, folder / "exercises_01.ipynb")
    if stamp:
        (folder / "timestamp.txt").write_text(stamp)
    return folder / "exercises_01.ipynb"


@pytest.fixture
def handed_in(course):
    """ada all right, bob half of the squares, eve ends her process, ned is no notebook."""
    test = nbformat.read(source_path(course), as_version=4)
    hidden = f"\n### BEGIN HIDDEN TESTS\nassert mean([8]) == 8, f'{{mean([8])}} is wrong'  # {CANARY}\n### END HIDDEN TESTS"
    find(test, "test_mean").source += hidden
    nbformat.write(test, source_path(course))
    hand_in(course, "ada", SOLVED, "2026-11-20 10:00:00 UTC")
    hand_in(course, "bob", WRONG_SQUARE)
    hand_in(course, "eve", SOLVED | {"choice": "import os; os._exit(0)"})
    hand_in(course, "ned", SOLVED).write_text("{")
    return course


def grade(course, **more):
    return classroom.grade("1", course / "classroom" / "submitted", options(**more), course)


def in_gradebook(course):
    with Gradebook(f"sqlite:///{course}/classroom/gradebook.db") as gradebook:
        return {submission.student_id: submission.score for submission in gradebook.assignment_submissions(LESSON)}


def test_a_class_is_graded_recorded_and_exported(handed_in, capsys):
    assert grade(handed_in) == classroom.NOT_ALL_GRADED
    said = capsys.readouterr().out
    assert "2 graded, 1 graded up to some cell, 1 rejected" in said and "ned: rejected" in said and "eve: graded up to" in said
    assert in_gradebook(handed_in) == {"ada": 7, "bob": 5.5, "eve": 6}
    folder = handed_in / "classroom" / "grading" / LESSON
    rows = {row["student"]: row for row in csv.DictReader(io.StringIO((folder / "grades.csv").read_text()))}
    assert {name: (row["status"], row["score"]) for name, row in rows.items()} == {
        "ada": (GRADED, "7"), "bob": (GRADED, "5.5"), "eve": (PARTLY, "6"), "ned": (REJECTED, "")}
    assert rows["eve"]["stopped_at"] == "choice" and "not a notebook" in rows["ned"]["reason"] and rows["bob"]["square"] == "1.5"
    summary = (folder / "summary.html").read_text()
    assert "2 graded" in summary and "half" not in summary and "2 of 4 squares are right" in summary and "ned" in summary
    for name in ("ada", "bob", "eve"):
        executed = nbformat.read(handed_in / f"classroom/autograded/{name}/{LESSON}/exercises_01.ipynb", as_version=4)
        assert find(executed, "test_square").metadata.nbgrader.points == 3
    page = (handed_in / f"classroom/feedback/eve/{LESSON}/exercises_01.html").read_text()
    assert "Graded up to a cell only" in page and "ended the Python process" in page
    assert "was not graded" in (handed_in / f"classroom/feedback/ned/{LESSON}/exercises_01.html").read_text()
    for path in (handed_in / "classroom").rglob("*"):
        if path.suffix in (".html", ".csv", ".jsonl") and "journal" not in path.name:
            assert CANARY not in path.read_text(), path


def test_what_is_unchanged_is_kept_and_what_an_instructor_entered_survives_a_regrade(handed_in, capsys):
    grade(handed_in)
    url = f"sqlite:///{handed_in}/classroom/gradebook.db"
    with Gradebook(url) as gradebook:
        given = gradebook.find_grade("test_square", "exercises_01", LESSON, "bob")
        given.manual_score, given.extra_credit = 2.5, 0.25
        gradebook.find_comment("square", "exercises_01", LESSON, "bob").manual_comment = "nearly <b>there</b>"
        gradebook.update_or_create_assignment(LESSON, duedate=datetime(2026, 11, 19))
        gradebook.db.commit()
    capsys.readouterr()
    assert grade(handed_in) == classroom.NOT_ALL_GRADED
    assert "3 of 4 were graded before and are unchanged" in capsys.readouterr().err  # ned is looked at again
    grade(handed_in, regrade=True)
    assert in_gradebook(handed_in)["bob"] == 4 + 2.5 + 0.25
    page = (handed_in / f"classroom/feedback/bob/{LESSON}/exercises_01.html").read_text()
    assert "nearly &lt;b&gt;there&lt;/b&gt;" in page
    with Gradebook(url) as gradebook:
        assert gradebook.find_submission(LESSON, "ada").total_seconds_late == 34 * 3600
        assert gradebook.find_grade("test_square", "exercises_01", LESSON, "bob").needs_manual_grade
    hand_in(handed_in, "bob", SOLVED)
    hand_in(handed_in, "ada", {}).write_text("{")  # a later file that is broken leaves the earlier score alone
    grade(handed_in)
    assert in_gradebook(handed_in) == {"ada": 7, "bob": 4 + 2.5 + 0.25, "eve": 6}


def test_hidden_inputs_change_with_the_seed_and_a_regrade_repeats_them(handed_in, tmp_path, capsys):
    nb = nbformat.read(source_path(handed_in), as_version=4)
    cell = find(nb, "test_choice")
    cell.source = "import numpy as np\nimport random\nprint(np.random.default_rng().integers(10**9), random.random(), choice); 0.5"
    nbformat.write(nb, source_path(handed_in))

    def printed(**more):
        grade(handed_in, to=tmp_path / str(random.random()) if "regrade" not in more else tmp_path / "same", **more)
        executed = nbformat.read(handed_in / f"classroom/autograded/ada/{LESSON}/exercises_01.ipynb", as_version=4)
        return find(executed, "test_choice").outputs[0].text

    first = printed(regrade=True)
    assert first == printed(regrade=True) and first != printed() and printed(seed="x") == printed(seed="x")


def test_a_zip_of_moodle_gives_a_table_for_moodle(course, tmp_path, capsys):
    answer(course, SOLVED, tmp_path / "solved.ipynb")
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        archive.write(tmp_path / "solved.ipynb", "Ada Lovelace_123456_assignsubmission_file_/exercises_01.ipynb")
        archive.writestr("=cmd_77_assignsubmission_file_/exercises_01.ipynb", "no notebook")
    assert classroom.grade("1", tmp_path / "class.zip", options(to=tmp_path / "out"), course) == classroom.NOT_ALL_GRADED
    rows = {row["Identifier"]: row for row in csv.DictReader((tmp_path / "out" / "moodle.csv").open())}
    assert rows["Participant 123456"]["Grade"] == "7" and [row["Grade"] for name, row in rows.items() if "123456" not in name] == [""]
    assert not re.search(r"^=", (tmp_path / "out" / "moodle.csv").read_text(), re.MULTILINE)


def test_one_notebook_is_reported_with_an_exit_code(course, tmp_path, capsys):
    cases = {"solved": (SOLVED, 0, 7), "wrong": (WRONG_SQUARE, 1, 5.5), "ends": (SOLVED | {"square": "import os; os._exit(0)"}, 3, 3)}
    for name, (answers, code, score) in cases.items():
        answer(course, answers, tmp_path / f"{name}.ipynb")
        assert classroom.grade("1", tmp_path / f"{name}.ipynb", options(as_json=True), course) == code
        said = json.loads(capsys.readouterr().out)
        assert said["score"] == score and said["max_score"] == 7 and len(said["exercises"]) == 3 and said["seed"]
    (tmp_path / "broken.ipynb").write_text("{")
    assert classroom.grade("1", tmp_path / "broken.ipynb", options(as_json=True), course) == 3
    assert json.loads(capsys.readouterr().out)["score"] is None
    assert not (course / "classroom" / "grading").exists()


def test_what_cannot_be_done_says_what_to_do(course, tmp_path):
    for path, more, told in ((tmp_path / "none", {}, "none"), (course, {"resume": True}, "nothing to resume")):
        with pytest.raises(CourseError, match=told):
            if more:
                hand_in(course, "ada", SOLVED)
                grade(course, **more)
            else:
                classroom.grade("1", path, options(), course)
    with pytest.raises(CourseError, match="no Dask scheduler answers"):
        grade(course, scheduler="tcp://127.0.0.1:1")
    with pytest.raises(CourseError, match="no exercises for a lesson '9'"):
        classroom.grade("9", course, options(), course)


def test_a_private_solutions_folder(course, tmp_path, capsys):
    (course / "solutions").rename(tmp_path / "private")
    hand_in(course, "ada", SOLVED)
    assert grade(course, solutions=tmp_path / "private") == 0


def test_a_course_at_fault_is_not_blamed_on_the_learner(course):
    nb = nbformat.read(source_path(course), as_version=4)
    find(nb, "setup").source = "import no_such_module"
    nbformat.write(nb, source_path(course))
    hand_in(course, "ada", SOLVED)
    grade(course)
    outcome = json.loads((course / "classroom" / "grading" / LESSON / "outcomes.jsonl").read_text())
    assert outcome["status"] == REJECTED and "the course's own cell `setup` fails" in outcome["reason"]


def run_grader(course, largest_file=-1):
    """The grader as a process of its own. largest_file: bytes that a file may have, as a full disk or a quota has it; -1 for any number."""
    code = "import resource, sys; from pathlib import Path; from helpers.grading import classroom\n" \
           "from helpers.grading.sandbox import Limits\n" \
           f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file},) * 2)\n" \
           f"root = Path({str(course)!r})\noptions = classroom.Options(workers=2, limits=Limits(5, 60))\n" \
           "try:\n    sys.exit(classroom.grade('1', root / 'classroom/submitted', options, root))\n" \
           "except classroom.CourseError as error:\n    sys.exit(f'error: {error}')"
    environment = os.environ | {"PYTHONPATH": str(config.ROOT), "COURSE_PROGRESS": "0"}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            start_new_session=True, text=True)


def outcomes(course):
    """Each outcome in the journal, in order; a torn line is none."""
    path = course / "classroom" / "grading" / LESSON / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [content for line in lines if (content := journal.whole(line)) and "student" in content]


def graded_lines(course):
    """The student of each outcome in the journal, in order."""
    return [content["student"] for content in outcomes(course)]


def wait_for_lines(course, process, number):
    """Until the journal has this many outcomes, or the process has ended."""
    while process.poll() is None and len(graded_lines(course)) < number:
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="kills and limits as Unix has them")
def test_killed_and_out_of_space_again_and_again_it_loses_and_repeats_nothing(course):
    """100 submissions; at random moments the grader is killed, its warm parent is killed, the disk is full: the result is what an
    undisturbed run gives."""
    rng, expected = random.Random(0), {}
    kinds = [(SOLVED, 7.0), (WRONG_SQUARE, 5.5), (SOLVED | {"choice": "choice = 'noise'"}, 6.0), (SOLVED | {"mean": "mean = 3"}, 4.0)]
    for number in range(100):
        answers, expected[f"s{number:03}"] = kinds[number % len(kinds)]
        hand_in(course, f"s{number:03}", answers | {"choice": answers["choice"] + f"  # {number}"})
    ended = []
    for fault in ("grader", "warm parent", "disk", "grader", "disk", "grader"):
        done = len(graded_lines(course))
        largest = max(path.stat().st_size for path in (course / "classroom").rglob("*") if path.is_file())
        process = run_grader(course, largest + rng.randrange(20_000, 60_000) if fault == "disk" else -1)
        if fault != "disk":
            wait_for_lines(course, process, done + rng.randrange(3, 14))
            time.sleep(rng.uniform(0, 0.3))
        if fault == "warm parent":  # the grader starts another one, and is ended a little later
            for child in psutil.Process(process.pid).children():
                if "grading.warm" in " ".join(child.cmdline()):
                    child.kill()
            wait_for_lines(course, process, len(graded_lines(course)) + 8)
        if fault != "disk":
            process.kill()
        said, _ = process.communicate(timeout=120)
        ended.append((fault, process.returncode))
        assert "Traceback" not in said, said
        if fault == "disk":
            assert process.returncode == 1 and "make room and give the same command again" in said, said
        assert done < len(graded_lines(course)) < 100 or fault == "disk", (ended, "the fault came too late to prove anything")
    last = run_grader(course)
    assert last.wait(300) == 0, last.stdout.read()
    assert in_gradebook(course) == expected
    lines = graded_lines(course)
    twice = {name: [(line["status"], line["reason"]) for line in outcomes(course) if line["student"] == name]
             for name in set(lines) if lines.count(name) > 1}
    assert sorted(lines) == sorted(expected), f"something was graded twice: {twice}"


@contextlib.contextmanager
def cluster(*more):
    """A scheduler and two workers in processes of their own; gives its address and the workers. more: arguments of the workers."""
    pytest.importorskip("distributed")
    environment = os.environ | {"PYTHONPATH": str(config.ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"}
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen([*run, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], env=environment, stderr=subprocess.PIPE,
                                 text=True)
    address = next(found[0] for line in scheduler.stderr if (found := re.search(r"tcp://127.0.0.1:\d+", line)))
    run = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", *more]
    workers = [subprocess.Popen(run, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.terminate()
        for process in (*workers, scheduler):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def test_workers_of_a_dask_scheduler_grade_and_one_that_dies_loses_nothing(course):
    for number in range(12):
        hand_in(course, f"s{number:02}", SOLVED | {"choice": f"import time; time.sleep(0.5)\nchoice = 'letters'  # {number}"})

    def kill(worker) -> None:
        while len(graded_lines(course)) < 2:
            time.sleep(0.1)
        worker.kill()

    with cluster("--no-nanny") as (address, workers):
        threading.Thread(target=kill, args=workers[:1], daemon=True).start()
        assert grade(course, scheduler=address) == 0
        assert workers[0].wait(5) is not None
    assert in_gradebook(course) == {f"s{number:02}": 7 for number in range(12)}


DEADLY = """
import os
from helpers.grading import grader

class Grader(grader.Grader):
    def grade(self, submission):
        if submission.student == "eve":
            os._exit(1)
        return super().grade(submission)

def dask_setup(worker):
    from helpers.grading import classroom
    classroom.Grader = Grader
"""


def test_a_submission_that_ends_three_workers_is_rejected_and_named(course, tmp_path):
    """Nothing that a learner writes can do it, so workers are started that die of one name; each is started again."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    for name in ("ada", "eve", "zoe"):
        hand_in(course, name, SOLVED)
    with cluster("--preload", str(tmp_path / "deadly.py")) as (address, _):
        assert grade(course, scheduler=address) == classroom.NOT_ALL_GRADED
    outcomes = {(found := json.loads(line))["student"]: found for line in
                (course / "classroom/grading" / LESSON / "outcomes.jsonl").read_text().splitlines()}
    assert outcomes["eve"]["status"] == REJECTED and "ended 3 workers" in outcomes["eve"]["reason"]
    assert outcomes["eve"]["score"] is None and in_gradebook(course) == {"ada": 7, "zoe": 7}


def test_so_it_is_on_one_machine(course, monkeypatch):
    usual, lost = grader.Grader.grade, []

    def deadly(self, submission):
        if submission.student == "eve":
            self.parent.process.kill()
            lost.append(self.parent)
            raise EOFError("the warm parent process is gone")
        return usual(self, submission)

    monkeypatch.setattr(grader.Grader, "grade", deadly)
    for name in ("ada", "eve", "zoe"):
        hand_in(course, name, SOLVED)
    assert grade(course) == classroom.NOT_ALL_GRADED
    assert len(lost) == 3 and in_gradebook(course) == {"ada": 7, "zoe": 7}
    assert "failed on it 3 times" in (course / "classroom/feedback/eve" / LESSON / "exercises_01.html").read_text()


def test_the_last_try_is_alone(course, monkeypatch):
    """Who stood three times beside the one that ends the process they share is not to blame."""
    usual, order = grader.Grader.grade, []

    def unlucky(self, submission):
        order.append(submission.student)
        if submission.student == "ada" and order.count("ada") < 3:
            raise EOFError("the warm parent process is gone")
        if submission.student == "zoe":
            time.sleep(1)
        outcome = usual(self, submission)
        order.append(f"{submission.student} done")
        return outcome

    monkeypatch.setattr(grader.Grader, "grade", unlucky)
    for name in ("ada", "zoe"):
        hand_in(course, name, SOLVED)
    assert grade(course) == classroom.ALL_POINTS and in_gradebook(course) == {"ada": 7, "zoe": 7}
    assert order[-3:] == ["zoe done", "ada", "ada done"], order


def test_a_fault_of_the_machine_is_not_the_learners(course, monkeypatch):
    """What fails once is tried again; a full disk ends the grading, and nothing wrong is recorded."""
    usual, failed = grader.Box.__enter__, []

    def fails_once(self):
        if not failed:
            failed.append(self)
            raise OSError("the sandbox cannot be built: for once")
        return usual(self)

    hand_in(course, "ada", SOLVED)
    with monkeypatch.context() as patch:
        patch.setattr(grader.Box, "__enter__", fails_once)
        patch.setattr(grader.Grader, "_protections", lambda self: [])  # it would take the first failure for a missing protection
        assert grade(course) == 0 and failed and in_gradebook(course) == {"ada": 7}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    hand_in(course, "bob", SOLVED)
    with monkeypatch.context() as patch:
        patch.setattr(grader.Run, "perform", full)
        with pytest.raises(CourseError, match="make room and give the same command again"):
            grade(course)
    assert in_gradebook(course) == {"ada": 7} and graded_lines(course) == ["ada"]
    assert grade(course) == 0 and in_gradebook(course) == {"ada": 7, "bob": 7}


def outcome(**more):
    about = {"student": "ada", "lesson": LESSON, "origin": "a.ipynb", "digest": "0", "status": GRADED}
    return Outcome(**about | more)


def test_nothing_a_learner_wrote_is_taken_for_html_or_a_formula(course):
    evil = "<script>alert(1)</script>"
    nb = Course(course).master(LESSON)
    cell = find(nb, "square")
    cell.source = f"# {evil}"
    cell.outputs = [
        nbformat.v4.new_output("display_data", {"text/html": evil, "text/plain": evil}), nbformat.v4.new_output("stream", text=evil),
        nbformat.v4.new_output("error", ename=evil, evalue=evil, traceback=[evil]),
        nbformat.v4.new_output("display_data", {"image/png": f'"><{evil}'}),
    ]  # fmt: skip
    exercises = Course(course).exercises(LESSON)
    cells = [CellResult(name, 0, 1, evil) for exercise in exercises for name in exercise.tests]
    found = outcome(student=f"=1+1{evil}", cells=cells, notes=[evil], reason=evil, status=PARTLY, notebook=nbformat.writes(nb))
    marks = Marks({}, {}, set(), 0.0, [evil])
    page = pages.feedback_page(found, exercises, Course(course).master(LESSON), harmless(nb, Course(course).master(LESSON)), marks)
    assert "<script" not in page and "&lt;script" in page
    assert "<script" not in pages.summary_page([found], exercises, {}, 7, LESSON, [], [evil])
    tried = (tables.full_csv([found], exercises, {"x": marks}, 7), tables.canvas_csv([found], {}, 7),
             tables.moodle_csv([found], exercises, {found.student: marks}, 7))
    for text in tried:
        for row in csv.reader(io.StringIO(text)):
            assert not any(item.startswith(("=", "+", "-", "@")) for item in row)
    assert json.loads(tables.json_lines([found]))["score"] == 0


def test_what_a_person_gave_full_points_for_is_not_said_to_fail(course):
    exercises = Course(course).exercises(LESSON)
    cells = [CellResult(name, 0, 1, "look at this") for exercise in exercises for name in exercise.tests]
    points = {cell.name: 0.0 for cell in cells}
    whole = {name: exercise.max_score / len(exercise.tests) for exercise in exercises for name in exercise.tests}
    for counted, by_hand, said in ((points, set(), True), (whole, set(whole), False)):
        marks = {"ada": Marks(counted, points, by_hand, 0.0, [])}
        assert ("look at this" in pages.summary_page([outcome(cells=cells)], exercises, marks, 7, LESSON, [])) is said
        assert ("look at this" in tables.moodle_csv([outcome(cells=cells)], exercises, marks, 7)) is said


def test_a_formula_behind_another_separator_is_none():
    assert tables.cell("x;=HYPERLINK(1)") == "x;'=HYPERLINK(1)" and tables.cell("a; -1;+2\t@b;c") == "a; '-1;'+2\t'@b;c"
    assert tables.cell("a;b = c") == "a;b = c" and tables.cell('x;"=1"') == "x;\"'=1\""
    assert tables.cell("=1") == "'=1" and tables.cell(-2.5) == "-2.5"


def test_the_process_that_runs_the_tests_has_a_limit_of_memory(course):
    nb = nbformat.read(source_path(course), as_version=4)
    find(nb, "test_choice").source += "\nimport resource\nassert resource.getrlimit(resource.RLIMIT_DATA)[0] == 2 * 3000 * 2**20"
    nbformat.write(nb, source_path(course))
    assert classroom.grade("1", hand_in(course, "ada", SOLVED), options(), course) == 0


def test_words_that_no_file_can_hold_do_not_end_the_grading_of_the_class(course, capsys):
    path = hand_in(course, "ada", SOLVED | {"square": "def square(n): raise ValueError('odd \\ud800')"})
    nb = nbformat.read(path, as_version=4)
    nb.cells[0].metadata["nbgrader"] = {"grade_id": "\ud800" + 20_000 * "x", "locked": True}
    path.write_text(json.dumps(nb), encoding="utf-8")
    hand_in(course, "bob", SOLVED)
    assert grade(course) == 0
    assert "ValueError: odd \ufffd" in (course / "classroom" / "grading" / LESSON / "summary.html").read_text(encoding="utf-8")
    assert len((course / "classroom" / "grading" / LESSON / "grades.csv").read_text(encoding="utf-8")) < 12_000
    assert classroom.grade("1", path, options(), course) == classroom.POINTS_LOST
    assert "note: the cell `\ufffdxxx" in capsys.readouterr().out


def test_canvas_gets_its_columns_and_points_possible(course):
    rejected = outcome(student="bob_7", status=REJECTED)
    rows = list(csv.reader(io.StringIO(tables.canvas_csv([outcome(student="doejane_12345"), rejected], {}, 7))))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", LESSON] and rows[1][5] == "7"
    assert rows[2][:2] == ["doejane", "12345"] and rows[3][1:] == ["7", "", "", "", ""]
    assert tables.name_and_number(submissions.safe_student("Jane O\u2019Brien_102")) == ("Jane O_Brien", "102")


def test_the_tables_hold_what_counts_in_the_gradebook(course, capsys):
    for student in ("ada", "bob", "cy"):
        hand_in(course, student, SOLVED)
    (course / "classroom" / "submitted" / "cy" / LESSON / "exercises_01.ipynb").write_text("no notebook", encoding="utf-8")
    grade(course)
    folder = course / "classroom" / "grading" / LESSON
    assert [row["score"] for row in csv.DictReader(open(folder / "grades.csv"))] == ["7", "7", ""]
    first = Course(course).exercises(LESSON)[0]
    with Gradebook(f"sqlite:///{course}/classroom/gradebook.db") as gradebook:
        gradebook.find_grade(first.tests[0], "exercises_01", LESSON, "ada").manual_score = 0
        gradebook.find_grade(first.tests[0], "exercises_01", LESSON, "bob").extra_credit = 0.5
        gradebook.find_submission_notebook("exercises_01", LESSON, "bob").late_submission_penalty = 2
        gradebook.db.commit()
        lost = gradebook.find_grade(first.tests[0], "exercises_01", LESSON, "ada").max_score
    grade(course)
    rows = [[row[name] for name in ("score", "max_score", first.name, "report", "to_grade", "penalty")]
            for row in csv.DictReader(open(folder / "grades.csv"))]
    assert rows == [[f"{7 - lost:g}", "7", f"{first.max_score - lost:g}", "", "0", "0"],
                    ["5.5", "7", f"{first.max_score + 0.5:g}", "", "0", "2"], ["", "7", "", "", "", ""]]
    assert [row[LESSON] for row in csv.DictReader(open(folder / "canvas.csv"))] == ["7", f"{7 - lost:g}", "5.5", ""]
    assert [row["Grade"] for row in csv.DictReader(open(folder / "moodle.csv"))] == [f"{7 - lost:g}", "5.5", ""]
    assert f"mean {(12.5 - lost) / 2:.1f}" in (folder / "summary.html").read_text(encoding="utf-8")
    found = [json.loads(line)["score"] for line in open(folder / "outcomes.jsonl")]
    assert found == [7, 7, None]  # what the grader found is kept beside it


def test_a_gradebook_that_was_moved_away_or_put_back_is_filled_again(course, capsys):
    book = course / "classroom" / "gradebook.db"
    hand_in(course, "ada", WRONG_SQUARE)
    hand_in(course, "ned", {}).write_text("{")
    grade(course)
    earlier = book.read_bytes()
    hand_in(course, "ada", SOLVED)
    grade(course)
    for content in (earlier, None):
        book.write_bytes(content) if content else book.unlink()
        capsys.readouterr()
        grade(course)
        assert "the gradebook did not hold what was recorded of 1 (ada)" in capsys.readouterr().err
        assert in_gradebook(course) == {"ada": 7}
        (row, _) = csv.DictReader(open(course / "classroom" / "grading" / LESSON / "grades.csv"))
        assert row["score"] == "7"


def test_those_who_were_graded_before_and_are_missing_now_are_named(course, capsys):
    hand_in(course, "ada", SOLVED)
    grade(course)
    (course / "classroom" / "submitted" / "ada").rename(course / "section a")
    hand_in(course, "bob", SOLVED)
    capsys.readouterr()
    grade(course)
    said = "graded before, but not among these submissions and so not in these tables: 1 (ada)"
    assert said in capsys.readouterr().out
    assert said in (course / "classroom" / "grading" / LESSON / "summary.html").read_text(encoding="utf-8")
    grade(course, seed="other")  # begins a new journal
    assert said in capsys.readouterr().out


def test_an_earlier_submission_of_a_rejected_one_is_named(course, capsys):
    hand_in(course, "ada", SOLVED)
    grade(course)
    hand_in(course, "ada", {}).write_text("{")
    grade(course)
    said = "an earlier submission has 7 points in the gradebook, which no table holds"
    folder = course / "classroom" / "grading" / LESSON
    assert said in capsys.readouterr().out and said in (folder / "summary.html").read_text(encoding="utf-8")
    (row,) = csv.DictReader(open(folder / "grades.csv"))
    assert row["score"] == "" and said in row["reason"]
    (row,) = csv.DictReader(open(folder / "moodle.csv"))  # learners read this one
    assert row["Grade"] == "" and "is not a notebook" in row["Feedback comments"] and "gradebook" not in row["Feedback comments"]


def test_who_hands_in_again_after_points_were_given_by_hand_is_to_be_looked_at(course, capsys):
    hand_in(course, "ada", WRONG_SQUARE)
    grade(course)
    with Gradebook(f"sqlite:///{course}/classroom/gradebook.db") as gradebook:
        gradebook.find_grade("test_square", "exercises_01", LESSON, "ada").manual_score = 2
        gradebook.db.commit()
    grade(course)
    assert "wait for a person" not in capsys.readouterr().out
    hand_in(course, "ada", SOLVED)
    grade(course, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert "by hand): 1 (ada)" in said["remarks"][0]
    assert [said["submissions"][0][name] for name in ("score", "max_score", "total", "max_total")] == [7, 7, 6, 7]


def test_a_due_date_and_a_time_that_change_count_without_grading_anew(course):
    path = hand_in(course, "ada", SOLVED, "2026-11-20 10:00:00 UTC")
    with open(course / "nbgrader_config.py", "a") as file:
        file.write('\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    grade(course)
    with Gradebook(f"sqlite:///{course}/classroom/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment(LESSON, duedate=datetime(2026, 11, 19))
    grade(course)
    (row,) = csv.DictReader(open(course / "classroom" / "grading" / LESSON / "grades.csv"))
    assert (row["score"], row["penalty"]) == ("0", "7")
    path.with_name("timestamp.txt").write_text("2026-11-18 10:00:00 UTC")
    grade(course)
    (row,) = csv.DictReader(open(course / "classroom" / "grading" / LESSON / "grades.csv"))
    assert (row["score"], row["penalty"]) == ("7", "0") and row["submitted"].startswith("2026-11-18")


def test_one_notebook_alone_is_not_said_to_be_stored(course, tmp_path, capsys):
    answer(course, SOLVED, tmp_path / "solved.ipynb")
    assert classroom.grade("1", tmp_path / "solved.ipynb", options(), course) == 0
    assert "nothing is stored: to record it, give the folder" in capsys.readouterr().err
    for more in ({"csv": tmp_path / "x.csv"}, {"to": tmp_path / "x"}, {"regrade": True}, {"resume": True}):
        with pytest.raises(CourseError, match="one notebook alone is graded and shown, and nothing is stored"):
            classroom.grade("1", tmp_path / "solved.ipynb", options(**more), course)


def test_a_gradebook_that_is_locked_at_the_start_is_waited_for(course, monkeypatch):
    opened = Records._open
    waits = iter([OperationalError("x", {}, Exception("database is locked"))])

    def locked_once(self):
        if error := next(waits, None):
            raise error
        return opened(self)

    monkeypatch.setattr(Records, "_open", locked_once)
    with Records(Course(course), LESSON) as records:
        assert records.possible() == 7


def test_a_gradebook_that_stays_locked_is_named(course, monkeypatch):
    import sqlite3

    monkeypatch.setattr("helpers.grading.gradebook.LOCKED_SECONDS", 1)
    with Records(Course(course), LESSON):
        pass
    other = sqlite3.connect(course / "classroom" / "gradebook.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(CourseError, match="gradebook.db is locked by another program"):
            Records(Course(course), LESSON)
    finally:
        other.close()
