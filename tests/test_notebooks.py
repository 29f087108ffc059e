"""Executing, storing and timing notebooks; and every notebook of the course looks as it must."""
from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from notebook_hygiene import remarks

from helpers import config, measure, notebooks, times
from helpers.errors import CourseError

COURSE = notebooks.lessons() + notebooks.solutions()


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_every_notebook_of_the_course_is_clean(path):
    assert remarks(path) == []


def write(path: Path, *sources: str) -> Path:
    """A notebook of these code cells, with the ids c1, c2, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_code_cell(source, id=f"c{number}") for number, source in enumerate(sources, start=1)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def course(tmp_path, monkeypatch) -> Path:
    """A course with the two lessons 00_zero and 03_three."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setenv("COURSE_PROGRESS", "0")
    write(tmp_path / "lessons" / "00_zero.ipynb", "# NBVAL_CHECK_OUTPUT\nassert 1 > 0\nprint('one is more: True')")
    write(tmp_path / "lessons" / "03_three.ipynb", "3")
    return tmp_path


@pytest.mark.parametrize("lesson", ["3", "03", "03_three", "03_three.ipynb"])
def test_a_lesson_is_found_by_its_number_or_name(course, lesson):
    assert notebooks.find_lesson(lesson) == course / "lessons" / "03_three.ipynb"
    assert notebooks.lesson_name(lesson) == "03_three"


@pytest.mark.parametrize("lesson", ["4", "three", "", "-3", "³"])
def test_an_unknown_lesson_is_answered_with_those_there_are(course, lesson):
    with pytest.raises(ValueError, match="choose one of 00_zero, 03_three"):
        notebooks.find_lesson(lesson)


def test_run_prints_the_claims_and_the_cost_and_changes_nothing(course, capsys):
    before = (course / "lessons" / "00_zero.ipynb").read_bytes()
    assert notebooks.run("0") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].strip() == "one is more: True"
    assert printed[1].startswith("00_zero: ") and printed[1].endswith(" GB of memory")
    assert (course / "lessons" / "00_zero.ipynb").read_bytes() == before


def test_run_names_the_cell_that_fails_and_stores_nothing(course, capsys):
    path = write(course / "lessons" / "05_fails.ipynb", "x = 1", "\ny = 2\nassert x == y, 'x is not y'", "print('never')")
    before = path.read_bytes()
    assert notebooks.run("5", save=True) == 1
    printed = capsys.readouterr().out
    assert "cell 2 (id c2), which starts with: y = 2" in printed and "AssertionError: x is not y" in printed
    assert "never" not in printed and len(printed.splitlines()) < 8
    assert path.read_bytes() == before


def test_run_says_that_a_kernel_died(course, capsys):
    write(course / "lessons" / "05_dies.ipynb", "import os\nos._exit(3)")
    assert notebooks.run("5") == 1
    assert "the kernel died" in capsys.readouterr().out


def test_save_stores_the_notebook_clean_and_the_same_each_time(course, capsys):
    path = write(
        course / "lessons" / "05_noisy.ipynb",
        "import sys, os\nprint('a'); print('half\\rwhole'); print('oh', file=sys.stderr, flush=True); print('b')",
        "from helpers.predict import predict\npredict('Which?', ['this', 'that'], 0, 'It is.')",
        "os.path.basename(os.getcwd()), os.environ['COURSE_PROGRESS']",
    )
    assert notebooks.run("05", save=True) == 0
    assert "cell 1 wrote on standard error: oh" in capsys.readouterr().err
    stored = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in stored.cells] == [1, 2, 3]
    assert [cell.id for cell in stored.cells] == ["c1", "c2", "c3"]
    assert [(output.name, output.text) for output in stored.cells[0].outputs] == [("stdout", "a\nwhole\nb\n")]
    assert set(stored.cells[1].outputs[0].data) == {"text/html", "text/plain"}
    assert stored.cells[1].metadata.jupyter.source_hidden and not stored.cells[0].metadata
    assert stored.cells[2].outputs[0].data["text/plain"] == "('lessons', '0')"
    assert set(stored.metadata) == {"kernelspec", "language_info"} and stored.metadata.kernelspec.name == "python3"
    assert all("execution" not in cell.metadata for cell in stored.cells)
    first = path.read_bytes()
    assert notebooks.run("05", save=True) == 0
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir() if file.suffix == ".part"] == []


def test_a_file_that_is_no_notebook_is_an_error_with_advice(course):
    broken = course / "lessons" / "05_broken.ipynb"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(CourseError, match="is not a notebook"):
        notebooks.run("5")
    with pytest.raises(CourseError, match="check the path"):
        notebooks.run(str(course / "lessons" / "missing.ipynb"))


def test_the_meter_counts_a_process_and_its_children():
    child = "x = bytearray(150_000_000); input()"
    parent = f"import subprocess, sys; x = bytearray(100_000_000); subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        meter = measure.Meter().start(process.pid)
        deadline = time.monotonic() + 20
        while meter.peak_bytes < 250e6 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.communicate(b"\n")
    meter.stop()
    assert 250e6 < meter.peak_bytes < 350e6
    assert 0 < meter.seconds < 25


def test_the_limits_of_a_notebook(request, monkeypatch):
    monkeypatch.delenv("COURSE_NOTEBOOK_SECONDS", raising=False)
    too_much = request.config.pluginmanager.get_plugin(str(config.ROOT / "conftest.py")).too_much
    lesson, solution = Path("lessons/00_a.ipynb"), Path("solutions/00_a/exercises_00.ipynb")
    assert too_much(lesson, 200, 2e9) is None
    assert "more than 480 s" in too_much(lesson, 490, 2e9)
    assert "more than 120 s" in too_much(solution, 200, 2e9)
    assert "more than 3 GB" in too_much(lesson, 200, 3.1e9)
    monkeypatch.setenv("COURSE_NOTEBOOK_SECONDS", "300")
    assert too_much(lesson, 250, 2e9) is None and "more than 300 s" in too_much(solution, 301, 2e9)


README = f"# Course\n\n{times.BEGIN}\nold\n{times.END}\n\nThe end.\n"


def test_times_measures_with_an_empty_cache_and_writes_the_table(course, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE", str(course / "mine"))
    check = "import os\nassert os.environ['COURSE_CORES'] == '2' and os.listdir(os.environ['COURSE_CACHE']) == []"
    write(course / "solutions" / "03_three" / "exercises_03.ipynb", check)
    (course / "README.md").write_text(README, encoding="utf-8")
    assert notebooks.times(write=False) == 0
    assert (course / "README.md").read_text(encoding="utf-8") == README
    assert notebooks.times(write=True) == 0
    written = (course / "README.md").read_text(encoding="utf-8")
    assert written.startswith(f"# Course\n\n{times.BEGIN}\n| Lesson |") and written.endswith(f"{times.END}\n\nThe end.\n")
    row = next(line for line in written.splitlines() if "[03 three](lessons/03_three.ipynb)" in line)
    assert row.count(" s |") == 2 and row.count(" GB |") == 2
    assert "old" not in written and not (course / "mine").exists()
    assert row.split("|")[1] in capsys.readouterr().out


def test_times_of_chosen_lessons_keeps_the_rows_of_the_others(course):
    kept = "| [02 two](lessons/02_two.ipynb) | Two? | 5 s | 1.0 GB | – | – |"
    old = f"| Lesson |\n{kept}\n| [03 three](lessons/03_three.ipynb) | old |"
    (course / "README.md").write_text(README.replace("old", old), encoding="utf-8")
    assert notebooks.times(write=True, chosen=["3"]) == 0
    rows = [line for line in (course / "README.md").read_text(encoding="utf-8").splitlines() if "](lessons/" in line]
    assert rows[0] == kept and "[03 three]" in rows[1] and " s |" in rows[1] and len(rows) == 2
    with pytest.raises(ValueError, match="77"):
        notebooks.times(write=False, chosen=["77"])


def test_times_writes_nothing_when_a_notebook_fails_or_there_is_no_place(course):
    with pytest.raises(CourseError, match="README.md cannot be read"):
        notebooks.times(write=True)
    (course / "README.md").write_text("no markers", encoding="utf-8")
    with pytest.raises(CourseError, match="put <!-- times -->"):
        notebooks.times(write=True)
    (course / "README.md").write_text(README, encoding="utf-8")
    write(course / "lessons" / "00_zero.ipynb", "1 / 0")
    assert notebooks.times(write=True) == 1
    assert (course / "README.md").read_text(encoding="utf-8") == README
