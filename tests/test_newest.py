"""`.ci/newest.py` with the real pip on packages made here: what is newer, what is held back, what breaks. No network."""
from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import config

SCRIPT = config.ROOT / ".ci" / "newest.py"
# Stands in for pytest: reads what the packages say, and writes a report as pytest does.
PYTEST = '''
import importlib, sys
from pathlib import Path
def main():
    out = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--junitxml="))
    bad = importlib.import_module("alpha").VERSION == "2.0" and "-k fine" not in " ".join(sys.argv)
    failure = '<failure message="alpha.old is gone&#10;more"/>' if bad else ""
    Path(out).write_text(f'<testsuites><testsuite><testcase classname="tests.a" name="t1"/><testcase classname="tests.a" name="t2">'
                         f'{failure}</testcase></testsuite></testsuites>')
    sys.exit(bad)
main()
'''


def wheel(folder: Path, name: str, version: str, source: str = "", requires: str = "") -> None:
    """A wheel of one module."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (f"Requires-Dist: {requires}\n" if requires else "")
    files = {f"{name}.py": source or f"VERSION = {version!r}\n", f"{info}/METADATA": metadata,
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    digest = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode() for path, text in files.items()}
    record = "".join(f"{path},sha256={digest[path]},{len(files[path].encode())}\n" for path in files) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            made.writestr(path, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        wheel(folder, "alpha", version)
        wheel(folder, "beta", version)
    wheel(folder, "gamma", "1.0", requires="beta<2")
    wheel(folder, "pytest", "9.0", PYTEST)
    wheel(folder, "needy", "1.0", requires="nowhere>3")
    return folder


def newest(wheels: Path, course: Path, *arguments: str) -> subprocess.CompletedProcess:
    surroundings = {**{name: value for name, value in os.environ.items() if not name.startswith("PIP_")}, "PIP_NO_INDEX": "1",
                    "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": ""}
    surroundings.pop("GITHUB_STEP_SUMMARY", None)
    return subprocess.run([sys.executable, str(SCRIPT), "--course", str(course), *arguments], capture_output=True, text=True, timeout=200,
                          env=surroundings, stdin=subprocess.DEVNULL)


def course(folder: Path, *lines: str) -> Path:
    (folder / "requirements.txt").write_text("# what it needs\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_what_is_newer_held_back_and_broken_is_reported(wheels, tmp_path):
    done = newest(wheels, course(tmp_path, "alpha==1.0", "beta==1.0", "gamma==1.0", "pytest==9.0"), "--report", str(tmp_path / "r.md"))
    assert done.returncode == 1, done.stderr
    assert done.stdout == (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "2 of 4 packages differ" in done.stdout
    assert "| alpha | 1.0 | 2.0 | 2.0 |  |" in done.stdout and "| beta | 1.0 | 1.0 | 2.0 | gamma (<2) |" in done.stdout
    assert "**1 of 2 tests fail.**" in done.stdout and "- `tests.a::t2`: alpha.old is gone\n" in done.stdout
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["r.md", "requirements.txt"]


def test_all_well_and_arguments_for_pytest(wheels, tmp_path):
    done = newest(wheels, course(tmp_path, "alpha==2.0", "pytest==9.0"), "--", "-k fine")
    assert done.returncode == 0, done.stderr
    assert "All 2 packages are the newest" in done.stdout and "All 2 tests pass or are skipped." in done.stdout


def test_only_resolve_installs_nothing_and_a_conflict_is_reported(wheels, tmp_path):
    place = tmp_path / "environment"
    done = newest(wheels, course(tmp_path, "alpha==1.0"), "--only-resolve", "--environment", str(place))
    assert done.returncode == 0 and "| alpha | 1.0 | 2.0 | 2.0 |  |" in done.stdout
    assert not list(place.rglob("alpha.py"))
    done = newest(wheels, course(tmp_path, "needy==1.0"), "--only-resolve")
    assert done.returncode == 1 and "It does not install any more" in done.stdout and "nowhere>3" in done.stdout


def test_what_cannot_be_tried_has_the_status_2(wheels, tmp_path):
    done = newest(wheels, tmp_path)
    assert done.returncode == 2 and "requirements.txt cannot be read" in done.stderr and "--course" in done.stderr
    done = newest(wheels, course(tmp_path, "-e ."))
    assert done.returncode == 2 and "pins no package" in done.stderr


def test_the_workflow_runs_the_script_with_options_that_it_has():
    workflow = (config.ROOT / ".ci" / "newest.yml").read_text(encoding="utf-8")
    command = re.search(r"run: python (\.ci/newest\.py .*)", workflow)[1].split(" -- ")[0].split()
    said = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True).stdout
    assert (config.ROOT / command[0]).is_file() and all(option in said for option in command if option.startswith("--"))
    guide = (config.ROOT / "helpers" / "site" / "pages" / "guides" / "contributor.md").read_text(encoding="utf-8")
    assert "[[file: .ci/newest.yml]]" in guide
    assert all(option in said for option in re.findall(r"newest\.py .*?(--[a-z-]+)", guide))
