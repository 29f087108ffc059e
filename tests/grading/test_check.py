import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_output
from nbgrader.utils import compute_checksum, determine_grade
from toy_course import LESSON, REPOSITORY, SOLVED, answer, cell, find, released_path, source_path

from helpers.errors import CourseError
from helpers.grading import classroom, execute
from helpers.grading.check import check
from helpers.grading.feedback import clip


def scores(course, capsys, path=None):
    """Check the notebook; returns {exercise: score}, {exercise: message} and what was said on standard error."""
    status = check(LESSON, path, as_json=True, root=course)
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert out.count("\n") == 1 and set(result) == {"lesson", "score", "max_score", "exercises"}
    assert all(set(item) == {"name", "score", "max_score", "message"} for item in result["exercises"])
    assert result["max_score"] == 7 and result["score"] == sum(item["score"] for item in result["exercises"])
    assert status == (0 if result["score"] == 7 else 1)
    assert all((item["message"] == "") == (item["score"] == item["max_score"]) for item in result["exercises"])
    assert all(len(item["message"].splitlines()) <= 12 for item in result["exercises"])
    items = result["exercises"]
    return {item["name"]: item["score"] for item in items}, {item["name"]: item["message"] for item in items}, err


FULL = {"mean": 3, "square": 3, "choice": 1}


def test_a_copy_of_the_course_without_solutions_says_what_to_do_there(course):
    shutil.rmtree(course / "solutions")
    told = "no solutions/, and with it no hidden tests: use the Validate button"
    for lesson in ("1", LESSON):
        with pytest.raises(CourseError, match=told):
            check(lesson, root=course)
        with pytest.raises(CourseError, match=told):
            classroom.grade(lesson, released_path(course), classroom.Options(), course)
    with pytest.raises(CourseError, match="none yet"):
        classroom.grade("1", released_path(course), classroom.Options(solutions=course / "elsewhere"), course)
    shutil.rmtree(course / "lessons")
    with pytest.raises(CourseError, match="none yet"):
        check("1", root=course)


def test_solved_is_full_marks_and_the_file_is_only_read(course, capsys):
    answer(course, SOLVED)
    before = released_path(course).read_bytes()
    assert scores(course, capsys)[0] == FULL
    assert released_path(course).read_bytes() == before


def test_untouched_is_zero_and_says_so(course, capsys):
    points, messages, _ = scores(course, capsys)
    assert points == {"mean": 0, "square": 0, "choice": 0}
    assert set(messages.values()) == {"not answered yet"}


def test_for_a_person_the_message_is_the_assertion_not_a_traceback(course, capsys):
    wrong = {"mean": "def mean(numbers):\n    return sum(numbers) / 3", "square": "def square(n):\n    return n * abs(n)"}
    answer(course, SOLVED | wrong)
    assert check("1", root=course) == 1
    out = capsys.readouterr().out
    assert "2.25/3  Exercise 2 · Squares" in out and "3 of 4 squares are right" in out and "ok  1/1  Exercise 3 · Choice" in out
    assert "one number is its own mean" in out and "raise a ValueError" in out and "01_toy: 3.25 of 7 points" in out
    assert "Traceback" not in out and "assert " not in out


def test_other_errors_name_the_cell_and_the_line(course, capsys):
    answer(course, {
        "mean": "def mean(numbers)\n    return 1",
        "square": "def square(number):\n    total = 0\n    return total.sum()",
        "choice": "choice = 1 / 0",
    })
    points, messages, _ = scores(course, capsys)
    assert points == {"mean": 0, "square": 0, "choice": 0}
    assert "your cell `mean` stops with SyntaxError" in messages["mean"] and "(line 1)" in messages["mean"]
    assert messages["square"] == "AttributeError: 'int' object has no attribute 'sum' (line 3 of your cell `square`)"
    assert messages["choice"].startswith("your cell `choice` stops with ZeroDivisionError: division by zero (line 1 of")


def change_test(nb):
    find(nb, "test_mean").source = "pass"


def move_test_into_text(nb):
    test = find(nb, "test_choice")
    test.cell_type = "markdown"
    del test["outputs"], test["execution_count"]


def delete_first_exercise(nb):
    nb.cells = [cell for cell in nb.cells if "mean" not in cell.metadata.get("nbgrader", {}).get("grade_id", "")]


def duplicate(name, text=None):
    def change(nb):
        position = nb.cells.index(find(nb, name))
        copy = nbformat.from_dict(json.loads(json.dumps(nb.cells[position])))
        copy.source, copy.id = text or copy.source, "twin"
        nb.cells.insert(position, copy)
    return change


def tamper(nb):
    find(nb, "test_choice").metadata["nbgrader"]["points"] = 100
    for each in nb.cells:
        each.metadata["tags"] = ["skip-execution"]
        if "nbgrader" in each.metadata:
            each.metadata["nbgrader"]["schema_version"] = 1


def delete_setup(nb):
    nb.cells.remove(find(nb, "setup"))


@pytest.mark.parametrize("change, points, words", [
    (change_test, FULL | {"mean": 0}, ["test cell `test_mean` was changed"]),
    (move_test_into_text, FULL | {"mean": 0}, ["`test_choice` was turned into a markdown cell"]),
    (delete_first_exercise, FULL | {"mean": 0}, ["answer cell `mean` is missing", "test cell `test_mean` was missing",
                                                 "test cell `test_mean_empty` was missing"]),
    (duplicate("test_mean"), FULL | {"mean": 0}, ["`test_mean` is in the notebook twice"]),
    (duplicate("choice", "choice = 'noise'"), FULL | {"mean": 0}, ["`choice` is in the notebook twice: the last one counts"]),
    (tamper, FULL | {"mean": 0}, []),
    (delete_setup, FULL | {"mean": 0}, ["set-up cell `setup` was missing"]),
])
def test_damaged_cells_are_put_right_with_a_note(course, capsys, change, points, words):
    nb = answer(course, SOLVED | {"mean": "def mean(numbers):\n    return 'wrong'"})
    change(nb)
    nbformat.write(nb, released_path(course))
    found, _, err = scores(course, capsys)
    assert found == points and all(word in err for word in words), err


def test_an_older_release_is_graded_with_todays_tests_and_says_so(course, capsys):
    answer(course, SOLVED)
    nb = nbformat.read(source_path(course), as_version=4)
    find(nb, "test_choice").source = "assert choice == 'fonts', 'the fonts are better: compare the curves'"
    nbformat.write(nb, source_path(course))
    points, _, err = scores(course, capsys)
    assert points == FULL | {"choice": 0} and "older release" in err and "python -m helpers release" in err


def test_an_older_release_with_tests_of_other_names_is_graded_with_todays_tests_and_says_so(course, capsys):
    nb = answer(course, SOLVED)
    test = find(nb, "test_choice")
    test.metadata["nbgrader"]["grade_id"] = "test_selection"
    test.metadata["nbgrader"]["checksum"] = compute_checksum(test)
    nbformat.write(nb, released_path(course))
    points, _, err = scores(course, capsys)
    assert points == FULL and "older release" in err and "`test_choice` was missing: it was put back" in err


def test_an_older_release_without_todays_exercises_cannot_be_graded(course):
    nb = nbformat.read(source_path(course), as_version=4)
    for name in ("mean", "square", "choice"):
        find(nb, name).metadata["nbgrader"]["grade_id"] = f"new_{name}"
    nbformat.write(nb, source_path(course))
    with pytest.raises(CourseError, match="old release.*keeps a dated copy of your answers"):
        check(LESSON, root=course)


@pytest.mark.parametrize("content, words", [
    ("{ cut sho", "not JSON"),
    ("[1, 2]", "not a notebook"),
    ('{"nbformat": 4}', "not a notebook"),
    ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}', "damaged notebook"),
    ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [7]}', "damaged notebook"),
    ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "has no exercises"),
    ("", "not JSON"),
])
def test_a_file_that_is_no_exercise_notebook(course, capsys, content, words):
    released_path(course).write_text(content, encoding="utf-8")
    with pytest.raises(CourseError, match=words):
        check(LESSON, as_json=True, root=course)
    assert capsys.readouterr().out == "" and released_path(course).read_text(encoding="utf-8") == content
    assert not (course / ".course").exists()


def test_a_binary_file_a_folder_and_a_missing_file(course, tmp_path):
    binary = tmp_path / "x.ipynb"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path, words in ((binary, "not JSON"), (tmp_path, "cannot be read"), (tmp_path / "no.ipynb", "no notebook")):
        with pytest.raises(CourseError, match=words):
            check(LESSON, str(path), root=course)
    released_path(course).unlink()
    with pytest.raises(CourseError, match="release 01_toy"):
        check(LESSON, root=course)


def test_an_unknown_lesson(course):
    with pytest.raises(CourseError, match="'nothing'.*01_toy"):
        check("nothing", root=course)


@pytest.mark.parametrize("death", ["import os; os._exit(3)", "exit()"])
def test_a_kernel_that_dies_keeps_what_ran_before_and_names_the_cell(course, capsys, death):
    answer(course, SOLVED | {"square": death})
    points, messages, _ = scores(course, capsys)
    assert points == {"mean": 3, "square": 0, "choice": 0}
    assert "the cell `square` ended the Python process" in messages["square"] and "`square`" in messages["choice"]


@pytest.mark.parametrize("own", [True, False])
def test_what_goes_past_sys_stdout_does_not_reach_the_terminal(course, capfd, monkeypatch, own):
    """A kernel reads its own file descriptors, except under pytest, and passes on what it read there."""
    if own:
        monkeypatch.delenv("PYTEST_CURRENT_TEST")
    noise = "import os, subprocess, sys\nos.write(1, b'raw'); os.write(2, b'raw')\nos.system('echo shell')\n"
    child = "subprocess.run([sys.executable, '-c', 'print(1)'])\n"
    answer(course, SOLVED | {"square": noise + child + SOLVED["square"]})
    points, _, err = scores(course, capfd)
    assert points == FULL and err == ""


def test_an_endless_loop_is_stopped_and_the_rest_is_graded(course, capsys, monkeypatch):
    monkeypatch.setattr(execute, "CELL_SECONDS", 1)
    answer(course, SOLVED | {"mean": "def mean(numbers):\n    while True:\n        pass"})
    points, messages, _ = scores(course, capsys)
    assert points == FULL | {"mean": 0} and "endless loop" in messages["mean"]


def test_a_loop_that_cannot_be_interrupted_ends_the_run_but_not_the_earlier_points(course, capsys, monkeypatch):
    monkeypatch.setattr(execute, "CELL_SECONDS", 1)
    loop = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
    answer(course, SOLVED | {"square": loop})
    points, messages, _ = scores(course, capsys)
    assert points == {"mean": 3, "square": 0, "choice": 0} and "did not stop" in messages["choice"]


def test_the_whole_notebook_has_a_limit(course, capsys, monkeypatch):
    monkeypatch.setattr(execute, "TOTAL_SECONDS", 1)
    answer(course, SOLVED | {"mean": SOLVED["mean"] + "\nimport time; time.sleep(1.5)"})
    points, messages, _ = scores(course, capsys)
    assert points == {"mean": 0, "square": 0, "choice": 0} and "in all" in messages["choice"]


def test_a_score_out_of_range_is_no_point(course, capsys):
    nb = nbformat.read(source_path(course), as_version=4)
    find(nb, "test_square").source = "square(3)"
    nbformat.write(nb, source_path(course))
    answer(course, SOLVED | {"square": "def square(number):\n    return 1e9"})
    points, messages, _ = scores(course, capsys)
    assert points == FULL | {"square": 0} and "out of range" in messages["square"]


@pytest.mark.parametrize("value, score", [
    ("nan", 0), ("-1", 0), ("3.5", 0), ("inf", 0), ("3", 3), ("0", 0), ("1.5", 1.5), ("'x'", 3),
])
def test_settled_outputs_are_scored_as_the_course_means_it(value, score):
    test = cell("test_square", "x", points=3)
    test.outputs = [new_output("stream", name="stderr", text="a warning"),
                    new_output("execute_result", {"text/plain": value}, execution_count=1)]
    execute.settle(test)
    assert determine_grade(test) == (score, 3)


def test_another_path_is_graded_but_not_recorded(course, capsys, tmp_path):
    answer(course, SOLVED, tmp_path / "mine.ipynb")
    assert scores(course, capsys, str(tmp_path / "mine.ipynb"))[0] == FULL
    assert not (course / ".course").exists()
    scores(course, capsys)
    assert (course / ".course" / "progress.json").exists()


def test_an_old_notebook_format_and_a_foreign_kernel_are_graded(course, capsys):
    nb = answer(course, SOLVED)
    nb.metadata["kernelspec"] = {"name": "venv-of-mine", "display_name": "x"}
    nb.cells.append(new_code_cell("x = 1"))
    nb.nbformat_minor = 2
    for each in nb.cells:
        del each["id"]
    released_path(course).write_text(json.dumps(nb), encoding="utf-8")
    assert scores(course, capsys)[0] == FULL


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT as a terminal on POSIX does")
def test_ctrl_c_ends_the_kernel_and_changes_nothing(course):
    answer(course, SOLVED | {"mean": "import time; time.sleep(60)"})
    before = released_path(course).read_bytes()
    code = f"from helpers.grading.check import check; check('01', root={str(course)!r})"
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=course, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               # A shell starts its background commands with SIGINT ignored, and that is inherited.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline, kernels = time.monotonic() + 30, []
    while not kernels and time.monotonic() < deadline:
        time.sleep(0.2)
        kernels = [child for child in psutil.Process(process.pid).children() if "ipykernel" in " ".join(child.cmdline())]
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode not in (0, 1) and b"KeyboardInterrupt" in err
    assert kernels and not psutil.wait_procs(kernels, timeout=5)[1]
    assert released_path(course).read_bytes() == before and not (course / ".course").exists()


def test_clip_keeps_a_sentence_whole_over_several_lines():
    text = "word " * 60
    assert clip(text).split() == text.split() and len(clip(text).splitlines()) == 2
    assert clip("\n".join(map(str, range(40)))).splitlines()[-1] == "…" and len(clip("\n" * 40).splitlines()) == 12
