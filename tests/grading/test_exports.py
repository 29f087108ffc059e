"""Tables and the summary hold every outcome, no 0 for a rejected one, and nothing that a spreadsheet or browser would act on."""
import csv
import io
import json

import pytest
from test_records import CANARY, HOSTILE, Elements, check_harmless, hostile, outcome, toy  # noqa: F401 (toy is a fixture)
from toy_course import LESSON

from helpers.grading.course import Course, Exercise
from helpers.grading.exports import canvas_csv, commonest, full_csv, histogram, json_lines, moodle_csv, summary_html
from helpers.grading.outcome import GRADED, PARTLY, REJECTED, CellResult, Outcome

EXERCISES = [Exercise("mean", "Exercise 1 · Mean", 3.0, ("test_mean", "test_mean_empty")),
             Exercise("square", "Exercise 2 · Squares", 3.0, ("test_square",)),
             Exercise("choice", "Exercise 3 · Choice", 1.0, ("test_choice",))]
POINTS = {"test_mean": 2.0, "test_mean_empty": 1.0, "test_square": 3.0, "test_choice": 1.0}
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1+1", "a;=1+1", "a\n\n =1+1", "a\t-1"]


def graded(student, scores=(2, 1, 3, 1), messages=(), **more) -> Outcome:
    messages = dict(messages)
    cells = [CellResult(name, float(score), most, messages.get(name, "" if score == most else f"{name} is wrong"))
             for (name, most), score in zip(POINTS.items(), scores, strict=True)]
    return Outcome(student, LESSON, **({"origin": f"{student}.ipynb", "digest": "d", "status": GRADED, "cells": cells} | more))


def refused(student, reason="not a notebook", **more) -> Outcome:
    return Outcome(student, LESSON, **({"origin": f"{student}.ipynb", "digest": "d", "status": REJECTED, "reason": reason} | more))


def table(text) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


CLASS = [graded("ada", (2, 1, 2.25, 1), submitted="2026-11-20T10:00:00+00:00", seconds=1.5,
                missing_protections=["own network", "own user"]),
         graded("bob", (2, 1, 0, 0), status=PARTLY, reason="stopped at `square`: took too long", stopped_at="square"), refused("eve")]


def test_the_full_table():
    head, ada, bob, eve = table(full_csv(CLASS, EXERCISES, late={"ada": True, "bob": False}))
    assert head == ["student", "status", "reason", "stopped_at", "score", "max_score", "mean", "square", "choice", "late", "submitted",
                    "seconds", "missing_protections", "origin"]
    assert ada == ["ada", "graded", "", "", "6.25", "7", "3", "2.25", "1", "yes", "2026-11-20T10:00:00+00:00", "1.5",
                   "own network; own user", "ada.ipynb"]
    assert bob[:10] == ["bob", "graded up to", "stopped at `square`: took too long", "square", "3", "7", "3", "0", "0", "no"]
    assert eve == ["eve", "rejected", "not a notebook", "", "", "7", "", "", "", "", "", "0", "", "eve.ipynb"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula_in_any_table(text):
    bad = [graded(text, status=PARTLY, reason=text, stopped_at=text, submitted=text, origin=text, missing_protections=[text],
                  messages={"test_mean": text}, scores=(0, 1, 3, 1)), refused(text, text)]
    for function in (full_csv, canvas_csv, moodle_csv):
        rows = table(function(bad, EXERCISES))
        assert len({len(row) for row in rows}) == 1
        for value in (value for row in rows for value in row):
            # However a spreadsheet splits it, no piece begins like a formula.
            for piece in [value, *value.replace("\t", ";").replace("\r", ";").replace("\n", ";").split(";")[1:]]:
                assert not piece.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) or number(piece), repr(value)


def number(text):
    try:
        return str(float(text)) and True
    except ValueError:
        return False


def test_numbers_stay_numbers():
    low = graded("ada", (-1, 0, 0, 0))
    assert table(full_csv([low], EXERCISES))[1][4] == "-1"


def test_tables_survive_any_character():
    text = 'quote " comma , line\r\nline \x00\x1b[31m \ud800 ü 漢'
    for function in (full_csv, canvas_csv, moodle_csv):
        written = function([refused("a", text, origin=text), graded("b", (0, 0, 0, 0), [("test_mean", text)])], EXERCISES)
        written.encode()
        assert len({len(row) for row in table(written)}) == 1 and "\x00" not in written and "\x1b" not in written
    assert "漢" in full_csv([refused("a", text)], EXERCISES)


def test_canvas():
    rows = table(canvas_csv([
        graded("doejane_12345", origin="doejane_12345_67890_exercises_01-1.ipynb"),
        graded("roe_12346", (2, 1, 2.25, 1), origin="submissions/roe_LATE_12346.zip"), refused("eve_77", origin="eve_77_text.html"),
        graded("late_88", origin="x/late_LATE_88_9_exercises_01.ipynb"), graded("ada", origin="ada.ipynb"),
    ], EXERCISES))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", LESSON]
    assert rows[1] == ["    Points Possible", "", "", "", "", "7"]
    assert rows[2] == ["doejane", "12345", "", "", "", "7"]
    assert rows[3] == ["roe_12346", "", "", "roe_12346", "", "6.25"], "a number that is not Canvas's is nobody's ID"
    assert rows[4] == ["eve", "77", "", "", "", ""], "no grade is not 0"
    assert rows[5] == ["late", "88", "", "", "", "7"]
    assert rows[6] == ["ada", "", "", "ada", "", "7"]
    assert table(canvas_csv(CLASS, EXERCISES, "Lesson 1 (4711)"))[0][5] == "Lesson 1 (4711)"


def test_moodle():
    rows = table(moodle_csv([
        graded("Jane Doe_123456", (2, 0, 3, 1), origin="Jane Doe_123456_assignsubmission_file/exercises_01.ipynb",
               messages={"test_mean_empty": "line <1>\nline 2"}),
        refused("Eve_9", "<b>not</b> a notebook", origin="Eve_9_assignsubmission_file_/x.txt"), graded("roe_7"),
    ], EXERCISES))
    assert rows[0] == ["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]
    assert rows[1] == ["Participant 123456", "Jane Doe", "6", "7", "", "Exercise 1 · Mean: 2 of 3<br>line &lt;1&gt;<br>line 2<br>"
                       "Exercise 2 · Squares: 3 of 3<br>Exercise 3 · Choice: 1 of 1"]
    assert rows[2] == ["Participant 9", "Eve", "", "7", "", "rejected: &lt;b&gt;not&lt;/b&gt; a notebook"]
    assert rows[3][:3] == ["roe_7", "roe_7", "7"]


def test_json_lines_can_be_read_back():
    lines = json_lines([graded("ada", notebook="{}" * 1000), refused("eve", "\ud800\nx")]).splitlines()
    assert len(lines) == 2 and "notebook" not in json.loads(lines[0])
    assert Outcome.from_json(lines[0]) == graded("ada") and Outcome.from_json(lines[1]).score() is None


def test_histograms_have_a_bar_for_full_marks_and_one_per_point():
    assert histogram([0, 1, 1, 3], 3) == [("0", 1, 50.0), ("1", 2, 100.0), ("2", 0, 0.0), ("3 (all)", 1, 50.0)]
    assert histogram([0.5, 2.5], 2.5) == [("0 to <1", 1, 100.0), ("1 to <2", 0, 0.0), ("2 to <2.5", 0, 0.0), ("2.5 (all)", 1, 100.0)]
    assert histogram([], 1) == [("0", 0, 0.0), ("1 (all)", 0, 0.0)]
    bars = histogram([float(n) for n in range(41)], 40)
    assert len(bars) == 11 and bars[0][:2] == ("0 to <4", 4) and bars[-1][:2] == ("40 (all)", 1) and sum(bar[1] for bar in bars) == 41


def test_the_commonest_failures_are_counted_together_and_in_order():
    outcomes = [graded(f"s{n}", (0, 1, 3, 1), [("test_mean", f"got {n}.5 and not 2")]) for n in range(3)]
    outcomes += [graded("x", (0, 1, 0, 1), [("test_mean", "other")]), graded("y"), refused("eve")]
    found = [(entry["cell"], entry["message"], entry["count"], entry["share"]) for entry in commonest(outcomes, EXERCISES)]
    assert found == [("test_mean", "got 0.5 and not 2", 3, 60.0), ("test_mean", "other", 1, 20.0),
                     ("test_square", "test_square is wrong", 1, 20.0)]


def test_the_summary_says_what_an_instructor_needs():
    text = summary_html(CLASS, EXERCISES, LESSON, ["own file system"])
    page = check_harmless(text)
    words = " ".join(page.text.split())
    for said in ("1 graded", "1 graded up to", "1 rejected", "eve", "not a notebook", "stopped at `square`: took too long", "mean 4.62",
                 "of the 2 that have a score", "test_square is wrong", "own network (of 1 submission)", "own file system", "2 to <3"):
        assert said in words, said
    assert "mean 3 of 3" in words, "a rejected one does not count as 0"


@pytest.mark.parametrize("outcomes", [[], [refused("eve")], [graded("ada")]])
def test_a_summary_of_nearly_nothing(outcomes):
    check_harmless(summary_html(outcomes, EXERCISES, LESSON, []))
    assert len(table(full_csv(outcomes, EXERCISES))) == 1 + len(outcomes)
    assert len(table(canvas_csv(outcomes, EXERCISES))) == 2 + len(outcomes)


def test_hostile_text_is_shown_and_does_nothing(toy):  # noqa: F811
    bad = hostile(toy)
    page = check_harmless(summary_html([bad, refused(HOSTILE, HOSTILE, origin=HOSTILE)], EXERCISES, HOSTILE, [HOSTILE]))
    assert page.text.count("alert(1)") >= 7
    assert "&lt;script&gt;" in moodle_csv([bad], EXERCISES) and "<script>" not in moodle_csv([bad], EXERCISES)


def test_no_hidden_test_is_in_any_export(toy):  # noqa: F811
    failed = outcome(toy, "ada", (0, 1, 3, 1))
    assert CANARY in failed.notebook
    exercises = Course(toy.root).exercises(LESSON)
    for text in (full_csv([failed], exercises), canvas_csv([failed], exercises), moodle_csv([failed], exercises), json_lines([failed]),
                 Elements(summary_html([failed], exercises, LESSON, [])).text, summary_html([failed], exercises, LESSON, [])):
        assert CANARY not in text and "mean([4])" not in text
