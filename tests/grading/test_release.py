import contextlib
import json
import os
import sqlite3
import subprocess
import sys

import nbformat
import pytest
from toy_course import LESSON, REPOSITORY, SOLVED, answer, cell, find, released_path, source_path

from helpers.errors import CourseError
from helpers.grading import release as module
from helpers.grading.release import expected, holds_work, release


def test_a_release_has_stubs_locks_and_no_hidden_test(course):
    text = released_path(course).read_text(encoding="utf-8")
    nb = nbformat.reads(text, as_version=4)
    nbformat.validate(nb)
    assert "HIDDEN" not in text and "its own mean" not in text and "SOLUTION" not in text
    stub = 'raise NotImplementedError("Write your answer here, then run the tests below.")'
    assert find(nb, "mean").source == f"def mean(numbers):\n    {stub}" and find(nb, "choice").source == stub
    assert find(nb, "test_mean").metadata["editable"] is False and find(nb, "mean").metadata["deletable"] is False
    assert [c.id for c in nb.cells] == [c.id for c in nbformat.read(source_path(course), as_version=4).cells]


def test_expected_is_the_release_and_depends_on_nothing_but_the_source(course):
    nb = nbformat.read(source_path(course), as_version=4)
    nb.metadata["language_info"] = {"name": "python", "version": "3.99"}
    nb.cells[1].metadata["execution"] = {"iopub.execute_input": "2026"}
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", name="stderr", text="x")]
    nb.cells[1].execution_count = 9
    nbformat.write(nb, source_path(course))
    assert expected(LESSON, course) == released_path(course).read_text(encoding="utf-8")


def test_an_untouched_release_is_replaced_without_a_copy(course, capsys):
    nb = nbformat.read(released_path(course), as_version=4)
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", text="ran")]
    nbformat.write(nb, released_path(course))
    assert release(["1"], course) == 0
    assert "kept" not in capsys.readouterr().out
    assert [path.name for path in released_path(course).parent.iterdir()] == ["exercises_01.ipynb"]
    assert released_path(course).read_text(encoding="utf-8") == expected(LESSON, course)


def spoil(kind, path):
    nb = nbformat.read(path, as_version=4)
    if kind == "answer":
        find(nb, "square").source = "square = abs"
    elif kind == "added cell":
        nb.cells.append(nbformat.v4.new_code_cell("my_notes = 1"))
    elif kind == "edited text":
        nb.cells[0].source += "\nmy note"
    elif kind == "deleted cell":
        del nb.cells[3]
    nbformat.write(nb, path)
    if kind == "not json":
        path.write_text("{ cut sho", encoding="utf-8")
    if kind == "no fingerprint":
        path.write_text(path.read_text(encoding="utf-8").replace("fingerprint", "other"), encoding="utf-8")


@pytest.mark.parametrize("kind", ["answer", "added cell", "edited text", "deleted cell", "not json", "no fingerprint"])
def test_work_of_any_kind_is_recognised(course, kind):
    assert not holds_work(released_path(course))
    spoil(kind, released_path(course))
    assert holds_work(released_path(course))


@pytest.mark.parametrize("kind", ["answer", "not json"])
def test_work_is_kept_in_a_dated_copy_that_is_named(course, capsys, kind):
    spoil(kind, released_path(course))
    work = released_path(course).read_bytes()
    release(None, course)
    copies = sorted(released_path(course).parent.glob("exercises_01.20*.ipynb"))
    assert len(copies) == 1 and copies[0].read_bytes() == work
    assert copies[0].name in capsys.readouterr().out
    assert not holds_work(released_path(course))


def test_two_copies_in_a_minute_do_not_overwrite_each_other_and_nothing_else_is_deleted(course):
    mine = released_path(course).with_name("my_notes.txt")
    mine.write_text("mine", encoding="utf-8")
    for value in ("1", "2"):
        answer(course, {"choice": f"choice = {value}"})
        release(None, course)
    texts = [path.read_text(encoding="utf-8") for path in released_path(course).parent.glob("exercises_01.20*.ipynb")]
    assert len(texts) == 2 and any("choice = 1" in text for text in texts) and any("choice = 2" in text for text in texts)
    assert mine.read_text(encoding="utf-8") == "mine"


def edit_source(course, change):
    nb = nbformat.read(source_path(course), as_version=4)
    change(nb)
    nbformat.write(nb, source_path(course))


def set_text(name, old, new):
    def change(nb):
        find(nb, name).source = find(nb, name).source.replace(old, new)
    return change


def set_about(name, **about):
    return lambda nb: find(nb, name).metadata["nbgrader"].update(about)


def drop(name):
    return lambda nb: nb.cells.remove(find(nb, name))


def heading(old, new):
    def change(nb):
        for each in nb.cells:
            each.source = each.source.replace(old, new)
    return change


def keep_only_text(nb):
    nb.cells = [c for c in nb.cells if c.cell_type == "markdown" and "Exercise" not in c.source]


@pytest.mark.parametrize("change, words", [
    (set_about("test_mean", grade_id="mean"), ["cell 5", "mean", "twice"]),
    (lambda nb: find(nb, "test_mean").metadata["nbgrader"].pop("points"), ["cell 5", "test_mean", "no points"]),
    (set_about("test_mean", points=5), ["Exercise 1", "says 3 points", "give 6"]),
    (heading("(1 point)", "(2 points)"), ["Exercise 3", "says 2 points", "give 1"]),
    (keep_only_text, ["has no exercises"]),
    (drop("test_choice"), ["Exercise 3", "choice", "no test cell"]),
    (drop("choice"), ["cell 11", "before the answer cell"]),
    (heading("### Exercise 3 · Choice (1 point)", "### Choice"), ["cell 11", "second answer cell", "Exercise 2"]),
    (lambda nb: nb.cells.pop(2), ["cell 3", "mean", "no heading"]),
    (set_text("mean", "### END SOLUTION", ""), ["cell 4", "mean", "END SOLUTION"]),
    (set_text("test_mean", "### END HIDDEN TESTS", ""), ["No end hidden tests"]),
    (set_about("mean", schema_version=2), ["cell 4", "old schema"]),
    (set_about("mean", grade=True, points=1), ["cell 4", "both answer and test"]),
    (lambda nb: nb.cells.insert(3, cell("late", "assert True", points=3)), ["cell 4", "late", "before the answer cell"]),
])
def test_a_source_that_is_not_in_order_is_named_and_the_old_release_stays(course, change, words):
    before = released_path(course).read_bytes()
    edit_source(course, change)
    with pytest.raises(CourseError) as caught:
        release(None, course)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert released_path(course).read_bytes() == before
    assert not list((course / "classroom").glob("staging-*"))


def test_a_source_without_cell_ids_is_refused(course):
    raw = json.loads(source_path(course).read_text(encoding="utf-8"))
    del raw["cells"][2]["id"]
    source_path(course).write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(CourseError, match="cell 3: the cell has no id"):
        release(None, course)


def test_an_unknown_lesson_lists_those_that_exist(course):
    with pytest.raises(CourseError, match="'7'.*01_toy"):
        release(["7"], course)


def test_a_damaged_gradebook_is_an_error_and_the_old_release_stays(course):
    before = released_path(course).read_bytes()
    edit_source(course, set_text("choice", "choice =", "# choose\nchoice ="))
    edit_source(course, heading("# Toy exercises", "# New title"))
    (course / "classroom" / "gradebook.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(CourseError, match="gradebook.db.*move that file away"):
        release(None, course)
    assert released_path(course).read_bytes() == before


def test_a_failed_move_or_an_interruption_leaves_the_old_release(course, monkeypatch):
    answer(course, SOLVED)
    before = released_path(course).read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "replace", fail)
    with pytest.raises(CourseError, match="No space left"):
        release(None, course)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        release(None, course)
    assert released_path(course).read_bytes() == before and not list((course / "classroom").glob("staging-*"))


def test_the_gradebook_is_made_without_alembic_on_path_and_knows_the_assignment(course, monkeypatch, tmp_path):
    (course / "classroom" / "gradebook.db").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    release(None, course)
    with contextlib.closing(sqlite3.connect(course / "classroom" / "gradebook.db")) as database:
        assert database.execute("select name from assignment").fetchall() == [(LESSON,)]
        assert database.execute("select count(*) from grade_cells").fetchone() == (4,)


def test_stock_generate_assignment_makes_the_same_notebook(course):
    before = released_path(course).read_bytes()
    released_path(course).unlink()
    released_path(course).parent.rmdir()
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-m", "nbgrader", "generate_assignment", LESSON], cwd=course, env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert released_path(course).read_bytes() == before
