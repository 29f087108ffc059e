import shutil
import types
from importlib import metadata
from pathlib import Path

import pytest

from helpers import config, data, doctor
from helpers.errors import CourseError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course folder of its own."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    return tmp_path


def only(monkeypatch, **checks):
    """Leave only these checks of a course that is set up."""
    for name in ("machine", "settings", "models", "data", "notebooks"):
        monkeypatch.setattr(doctor, name, lambda name=name: iter(checks.get(name, [])))
    monkeypatch.setattr(doctor, "packages", lambda: "as wanted")


def failing(error):
    def check():
        raise error

    return check


def test_all_is_well(monkeypatch, capsys):
    only(monkeypatch, data=[("data digits", lambda: "1,797 images")])
    assert doctor.report(ready=True) == 0
    assert "ok      data digits                  1,797 images\n" in capsys.readouterr().out


@pytest.mark.parametrize(("error", "said"), [
    (CourseError("the file is damaged: install it again"), "the file is damaged: install it again\n"),
    (ValueError("COURSE_CORES is 'x': set it to a number"), "COURSE_CORES is 'x': set it to a number\n"),
    (ImportError("no module"), "ImportError: no module; repair with `"),
])
def test_what_is_missing_is_said_and_the_rest_still_checked(monkeypatch, capsys, error, said):
    only(monkeypatch, models=[("weights letters", failing(error))], data=[("data digits", lambda: "1,797 images")])
    assert doctor.report(ready=True) == 1
    out = capsys.readouterr().out
    assert f"MISSING weights letters              {said}" in out
    assert "1,797 images" in out and "1 missing" in out


def test_packages_are_compared_with_the_requirements(root, monkeypatch):
    here = metadata.version("psutil")
    (root / "requirements.txt").write_text(f"# why\npsutil=={here}\n-e .\n")
    assert doctor.packages().startswith("1 as wanted")
    (root / "requirements.txt").write_text("psutil==0.1\nno-such-package==2\n")
    with pytest.raises(CourseError, match=rf"psutil 0.1 \(here: {here}\), no-such-package 2 \(missing\): run `.* -m pip install"):
        doctor.packages()
    monkeypatch.setattr(metadata, "version", lambda name: "2.13.0+cpu")
    (root / "requirements.txt").write_text("torch==2.13.0\n")
    assert "torch 2.13.0+cpu" in doctor.packages(), "a build for the CPU is the same version"


def test_every_weights_file_and_data_set_is_checked():
    sets = {path.stem for path in Path(data.__file__).parent.glob("*.py") if "\ndef verify(" in path.read_text(encoding="utf-8")}
    assert {name for name, _ in doctor.data()} == {f"data {name}" for name in sets} and "docstrings" in sets
    names = [name for name, _ in doctor.models()]
    assert names[0] == "weights efficientnet_lite0" and "weights letters" in names


def test_a_module_that_does_not_load_is_reported(monkeypatch):
    def broken(name):
        raise ImportError("libtorch is broken")

    monkeypatch.setattr(doctor, "_module", broken)
    name, check = list(doctor.models())[-1]
    with pytest.raises(CourseError, match="libtorch is broken; repair with"):
        check()


def test_lessons_and_their_releases(root):
    with pytest.raises(CourseError, match="there is no notebook"):
        list(doctor.notebooks())[0][1]()
    (root / "lessons").mkdir()
    (root / "lessons" / "00_start_here.ipynb").write_text("{}")
    assert [(name, check()) for name, check in doctor.notebooks()] == [("lesson 00_start_here", "notebook (no exercises)")]
    source = root / "solutions" / "00_start_here" / "exercises_00.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text("{}")
    with pytest.raises(CourseError, match="run `python3 -m helpers release 00`"):
        doctor.lesson("00_start_here")
    shutil.copytree(source.parent, root / "lessons" / "exercises" / "00_start_here")
    assert doctor.lesson("00_start_here") == "notebook and exercises"
    (root / "lessons" / "00_start_here.ipynb").unlink()
    with pytest.raises(CourseError, match="lessons/00_start_here.ipynb is missing"):
        doctor.lesson("00_start_here")


def test_memory_disk_and_cache_are_judged(root, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(total=2e9, available=1e9))
    with pytest.raises(CourseError, match="2.0 GB, 1.0 GB available: a notebook may take 3 GB"):
        doctor.memory()
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(total=16e9, available=9e9))
    assert doctor.memory() == "16.0 GB, 9.0 GB available"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=0.4e9))
    with pytest.raises(CourseError, match="0.4 GB free: .* so free some space"):
        doctor.disk()
    (root / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(root / "file" / "cache"))
    with pytest.raises(CourseError, match="set COURSE_CACHE to a folder of your own"):
        doctor.cache()
