import json
import os

import pytest

from helpers.errors import CourseError
from helpers.grading import progress
from helpers.grading.feedback import Result


def make(root, *names):
    for name in names:
        folder = root / "solutions" / name
        folder.mkdir(parents=True)
        (folder / f"exercises_{name[:2]}.ipynb").write_text("{}", encoding="utf-8")
    return root


def outcome(first, second):
    return [Result("first", first, 2, ""), Result("second", second, 2, "")]


def test_best_and_last_are_kept_per_exercise(tmp_path):
    progress.record(tmp_path, "01_a", outcome(2, 0))
    progress.record(tmp_path, "01_a", outcome(1, 2))
    known = progress.load(tmp_path)["01_a"]
    assert (known["first"]["best"], known["first"]["last"], known["second"]["best"]) == (2, 1, 2)
    assert known["first"]["date"].startswith("20")


def test_other_points_since_a_new_release_start_the_best_score_anew(tmp_path):
    progress.record(tmp_path, "01_a", [Result("first", 4, 4, "")])
    progress.record(tmp_path, "01_a", [Result("first", 1, 2, "")])
    assert progress.load(tmp_path)["01_a"]["first"]["best"] == 1


def test_show_lists_every_lesson_and_what_to_do_next(tmp_path, capsys):
    make(tmp_path, "01_a", "02_b", "03_c")
    (tmp_path / "lessons").mkdir()
    for name in ("01_a", "04_d"):
        (tmp_path / "lessons" / f"{name}.ipynb").write_text("{}", encoding="utf-8")
    progress.record(tmp_path, "01_a", outcome(2, 2))
    progress.record(tmp_path, "02_b", outcome(2, 0))
    assert progress.show(tmp_path) == 0
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert "4/4" in first and "[####################]" in first and first.endswith("done")
    assert "2/4" in second and "[##########----------]" in second
    assert second.endswith("next: `second`, then `python -m helpers check 02`")
    assert "not tried yet: open lessons/exercises/03_c/exercises_03.ipynb" in third
    assert fourth.startswith("04_d") and fourth.endswith("no exercises: read lessons/04_d.ipynb")


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(CourseError, match="no lessons yet"):
        progress.show(tmp_path)


@pytest.mark.parametrize("content", ["{ cut", "[]", '{"lessons": {"01_a": {"x": {"best": 1}}}}', "", '{"lessons": 3}',
                                     '{"lessons": {"01_a": {"x": {"best": 9, "last": 1, "max": 0, "date": "2026"}}}}'])
def test_a_damaged_record_is_kept_aside(tmp_path, capsys, content):
    make(tmp_path, "01_a")
    file = tmp_path / ".course" / "progress.json"
    file.parent.mkdir()
    for number in (1, 2):
        file.write_text(content, encoding="utf-8")
        progress.record(tmp_path, "01_a", outcome(1, 1))
        assert json.loads(file.read_text(encoding="utf-8"))["lessons"]["01_a"]["first"]["last"] == 1
        assert len(list(file.parent.glob("progress.damaged*.json"))) == number
    out, err = capsys.readouterr()
    assert out == "" and "damaged" in err
    assert (file.parent / "progress.damaged.json").read_text(encoding="utf-8") == content


def test_a_failed_write_keeps_the_old_record(tmp_path, monkeypatch):
    progress.record(tmp_path, "01_a", outcome(1, 1))
    before = (tmp_path / ".course" / "progress.json").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CourseError, match="No space left"):
        progress.record(tmp_path, "01_a", outcome(2, 2))
    assert [path.name for path in (tmp_path / ".course").iterdir()] == ["progress.json"]
    assert (tmp_path / ".course" / "progress.json").read_bytes() == before
