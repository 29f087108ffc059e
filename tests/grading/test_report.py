"""A lesson with a second notebook, whose written answers a person grades: released, handed in, recorded, and never lost."""
from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.api import Gradebook
from toy_course import LESSON, SOLVED, answer, find, write_course

from helpers import config
from helpers.errors import CourseError
from helpers.grading import classroom, submissions
from helpers.grading.course import Course
from helpers.grading.harmless import harmless
from helpers.grading.release import expected, release

NAME = "report_01.ipynb"
ABOUT = {"schema_version": 3, "grade": True, "solution": True, "locked": False, "task": False}


def written(name: str, points: float, **about: object) -> nbformat.NotebookNode:
    metadata = {"nbgrader": {**ABOUT, "grade_id": name, "points": points, **about}}
    return new_markdown_cell(f"The model answer for {name}.", id=name, metadata=metadata)


def source(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    cells = cells or (written("why", 2), written("whom", 3))
    kernel = {"name": "python3", "display_name": "x", "language": "python"}
    return new_notebook(cells=[new_markdown_cell("# Report\n\nWhat counts.", id="intro"), *cells], metadata={"kernelspec": kernel})


@pytest.fixture(scope="module")
def once(tmp_path_factory) -> Path:
    """The course, released."""
    root = write_course(tmp_path_factory.mktemp("released") / "course")
    nbformat.write(source(), root / "solutions" / LESSON / NAME)
    release([LESSON], root)
    return root


@pytest.fixture
def course(once, tmp_path) -> Path:
    return shutil.copytree(once, tmp_path / "course")


def released(root: Path) -> Path:
    return root / "lessons" / "exercises" / LESSON / NAME


def hand_in(root: Path, student: str, **answers: str) -> Path:
    """The exercises solved, and the report with these answers, in nbgrader's tree."""
    folder = root / "handed" / student / LESSON
    folder.mkdir(parents=True, exist_ok=True)
    answer(root, SOLVED, folder / "exercises_01.ipynb")
    nb = nbformat.read(released(root), as_version=4)
    for name, text in answers.items():
        find(nb, name).source = text
    nbformat.write(nb, folder / NAME)
    return root / "handed"


def grades(root: Path) -> dict[str, dict[str, tuple]]:
    """{student: {cell of the report: (score, needs a person)}}."""
    with Gradebook(f"sqlite:///{root / 'classroom' / 'gradebook.db'}") as book:
        return {part.student.id: {grade.name: (grade.score, grade.needs_manual_grade) for grade in part.grades}
                for part in book.notebook_submissions("report_01", LESSON)}


def table(root: Path) -> list[list[str]]:
    """Points, most points, points of the report and how many answers are open, of each row of grades.csv."""
    with open(root / "classroom" / "grading" / LESSON / "grades.csv", encoding="utf-8") as file:
        return [[row[name] for name in ("score", "max_score", "report", "to_grade")] for row in csv.DictReader(file)]


def page(root: Path, student: str) -> str:
    return " ".join((root / "classroom" / "feedback" / student / LESSON / "exercises_01.html").read_text(encoding="utf-8").split())


def test_the_release_has_the_report_without_the_model_answers(course):
    nb = nbformat.read(released(course), as_version=4)
    assert "What counts." in nb.cells[0].source
    assert [cell.source for cell in nb.cells[1:]] == ["YOUR ANSWER HERE"] * 2
    assert "model answer" not in released(course).read_text(encoding="utf-8")
    assert released(course).read_text(encoding="utf-8") == expected(LESSON, course, NAME)


def test_a_new_release_keeps_a_dated_copy_of_a_written_report(course, capsys):
    nb = nbformat.read(released(course), as_version=4)
    find(nb, "why").source = "Because."
    nbformat.write(nb, released(course))
    release([LESSON], course)
    assert "your earlier work is kept beside it in report_01.20" in capsys.readouterr().out
    (copy,) = released(course).parent.glob("report_01.20*.ipynb")
    assert "Because." in copy.read_text(encoding="utf-8") and "Because." not in released(course).read_text(encoding="utf-8")


@pytest.mark.parametrize("cells, words", [
    ([written("why", 0)], "has no points"),
    ([written("why", 1), written("why", 1)], "a grade_id of its own"),
    ([written("why", 1, solution=False)], "only written answers"),
    ([new_markdown_cell("text", id="text")], "has no answer cell"),
])
def test_a_report_that_is_not_in_order_is_not_released(course, cells, words):
    before = released(course).read_bytes()
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(source(*cells), course / "solutions" / LESSON / NAME)
    with pytest.raises(CourseError, match=words):
        release([LESSON], course)
    assert released(course).read_bytes() == before


def test_a_class_is_graded_and_its_reports_wait_for_a_person(course, capsys):
    handed = hand_in(course, "ada", why="It <b>matters</b>.", whom="Botanists.")
    hand_in(course, "ben", why="So.")
    hand_in(course, "cleo")
    (handed / "cleo" / LESSON / NAME).unlink()
    options = classroom.Options(workers=1)
    assert classroom.grade(LESSON, handed, options, course) == 0
    assert grades(course) == {
        "ada": {"why": (0, True), "whom": (0, True)}, "ben": {"why": (0, True), "whom": (0, False)},
        "cleo": {"why": (0, False), "whom": (0, False)},
    }  # fmt: skip
    shown = course / "classroom" / "autograded" / "ada" / LESSON / NAME
    assert "```\nIt <b>matters</b>.\n```" in find(nbformat.read(shown, as_version=4), "why").source  # as text, not as HTML
    assert not (course / "classroom" / "autograded" / "cleo" / LESSON / NAME).exists()
    assert "7 of 12 points" in page(course, "ada") and "2 of its answers are still to be graded" in page(course, "ada")
    assert "answers wait for a person" in (said := capsys.readouterr().out) and "by hand): 2 (ada, ben);" in said
    assert table(course) == [["7", "12", "0", "2"], ["7", "12", "0", "1"], ["7", "12", "0", "0"]]

    with Gradebook(f"sqlite:///{course / 'classroom' / 'gradebook.db'}") as book:
        for name, points in (("why", 2), ("whom", 1.5)):
            grade = book.find_grade(name, "report_01", LESSON, "ada")
            grade.manual_score, grade.needs_manual_grade = points, False
        book.db.commit()
    assert classroom.grade(LESSON, handed, options, course) == 0  # nothing is graded anew, the pages are written again
    assert "10.5 of 12 points" in page(course, "ada") and "your report: 3.5 of 5 points." in page(course, "ada")
    assert table(course)[0] == ["10.5", "12", "3.5", "0"] and "by hand): 1 (ben);" in capsys.readouterr().out
    folder = course / "classroom" / "grading" / LESSON
    assert "by hand): 1 (ben);" in (folder / "summary.html").read_text(encoding="utf-8")
    assert [row[LESSON] for row in csv.DictReader(open(folder / "canvas.csv"))] == ["12", "10.5", "7", "7"]

    hand_in(course, "ada", why="It matters more.", whom="Botanists.")
    assert classroom.grade(LESSON, handed, options, course) == 0  # another report: graded again, the person's points stay
    assert grades(course)["ada"] == {"why": (2, True), "whom": (1.5, True)}
    assert "It matters more." in shown.read_text(encoding="utf-8")


def test_a_damaged_report_costs_nothing_but_itself(course):
    handed = hand_in(course, "ada", why="It matters.")
    (handed / "ada" / LESSON / NAME).write_text("{", encoding="utf-8")
    assert classroom.grade(LESSON, handed, classroom.Options(workers=1), course) == 0
    assert grades(course)["ada"] == {"why": (0, False), "whom": (0, False)}
    assert "the report was not taken" in page(course, "ada") and "7 of 12 points" in page(course, "ada")


def unknown_cell(nb):
    nb |= {"nbformat_minor": 99}
    nb["cells"].append({"cell_type": "foo", "metadata": {}})


def endless_points(nb):
    about = {"grade_id": "zz", "grade": True, "solution": True, "points": 10**400, "checksum": "x"}
    nb["cells"].append({"cell_type": "markdown", "id": "zz", "metadata": {"nbgrader": about}, "source": ""})


def many_cells(nb):
    nb["cells"] += [{"cell_type": "markdown", "id": f"more-{n}", "metadata": {}, "source": ""} for n in range(1001)]


def many_outputs(nb):
    nb["cells"].append(new_code_cell(outputs=[new_output("stream")] * 20_001))


def no_metadata(nb):
    for cell in nb["cells"]:
        cell["metadata"] = {}


@pytest.mark.parametrize("change, told", [
    (unknown_cell, "the report was not taken: report_01.ipynb is a damaged notebook (cell 4 is of an unknown kind, or has no text)"),
    (endless_points, "in your report: the cell `zz` does not belong to these exercises"),
    (many_cells, "the report was not taken: report_01.ipynb has 1004 cells, 1000 are allowed"),
    (many_outputs, "the report was not taken: report_01.ipynb has 20001 outputs, 20000 are allowed"),
    (no_metadata, "in your report: the answer cell `why` is missing"),
])  # fmt: skip
def test_one_report_never_ends_the_grading_of_the_class_and_what_was_found_in_it_lasts(course, change, told):
    handed = hand_in(course, "ada", why="It matters.")
    hand_in(course, "ben", why="It matters.")
    path = handed / "ada" / LESSON / NAME
    nb = json.loads(path.read_text(encoding="utf-8"))
    change(nb)
    path.write_text(json.dumps(nb), encoding="utf-8")
    for _ in range(2):  # the second time the outcome comes from the journal
        assert classroom.grade(LESSON, handed, classroom.Options(workers=1), course) == 0
        assert grades(course)["ben"]["why"] == (0, True) and "7 of 12 points" in page(course, "ada")
        assert told.replace("`", "") in page(course, "ada").replace("`", "") and told not in page(course, "ben")
        table = (course / "classroom" / "grading" / LESSON / "grades.csv").read_text(encoding="utf-8")
        assert table.count(told) == 1
        assert "It matters." not in (course / "classroom" / "grading" / LESSON / "outcomes.jsonl").read_text(encoding="utf-8")


def test_a_fault_on_one_report_or_notebook_leaves_the_others_alone(course, monkeypatch):
    handed = hand_in(course, "ada", why="It breaks.")
    hand_in(course, "ben", why="It matters.")

    def faulty(nb, master):
        if any("breaks" in cell.source for cell in nb.cells) or "author" in nb.metadata:
            raise RuntimeError("a fault")
        return harmless(nb, master)

    monkeypatch.setattr("helpers.grading.gradebook.harmless", faulty)
    path = handed / "ada" / LESSON / "exercises_01.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.metadata["author"] = "ada"
    nbformat.write(nb, path)
    assert classroom.grade(LESSON, handed, classroom.Options(workers=1), course) == 0
    assert "the report was not taken: it cannot be read (RuntimeError)" in page(course, "ada")
    assert "This notebook cannot be shown (RuntimeError)" in page(course, "ada") and "7 of 12 points" in page(course, "ada")
    assert grades(course)["ben"]["why"] == (0, True)


def test_the_report_is_found_in_trees_and_in_canvas_zips(course, tmp_path):
    handed = hand_in(course, "ada", why="It matters.")
    (found,) = submissions.find(handed, LESSON)
    assert not found.problem and b"It matters." in found.report and "not graded" not in found.origin
    assert found.digest() != submissions.Submission("ada", "", found.content).digest()

    archive = tmp_path / "submissions.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for number, (user, file) in enumerate([("ada_7", "exercises_01.ipynb"), ("ada_7", NAME), ("ben_8", NAME)]):
            zipped.write(handed / "ada" / LESSON / file, f"{user}_{100 + number}_{file}")
    ada, ben = submissions.find(archive, LESSON)
    assert not ada.problem and b"It matters." in ada.report
    assert "handed in the report alone: ask for exercises_01.ipynb" in ben.problem


def test_a_report_that_is_missing_or_named_otherwise_is_said(course, capsys):
    handed = hand_in(course, "ada", why="It matters.")
    (handed / "ada" / LESSON / NAME).rename(handed / "ada" / LESSON / "report_01 (1).ipynb")  # as browsers name a second download
    hand_in(course, "ben", why="So.")
    options = classroom.Options(workers=1)
    assert classroom.grade(LESSON, handed, options, course) == 0
    assert grades(course)["ada"]["why"] == (0, True) and "no report" not in capsys.readouterr().out
    (handed / "ben" / LESSON / NAME).unlink()
    assert classroom.grade(LESSON, handed, options, course) == 0
    assert "no report that could be taken (the notes say why): 1 (ben)" in capsys.readouterr().out
    assert "no report was handed in with this notebook: hand in report_01.ipynb beside it" in page(course, "ben")


def test_cells_of_the_same_name_in_exercises_and_report_both_count(course):
    nbformat.write(source(written("square", 2), written("test_square", 3)), course / "solutions" / LESSON / NAME)
    release([LESSON], course)
    handed = hand_in(course, "ada", square="Because.")
    assert classroom.grade(LESSON, handed, classroom.Options(workers=1), course) == 0
    assert table(course) == [["7", "12", "0", "1"]] and "7 of 12 points" in page(course, "ada")


def test_the_report_of_the_capstone_is_in_step_with_its_release():
    course = Course()
    assert [name for name in course.lessons() if course.report(name)] == ["22_capstone"]
    path = config.ROOT / "lessons" / "exercises" / "22_capstone" / "report_22.ipynb"
    assert path.read_text(encoding="utf-8") == expected("22_capstone", file="report_22.ipynb"), "run `python -m helpers release 22`"
    points = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if "nbgrader" in cell["metadata"]:
            points += cell["metadata"]["nbgrader"]["points"]
            assert "".join(cell["source"]) == "YOUR ANSWER HERE"
    assert points == 14
