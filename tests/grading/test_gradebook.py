"""The gradebook, the autograded notebooks and the feedback pages hold what was found, what an instructor entered, and no hidden test."""
import base64
import copy
import re
import sqlite3
import threading
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from toy_course import LESSON, SOLVED, TEST_EMPTY, cell, find, source_notebook, source_path

from helpers.errors import CourseError
from helpers.grading import gradebook as gradebook_module
from helpers.grading.course import Course
from helpers.grading.gradebook import Records
from helpers.grading.outcome import GRADED, PARTLY, REJECTED, CellResult, Outcome

CANARY = "canary_7141_in_the_hidden_test"
POINTS = {"test_mean": 2.0, "test_mean_empty": 1.0, "test_square": 3.0, "test_choice": 1.0}
PIXEL = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=")


@pytest.fixture
def toy(course):
    """The toy course, with a canary in a hidden test."""
    nb = source_notebook()
    test = find(nb, "test_mean")
    test.source = test.source.replace("one number is its own mean", CANARY)
    assert CANARY in test.source
    nbformat.write(nb, source_path(course))
    return Course(course)


def executed(course, answers=SOLVED, change=None) -> str:
    """The notebook as the grader hands it over: with hidden tests, answers, and the outputs of a wrong answer."""
    nb = copy.deepcopy(course.master(LESSON))
    for name, text in answers.items():
        find(nb, name).source = text
    test = find(nb, "test_mean")
    test.outputs = [new_output("error", ename="AssertionError", evalue=CANARY,
                               traceback=[f"----> 3 assert mean([4]) == 4, '{CANARY}'"])] if CANARY in test.source else []
    if change:
        change(nb)
    return nbformat.writes(nb)


def outcome(course, student, scores=(2, 1, 3, 1), status=GRADED, messages=None, **more) -> Outcome:
    cells = [CellResult(name, float(score), most, (messages or {}).get(name, "" if score == most else f"{name} failed"))
             for (name, most), score in zip(POINTS.items(), scores, strict=True)]
    if status == REJECTED:
        return Outcome(student, LESSON, f"{student}.ipynb", "d", REJECTED, reason="not a notebook", **more)
    more = {"notebook": executed(course), "submitted": "2026-11-20T10:00:00+00:00"} | more
    return Outcome(student, LESSON, f"{student}.ipynb", "d", status, cells=cells, **more)


@pytest.fixture
def gradebook(toy):
    with Gradebook(toy.settings().CourseDirectory.db_url) as found:
        yield found


def page_of(course, student) -> str:
    return (course.root / "classroom" / "feedback" / student / LESSON / "exercises_01.html").read_text(encoding="utf-8")


def autograded(course, student):
    return course.root / "classroom" / "autograded" / student / LESSON / "exercises_01.ipynb"


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def check_harmless(text):
    """No script, no handler, nothing from elsewhere."""
    page = Elements(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed", "a", "link", "form", "svg", "base", "video"})
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert tag != "img" or re.fullmatch(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+", attributes["src"])
    assert not re.search(r"(?i)(src|href)\s*=\s*[\"']?\s*(https?:|//|javascript:)", text)
    return page


# --- the gradebook ---


def test_scores_times_and_comments_are_in_the_gradebook(toy, gradebook):
    untouched = outcome(toy, "bob", (0, 0, 0, 0), notebook=nbformat.writes(toy.master(LESSON)))
    partly = outcome(toy, "cy", (2, 1, 0, 0), PARTLY, reason="stopped at `square`: took too long", stopped_at="square")
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada", (2, 0.5, 2.25, 1)), untouched, partly])
    ada = gradebook.find_submission(LESSON, "ada")
    assert (ada.score, ada.max_score, ada.needs_manual_grade) == (5.75, 7, False)
    assert ada.timestamp.isoformat() == "2026-11-20T10:00:00"
    grades = {grade.name: (grade.auto_score, grade.max_score) for grade in ada.notebooks[0].grades}
    assert grades == {"test_mean": (2, 2), "test_mean_empty": (0.5, 1), "test_square": (2.25, 3), "test_choice": (1, 1)}
    assert [comment.auto_comment for comment in ada.notebooks[0].comments] == [None] * 3
    bob = gradebook.find_submission(LESSON, "bob")
    assert (bob.score, {comment.auto_comment for comment in bob.notebooks[0].comments}) == (0, {"No response."})
    assert gradebook.find_submission(LESSON, "cy").score == 3
    stored = {c.name: c for c in gradebook.find_notebook("exercises_01", LESSON).source_cells}
    assert CANARY in stored["test_mean"].source and stored["test_mean"].locked and not stored["mean"].locked and stored["setup"].locked


def test_it_writes_what_nbgrader_itself_would(toy, gradebook):
    """The tables after this writer and after nbgrader's own API have the same content."""
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada")])
    gradebook.add_student("bea")
    by_nbgrader = gradebook.add_submission(LESSON, "bea")
    ours = gradebook.find_submission(LESSON, "ada")
    for kind in ("grades", "comments"):
        assert {row.name for row in getattr(by_nbgrader.notebooks[0], kind)} == {row.name for row in getattr(ours.notebooks[0], kind)}
    assert gradebook.find_grade("test_mean", "exercises_01", LESSON, "ada").score == 2
    assert [d["score"] for d in gradebook.submission_dicts(LESSON) if d["student"] == "ada"] == [7]


def test_a_new_gradebook_is_made_where_there_is_none(toy):
    path = toy.root / "classroom" / "gradebook.db"
    path.unlink()
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada")])
    with Gradebook(toy.settings().CourseDirectory.db_url) as gradebook:
        assert gradebook.find_submission(LESSON, "ada").score == 7
        assert gradebook.find_assignment(LESSON).max_score == 7
    with sqlite3.connect(path) as database:
        assert database.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_what_an_instructor_entered_survives_grading_again(toy, gradebook):
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada", (0, 1, 3, 1)), outcome(toy, "bob")])
        grade = gradebook.find_grade("test_mean", "exercises_01", LESSON, "ada")
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 1.5, 0.25, False
        gradebook.find_grade("test_choice", "exercises_01", LESSON, "ada").manual_score = 0.5
        gradebook.find_comment("mean", "exercises_01", LESSON, "ada").manual_comment = "almost: <b>look</b> at the divisor"
        gradebook.find_submission_notebook("exercises_01", LESSON, "ada").late_submission_penalty = 2
        gradebook.find_submission_notebook("exercises_01", LESSON, "ada").flagged = True
        student = gradebook.find_student("ada")
        student.first_name = "Ada"
        gradebook.db.commit()
        for _ in range(2):  # writing the same once more changes nothing
            writer.write([outcome(toy, "ada", (2, 1, 1, 1)), outcome(toy, "bob")])
            gradebook.db.expire_all()
            grade = gradebook.find_grade("test_mean", "exercises_01", LESSON, "ada")
            assert (grade.auto_score, grade.manual_score, grade.extra_credit, grade.score) == (2, 1.5, 0.25, 1.75)
            assert grade.needs_manual_grade, "points that were given to another result are to be looked at"
            assert gradebook.find_comment("mean", "exercises_01", LESSON, "ada").manual_comment == "almost: <b>look</b> at the divisor"
            sheet = gradebook.find_submission_notebook("exercises_01", LESSON, "ada")
            assert (sheet.late_submission_penalty, sheet.flagged, gradebook.find_student("ada").first_name) == (2, True, "Ada")
            assert gradebook.find_submission(LESSON, "ada").score == 1.75 + 1 + 1 + 0.5
    text = page_of(toy, "ada")
    assert "almost: &lt;b&gt;look&lt;/b&gt; at the divisor" in text and "points set by your instructor" in text
    assert "2.25 of 7 points" in Elements(text).text and "(after 2 for handing in late)" in Elements(text).text


def test_the_pages_alone_can_be_written_again_with_new_comments(toy, gradebook):
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada")])
        gradebook.find_comment("mean", "exercises_01", LESSON, "ada").manual_comment = "well done"
        gradebook.db.commit()
        writer.write_feedback([outcome(toy, "ada")])
    assert "well done" in page_of(toy, "ada")


def test_a_rejected_submission_leaves_no_row_and_keeps_an_earlier_one(toy, gradebook):
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada", (2, 1, 0, 1)), outcome(toy, "eve", status=REJECTED)])
        before, text = dump(toy), autograded(toy, "ada").read_text()
        writer.write([outcome(toy, "ada", status=REJECTED), outcome(toy, "eve", status=REJECTED)])
    assert dump(toy) == before and autograded(toy, "ada").read_text() == text
    for find_it in (lambda: gradebook.find_student("eve"), lambda: gradebook.find_submission(LESSON, "eve")):
        with pytest.raises(MissingEntry):
            find_it()
    assert not (toy.root / "classroom" / "autograded" / "eve").exists()
    assert "An earlier submission counts: 4 points." in page_of(toy, "ada")
    assert "not a notebook" in page_of(toy, "eve") and "not\nthe same as 0 points" in page_of(toy, "eve")


def dump(course):
    with sqlite3.connect(course.root / "classroom" / "gradebook.db") as database:
        return list(database.iterdump())


PLUGIN = """
from nbgrader.plugins import BasePlugin
class Late(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return total_seconds_late / 3600
"""


def test_late_penalties_come_from_nbgraders_plugin_and_only_with_a_due_date(toy, gradebook, monkeypatch, tmp_path):
    (tmp_path / "late_by_hours.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    with open(toy.root / "nbgrader_config.py", "a") as config:
        config.write("\nc.AssignLatePenalties.plugin_class = 'late_by_hours.Late'\n")

    def penalty(student):
        gradebook.db.expire_all()
        return gradebook.find_submission_notebook("exercises_01", LESSON, student).late_submission_penalty

    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada")])
        assert penalty("ada") is None
        gradebook.update_or_create_assignment(LESSON, duedate="2026-11-20T08:30:00")
        writer.write([outcome(toy, "ada"), outcome(toy, "bob", submitted="2026-11-20T08:00:00+00:00"),
                      outcome(toy, "cy", submitted="2026-11-21T08:30:00+00:00"), outcome(toy, "dan", submitted="")])
        assert [penalty(student) for student in ("ada", "bob", "cy", "dan")] == [1.5, None, 7, None]  # at most the score
        gradebook.grant_extension(LESSON, "ada", days=1)
        writer.write([outcome(toy, "ada"), outcome(toy, "cy", submitted="")])
        assert (penalty("ada"), penalty("cy")) == (None, 7)
    assert "0 of 7 points" in page_of(toy, "cy")


def test_a_plugin_that_fails_is_named_and_the_scores_are_stored(toy, gradebook):
    with open(toy.root / "nbgrader_config.py", "a") as config:
        config.write("\nfrom nbgrader.plugins import BasePlugin\nclass Late(BasePlugin):\n"
                     "    def late_submission_penalty(self, *args):\n        return 1 / 0\nc.AssignLatePenalties.plugin_class = Late\n")
    with Records(toy, LESSON) as writer:
        gradebook.update_or_create_assignment(LESSON, duedate="2026-11-20T08:30:00")
        with pytest.raises(CourseError, match="plugin for late submissions fails for ada .ZeroDivisionError"):
            writer.write([outcome(toy, "ada")])
    assert gradebook.find_submission(LESSON, "ada").score == 7


def test_changed_points_keep_manual_scores_and_changed_names_are_refused(toy, gradebook):
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada"), outcome(toy, "bob")])
    gradebook.find_grade("test_mean", "exercises_01", LESSON, "ada").manual_score = 0.5
    gradebook.db.commit()
    nb = source_notebook()
    nb.cells[2].source = nb.cells[2].source.replace("3 points", "6 points")
    find(nb, "test_mean").metadata.nbgrader.points = 5
    nbformat.write(nb, source_path(toy.root))
    with Records(toy, LESSON) as writer:
        again = outcome(toy, "ada")
        again.cells[0] = CellResult("test_mean", 5.0, 5.0)
        writer.write([again])
    gradebook.db.expire_all()
    assert gradebook.find_assignment(LESSON).max_score == 10
    grade = gradebook.find_grade("test_mean", "exercises_01", LESSON, "ada")
    assert (grade.auto_score, grade.manual_score, gradebook.find_submission(LESSON, "bob").score) == (5, 0.5, 7)
    nb.cells[nb.cells.index(find(nb, "test_mean_empty"))] = cell("test_none", TEST_EMPTY, points=1)
    nbformat.write(nb, source_path(toy.root))
    before = dump(toy)
    with pytest.raises(CourseError, match="other cells: move classroom/gradebook.db away .it keeps those grades."):
        Records(toy, LESSON)
    assert dump(toy) == before


def test_it_waits_for_a_locked_gradebook(toy, gradebook):
    with Records(toy, LESSON) as writer, other_program(toy) as other:
        threading.Timer(1.0, other.rollback).start()
        writer.write([outcome(toy, "ada")])
    assert gradebook.find_submission(LESSON, "ada").score == 7


def test_a_gradebook_that_stays_locked_is_named_and_the_batch_can_be_written_later(toy, gradebook, monkeypatch):
    monkeypatch.setattr(gradebook_module, "LOCKED_SECONDS", 0.5)
    with Records(toy, LESSON) as writer:
        with other_program(toy), pytest.raises(CourseError, match="locked by another program.* give the same command again"):
            writer.write([outcome(toy, "ada")])
        with pytest.raises(MissingEntry):
            gradebook.find_student("ada")
        writer.write([outcome(toy, "ada")])
    gradebook.db.expire_all()
    assert gradebook.find_submission(LESSON, "ada").score == 7


class other_program:
    """Another program in the middle of writing to the gradebook."""

    def __init__(self, course):
        self.database = sqlite3.connect(course.root / "classroom" / "gradebook.db", isolation_level=None, check_same_thread=False)

    def __enter__(self):
        self.database.execute("BEGIN EXCLUSIVE")
        return self

    def rollback(self):
        self.database.execute("ROLLBACK")

    def __exit__(self, *_):
        self.database.close()


def test_an_instructor_and_two_graders_at_once_lose_nothing(toy, gradebook):
    """A deadlock or a score written over would show here; each of the three retries or waits."""
    students = [f"s{number}" for number in range(6)]
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, student) for student in students])
    failures = []

    def grade(score):
        try:
            with Records(toy, LESSON) as writer:
                for student in students * 3:
                    writer.write([outcome(toy, student, (score, 1, 3, 1))])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=grade, args=(score,)) for score in (0, 1)]
    for thread in threads:
        thread.start()
    for number, student in enumerate(students):
        gradebook.find_grade("test_choice", "exercises_01", LESSON, student).manual_score = number / 10
        gradebook.find_comment("mean", "exercises_01", LESSON, student).manual_comment = f"comment {number}"
        gradebook.db.commit()
    for thread in threads:
        thread.join()
    assert failures == []
    gradebook.db.expire_all()
    for number, student in enumerate(students):
        assert gradebook.find_grade("test_choice", "exercises_01", LESSON, student).manual_score == number / 10
        assert gradebook.find_comment("mean", "exercises_01", LESSON, student).manual_comment == f"comment {number}"
        assert gradebook.find_submission(LESSON, student).score in (4 + number / 10, 5 + number / 10)


@pytest.mark.parametrize("content, reason", [(b"this is no database at all, but text" * 50, "not a database"), (None, "no such column")])
def test_a_gradebook_that_cannot_be_used_is_named_and_left_as_it_is(toy, content, reason):
    path = toy.root / "classroom" / "gradebook.db"
    if content is None:
        with sqlite3.connect(path) as database:
            database.execute("ALTER TABLE notebook RENAME COLUMN kernelspec TO other")
        database.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(CourseError, match=f"classroom/gradebook.db cannot be used .*{reason}"):
        Records(toy, LESSON)
    assert path.read_bytes() == before


# --- what formgrader opens ---


def test_formgrader_finds_the_submission_and_its_notebook(toy):
    submitted = toy.root / "classroom" / "submitted" / "ada" / LESSON
    submitted.mkdir(parents=True)
    (submitted / "timestamp.txt").write_text("2026-11-20 10:00:00 UTC")
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada", (2, 0, 3, 1))])
    api = NbGraderAPI(CourseDirectory(config=toy.settings()))
    (found,) = api.get_notebook_submissions(LESSON, "exercises_01")
    assert (found["student"], found["score"], found["index"]) == ("ada", 6, 0)
    assert api.get_autograded_students(LESSON) == {"ada"}
    assert autograded(toy, "ada").with_name("timestamp.txt").read_text() == "2026-11-20T10:00:00+00:00"
    nb = nbformat.read(autograded(toy, "ada"), as_version=4)
    nbformat.validate(nb)
    assert find(nb, "test_mean").metadata.nbgrader.points == 2 and find(nb, "mean").metadata.nbgrader.solution
    assert not list(autograded(toy, "ada").parent.glob(".*"))


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def hostile_cells(nb):
    answer = find(nb, "mean")
    image = base64.b64encode(b"\x89PNG\r\n" + b"x" * 40).decode()
    answer.outputs = [
        new_output("display_data", data={"text/html": HOSTILE, "text/plain": f"plain {HOSTILE}"}),
        new_output("display_data", data={"application/javascript": "alert(3)", "image/svg+xml": f"<svg>{HOSTILE}</svg>",
                                         "text/markdown": HOSTILE, "text/latex": HOSTILE}),
        new_output("display_data", data={"image/png": 'AAAA"><script>alert(4)</script>'}),
        new_output("display_data", data={"image/png": image}, metadata={"image/png": {"width": "1 onload=alert(5)"}}),
        new_output("execute_result", data={"text/plain": HOSTILE}, execution_count=1),
        new_output("stream", name="stdout", text=f"{HOSTILE}\x1b[31mred\x1b[0m 10%\r20%\r\n\x00\x07 half \ud800 pair"),
        new_output("error", ename=HOSTILE, evalue=HOSTILE, traceback=[HOSTILE, "\x1b[0;31mred"]),
    ]
    nb.cells += [
        new_markdown_cell(f"{HOSTILE}\n[x](javascript:alert(6)) ![y](attachment:none) ```\n{HOSTILE}\n```\n```mermaid\n{HOSTILE}\n```"),
        new_markdown_cell(f"~~~\n~~~\n$$\n{HOSTILE}\n$$\n\n    <b onclick=alert(7)>"),
        new_markdown_cell("![z](attachment:z)", attachments={"z": {"image/png": '"><script>alert(8)</script>'}}),
        new_raw_cell(HOSTILE, metadata={"raw_mimetype": "text/html"}),
        new_code_cell(f"# {HOSTILE}", metadata={"tags": [HOSTILE], "magics_language": HOSTILE}),
    ]
    nb.metadata["title"] = HOSTILE
    nb.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": HOSTILE}}
    nb.metadata["language_info"] = {"name": HOSTILE, "pygments_lexer": HOSTILE}


def hostile(course):
    return outcome(course, "mallory", (0, 0, 0, 0), PARTLY, {"test_mean": HOSTILE, "test_square": "half \ud800 pair"},
                   notebook=executed(course, SOLVED | {"mean": f"x = '''{HOSTILE}'''"}, hostile_cells),
                   reason=f"{HOSTILE}: out of time", stopped_at=HOSTILE, notes=[HOSTILE], missing_protections=[HOSTILE])


def test_what_a_learner_wrote_cannot_act_in_the_feedback_page(toy, gradebook):
    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "mallory")])
        gradebook.find_comment("mean", "exercises_01", LESSON, "mallory").manual_comment = HOSTILE
        gradebook.db.commit()
        writer.write([hostile(toy)])
    page = check_harmless(page_of(toy, "mallory"))
    assert page.text.count("alert(1)") > 8, "it is shown as text"
    assert "red 10%" not in page.text and "20%" in page.text and "\x1b" not in page.text
    assert [attributes["src"][:30] for tag, attributes in page.tags if tag == "img"] == ["data:image/png;base64,iVBORw0K"]


def test_what_a_learner_wrote_cannot_act_in_formgrader(toy):
    """formgrader's pages have the rights of the instructor, to whom the server gives a terminal."""
    from nbconvert.exporters import HTMLExporter
    from nbgrader.server_extensions.formgrader import handlers
    from traitlets.config import Config

    with Records(toy, LESSON) as writer:
        writer.write([hostile(toy), outcome(toy, "ada")])
    nbformat.validate(nbformat.read(autograded(toy, "mallory"), as_version=4))
    config = Config({"HTMLExporter": {"template_name": "formgrade", "extra_template_basedirs": [handlers.template_path]}})
    pages = {}
    for student in ("mallory", "ada"):
        exporter = HTMLExporter(config=config)
        pages[student], _ = exporter.from_filename(str(autograded(toy, student)), resources={"base_url": "", "index": 0, "total": 1})
        pages[student].encode()
    scripts = {name: [tag for tag in Elements(text).tags if tag[0] == "script"] for name, text in pages.items()}
    assert scripts["mallory"] == scripts["ada"]
    page = Elements(pages["mallory"])
    for tag, attributes in page.tags:
        assert not any("alert" in str(value) for value in attributes.values()), (tag, attributes)
        assert tag not in ("svg", "iframe") and not (tag == "img" and attributes["src"] == "x")
    assert page.text.count("alert(1)") > 8


def test_no_hidden_test_reaches_a_learner(toy):
    failed = outcome(toy, "ada", (0, 1, 3, 1))
    failed.cells[0] = CellResult("test_mean", 0.0, 2.0, "a hidden test failed: look at the divisor", hidden=True)
    with Records(toy, LESSON) as writer:
        writer.write([failed, outcome(toy, "bob", (0, 0, 0, 0), PARTLY, reason="stopped at `mean`: took too long", stopped_at="mean"),
                      outcome(toy, "eve", status=REJECTED)])
    assert CANARY in autograded(toy, "ada").read_text(), "the instructor sees it"
    pages = list((toy.root / "classroom" / "feedback").rglob("*.html"))
    assert len(pages) == 3
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert CANARY not in text and "mean([4])" not in text and "HIDDEN" not in text
        check_harmless(text)
    text = Elements(page_of(toy, "ada")).text
    assert "a hidden test failed: look at the divisor" in text
    assert "assert mean([1, 2, 3]) == 2" in text, "the visible part of the test"
    assert "Exercise 1 · Mean 1 of 3" in " ".join(text.split())
    assert "Graded up to a cell only: stopped at `mean`: took too long" in page_of(toy, "bob")


def test_a_page_shows_the_learners_cells_and_not_the_courses(toy):
    def change(nb):
        find(nb, "square").outputs = [new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure 1>"}),
                                      new_output("stream", name="stdout", text="of mine\n" * 5000)]
        nb.cells.append(new_markdown_cell("my *own* note"))

    with Records(toy, LESSON) as writer:
        writer.write([outcome(toy, "ada", notebook=executed(toy, change=change), notes=["a note of the grader"])])
    page = check_harmless(page_of(toy, "ada"))
    assert "return number * number" in page.text and "my *own* note" in page.text and "a note of the grader" in page.text
    assert "import sys" not in page.text and "# Toy exercises" not in page.text
    assert "30000 more characters" in page.text
    assert ("img", {"src": f"data:image/png;base64,{PIXEL}"}) in [(tag, {"src": about["src"]}) for tag, about in page.tags if tag == "img"]


def test_a_file_that_cannot_be_written_is_named(toy):
    (toy.root / "classroom" / "feedback").write_text("in the way")
    with Records(toy, LESSON) as writer, pytest.raises(CourseError, match="feedback/ada/01_toy/exercises_01.html cannot be written"):
        writer.write([outcome(toy, "ada")])
