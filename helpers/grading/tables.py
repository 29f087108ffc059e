"""Tables of a class's outcomes, for a spreadsheet, for Canvas, for Moodle, for a program. A rejected submission has no score in any.

The first three hold the points that count: with those that an instructor has given in the gradebook, without those lost by handing in
late. `marks` is what the gradebook holds, by student; `most` the points that a learner can reach.
"""
from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict

from helpers.grading.course import Exercise
from helpers.grading.outcome import REJECTED, Marks, Outcome, points_that_count, results_that_count, why

FORMULA = ("=", "+", "-", "@", "\t", "\r")
INNER_FORMULA = re.compile(r"([;\t\r][\s\"]*)(?=[=+\-@])")  # where the spreadsheet's separator is ";" or a tab, as in much of Europe


def full_csv(outcomes: list[Outcome], exercises: list[Exercise], marks: dict[str, Marks], most: float) -> str:
    """One row for each submission: how it ended and why, points in all and for each exercise, and what protected the grader.

    report: points of the written answers; to_grade: how many answers wait for a person; penalty: for handing in late.
    """
    head = ["student", "status", "score", "max_score", *(exercise.name for exercise in exercises), "report", "to_grade", "penalty",
            "reason", "stopped_at", "notes", "submitted", "seconds", "missing_protections", "file"]
    rows = []
    for outcome in outcomes:
        own = None if outcome.status == REJECTED else marks.get(outcome.student)
        points = {result.name: result.score for result in results_that_count(outcome, exercises, own)}
        rows.append([
            outcome.student, outcome.status, points_that_count(outcome, own), most,
            *(points.get(exercise.name) for exercise in exercises), own.report[0] if own and own.report else None,
            own.to_grade if own else None, own.penalty if own else None,
            why(outcome, marks.get(outcome.student)), outcome.stopped_at, "; ".join(outcome.notes), outcome.submitted, outcome.seconds,
            "; ".join(outcome.missing_protections), outcome.origin,
        ])  # fmt: skip
    return table(head, rows)


def canvas_csv(outcomes: list[Outcome], marks: dict[str, Marks], most: float) -> str:
    """For Canvas' "Import Grades": its five columns of the student, then the assignment, with the points possible in the second row.

    The ID is the number in a student id such as doejane_12345, which Canvas gives to downloaded files. A score that is missing is left
    out, which Canvas takes as no change.
    """
    lesson = outcomes[0].lesson if outcomes else "assignment"
    rows: list[list] = [["    Points Possible", "", "", "", "", most]]
    for outcome in outcomes:
        name, number = name_and_number(outcome.student)
        rows.append([name, number, "", "" if number else outcome.student, "", points_that_count(outcome, marks.get(outcome.student))])
    return table(["Student", "ID", "SIS User ID", "SIS Login ID", "Section", lesson], rows)


def moodle_csv(outcomes: list[Outcome], exercises: list[Exercise], marks: dict[str, Marks], most: float) -> str:
    """For Moodle's "Upload grading worksheet": a participant's number from a student id such as Jane Doe_123456, grade and comment."""
    rows = []
    for outcome in outcomes:
        name, number = name_and_number(outcome.student)
        own = marks.get(outcome.student)
        messages = [result.message for result in results_that_count(outcome, exercises, own) if result.score < result.max_score]
        comments = [outcome.reason, *messages, *(own.comments if own and outcome.status != REJECTED else [])]
        rows.append([f"Participant {number}" if number else outcome.student, name, outcome.status, points_that_count(outcome, own), most,
                     "; ".join(filter(None, comments))])
    return table(["Identifier", "Full name", "Status", "Grade", "Maximum Grade", "Feedback comments"], rows)


def json_lines(outcomes: list[Outcome]) -> str:
    """One JSON object a line, all that the grader found but the notebook and the report; `score` is null when rejected."""
    lines = []
    for outcome in outcomes:
        line = asdict(outcome) | {"score": outcome.score()}
        del line["notebook"], line["report"]
        lines.append(json.dumps(line) + "\n")
    return "".join(lines)


def name_and_number(student: str) -> tuple[str, str]:
    """("doejane", "12345") of doejane_12345; an empty number when there is none. The mark of a name that had to be changed is left out."""
    found = re.fullmatch(r"(.+)_(\d+)(?:-[0-9a-f]{8})?", student)
    return (found[1], found[2]) if found else (student, "")


def table(head: list[str], rows: list[list]) -> str:
    """CSV; what a spreadsheet would take for a formula gets an apostrophe in front, None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(item) for item in head])
    writer.writerows([cell(item) for item in row] for row in rows)
    return text.getvalue()


def cell(item: object) -> object:
    """One cell: numbers as they are, text on one line and harmless."""
    if item is None or isinstance(item, (int, float)):
        return "" if item is None else f"{item:g}"
    text = " ".join(str(item).split("\n")).encode("utf-8", "backslashreplace").decode()
    text = INNER_FORMULA.sub(r"\1'", text)
    return f"'{text}" if text.startswith(FORMULA) else text
