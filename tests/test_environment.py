"""The set-up: nothing here reaches the network, and no environment but those in temporary folders is changed."""
import ast
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers import config, environment, installer, old_python
from helpers.errors import CourseError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course folder of its own, and an environment `env` in it that this interpreter seems to run in."""
    (tmp_path / "requirements.txt").write_text("psutil\n")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "env").mkdir()
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def restarts(monkeypatch):
    """The restarts asked for, as (interpreter, arguments); each ends the call, as the real one does."""
    asked = []

    def restart(python, argv):
        asked.append((python, argv))
        raise SystemExit

    monkeypatch.setattr(environment, "restart", restart)
    return asked


def outside(monkeypatch):
    """Make this interpreter seem to belong to no environment."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)


def test_first_command_installs_then_restarts_and_the_next_only_compares_the_stamp(root, restarts, monkeypatch):
    installed = []
    monkeypatch.setattr(installer, "install", lambda python, prefix, *rest: installed.append((python, prefix)))
    with pytest.raises(SystemExit):
        environment.ensure(["progress"])
    assert installed == [(sys.executable, root / "env")]
    assert restarts == [(Path(sys.executable), ["progress"])]

    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a set-up environment starts no process"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a set-up environment starts no process"))
    assert environment.ensure(["progress"]) is True
    assert len(installed) == 1


@pytest.mark.parametrize("failure", [CourseError("no network"), KeyboardInterrupt()])
def test_a_failed_or_interrupted_install_leaves_no_stamp_not_even_the_old_one(root, restarts, monkeypatch, failure):
    (root / "env" / environment.STAMP).write_text("of older requirements")

    def install(*_):
        raise failure

    monkeypatch.setattr(installer, "install", install)
    with pytest.raises(type(failure)):
        environment.ensure(["progress"])
    assert list((root / "env").iterdir()) == []
    assert restarts == []


@pytest.mark.parametrize("changed", ["requirements.txt", "pyproject.toml"])
def test_changed_requirements_or_package_settings_ask_for_a_new_set_up(root, changed):
    (root / "env" / environment.STAMP).write_text(environment.fingerprint())
    assert environment.is_set_up(root / "env")
    (root / changed).write_text("# changed")
    assert not environment.is_set_up(root / "env")


def test_another_python_or_another_place_asks_for_a_new_set_up(root, monkeypatch):
    first = environment.fingerprint()
    monkeypatch.setattr(sys, "version", "3.13.99")
    second = environment.fingerprint()
    monkeypatch.setattr(environment, "ROOT", root / "env" / "..")
    assert len({first, second, environment.fingerprint()}) == 3


def test_doctor_installs_nothing(root, restarts, monkeypatch):
    monkeypatch.setattr(installer, "install", lambda *_: pytest.fail("installed"))
    assert environment.ensure(["doctor"], install=False) is False
    outside(monkeypatch)
    assert environment.ensure(["doctor"], install=False) is False
    assert not (root / ".venv").exists() and restarts == []


def test_a_virtual_environment_that_is_active_but_not_running_is_used(root, restarts, monkeypatch):
    outside(monkeypatch)
    (root / "env" / "pyvenv.cfg").write_text("")
    monkeypatch.setenv("VIRTUAL_ENV", str(root / "env"))
    monkeypatch.setattr(environment, "starts", lambda python: True)
    with pytest.raises(SystemExit):
        environment.ensure(["test", "-k", "x"])
    assert restarts == [(environment.python_of(root / "env"), ["test", "-k", "x"])]


def test_a_broken_active_environment_is_named_and_left_alone(root, restarts, monkeypatch):
    outside(monkeypatch)
    (root / "env" / "pyvenv.cfg").write_text("")
    monkeypatch.setenv("VIRTUAL_ENV", str(root / "env"))
    with pytest.raises(CourseError, match="broken .* run `deactivate`"):
        environment.ensure(["start"])
    assert (root / "env" / "pyvenv.cfg").exists()
    monkeypatch.setenv("VIRTUAL_ENV", str(root / "gone"))
    with pytest.raises(CourseError, match="is gone .* run `deactivate`"):
        environment.ensure(["start"])


def test_conda_counts_unless_it_is_the_base(root, monkeypatch):
    (root / "env" / "conda-meta").mkdir()
    monkeypatch.setenv("CONDA_PREFIX", str(root / "env"))
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "base")
    assert environment.active() is None
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "course")
    assert environment.active() == root / "env"


def test_a_half_made_environment_is_made_again(root, restarts, monkeypatch):
    outside(monkeypatch)
    half = root / ".venv"
    half.mkdir()
    (half / environment.MARKER).write_text(f"{root}\n")
    (half / "rubbish").write_text("")
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    with pytest.raises(SystemExit):
        environment.ensure(["start"])
    assert restarts == [(environment.python_of(half), ["start"])]
    assert environment.starts(environment.python_of(half)) and not (half / "rubbish").exists()
    assert environment._usable(half)
    (half / environment.MARKER).write_text(f"{root / 'elsewhere'}\ncomplete\n")
    assert not environment._usable(half), "its scripts hold the old path"


def test_a_folder_that_was_not_made_here_is_never_deleted(root, restarts, monkeypatch):
    outside(monkeypatch)
    (root / ".venv").mkdir()
    (root / ".venv" / "mine").write_text("precious")
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    with pytest.raises(CourseError, match="not made by the course: delete or rename"):
        environment.ensure(["start"])
    assert (root / ".venv" / "mine").read_text() == "precious"


def test_an_environment_of_an_older_python_is_not_used(root, restarts, monkeypatch):
    outside(monkeypatch)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / ".venv")], check=True)
    assert environment._usable(root / ".venv")
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    # Stands for the interpreter of an older version: it starts, and refuses the question whether it suits.
    monkeypatch.setattr(environment, "starts", lambda python, code="": not code)
    with pytest.raises(CourseError, match="delete or rename"):
        environment.ensure(["start"])
    assert (root / ".venv" / "pyvenv.cfg").exists() and restarts == []


def test_a_python_without_ensurepip_names_the_package_to_install(root, restarts, monkeypatch):
    outside(monkeypatch)
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    said = "The virtual environment was not created successfully because ensurepip is not available."
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=1, stdout=said))
    with pytest.raises(CourseError, match="apt install python3-venv"):
        environment.ensure(["start"])


def test_a_folder_that_cannot_be_written_is_named(root):
    (root / ".course").write_text("a file where a folder must be")
    with pytest.raises(CourseError, match="cannot be written to .* copy the course"):
        with environment.lock():
            pass


def test_the_lock_is_exclusive_and_ends_with_its_holder(root, capfd):
    code = (f"import time; from pathlib import Path; from helpers import environment; environment.ROOT = Path({str(root)!r})\n"
            "with environment.lock():\n    print('held', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], cwd=config.ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with open(root / ".course" / "set-up.lock", "a+b") as stream:
            assert environment._take(stream.fileno()) is False
        holder.kill()
    begin = time.monotonic()
    with environment.lock() as held:
        assert held is not None
    assert time.monotonic() - begin < 10


def test_too_little_space_is_said_before_anything_is_installed(root, restarts, monkeypatch):
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda path: SimpleNamespace(free=2.5e9))
    with pytest.raises(CourseError, match=r"2.5 GB free, and the set-up needs 6 GB: free some space"):
        environment.ensure(["start"])
    outside(monkeypatch)
    with pytest.raises(CourseError, match="needs 6 GB"):
        environment.ensure(["start"])
    assert not (root / ".venv").exists() and not (root / ".course" / "set-up.log").exists()


def test_when_the_large_packages_are_there_less_space_and_time_are_enough(root, monkeypatch, capfd):
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda path: SimpleNamespace(free=2.5e9))
    for name in ("torch-1", "tensorflow-1"):
        (root / "env" / "lib" / "site-packages" / f"{name}.dist-info").mkdir(parents=True)
    installer.need_space(root / "env")
    installer.install(sys.executable, root / "env", root)
    assert "up to date" in capfd.readouterr().err


def test_pip_installs_and_keeps_its_log(root, monkeypatch, capfd):
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    installer.install(sys.executable, root / "env", root)  # psutil is there already, so pip needs no network
    out, err = capfd.readouterr()
    assert out == "" and "setting the course up" in err and "the course is set up" in err
    assert "already satisfied: psutil" in (root / ".course" / "set-up.log").read_text()


def test_no_network_is_one_sentence(root, monkeypatch):
    (root / "requirements.txt").write_text("no-such-package-of-the-course==1\n")
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # a port on this machine where nothing listens
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(CourseError, match="cannot reach its package index: check the network"):
        installer.install(sys.executable, root / "env", root)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_pip_that_was_killed_is_one_sentence(root, monkeypatch):
    monkeypatch.setattr(installer, "need_space", lambda folder: None)
    monkeypatch.setattr(installer, "_need_pip", lambda python, prefix: None)
    killed = root / "pip"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    with pytest.raises(CourseError, match="pip was killed .* run this command again"):
        installer.install(str(killed), root / "env", root)


@pytest.mark.parametrize(("output", "sentence"), [
    ("Retrying after connection broken by 'NameResolutionError(...)'\nERROR: No matching distribution found for torch==2.13.0",
     "cannot reach its package index"),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
    ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)\n"
     "ERROR: No matching distribution found for torch==2.13.0\n", "no version of torch==2.13.0 at all: check the network"),
    ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.2.0, 2.2.2)\n"
     "ERROR: No matching distribution found for torch==2.13.0\n", "pip finds no torch==2.13.0 for this machine"),
    ("ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied", "may not write into the environment"),
    ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "set PIP_CERT"),
    ("HINT: This error might have occurred since this does not have Windows Long Path support enabled.", "too long for Windows"),
    ("Collecting x\nERROR: ResolutionImpossible: conflict.\nmore\n", "(ResolutionImpossible: conflict): run this command again"),
])
def test_the_cause_of_a_failure_is_recognised(output, sentence):
    said = installer.reason(output, Path("set-up.log"))
    assert sentence in said and "\n" not in said


@pytest.mark.parametrize(("line", "words"), [
    ("Collecting torch==2.13.0 (from -r requirements.txt (line 2))", f"looking up torch (3 of about {installer.PACKAGES})"),
    ("  Downloading tensorflow-2.21.0-cp311-cp311-linux_x86_64.whl (572.4 MB)", "fetching tensorflow, 572.4 MB"),
    ("Downloading idna-3.10-py3-none-any.whl (70 kB)", ""),
    ("Downloading small-3.10-py3-none-any.whl (7.0 MB)", ""),
    ("Installing collected packages: a, b, c", "installing 3 packages: this takes some minutes"),
    ("Requirement already satisfied: pip", ""),
])
def test_what_pip_does_is_said_in_words(line, words):
    assert installer.describe(line, 3) == words


@pytest.mark.parametrize("name", ["__init__", "__main__", "old_python"])
def test_an_old_python_can_read_the_way_to_its_error(name):
    text = (config.ROOT / "helpers" / f"{name}.py").read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 6))
    assert "from __future__ import annotations" not in text, "unknown before Python 3.7"


def test_advice_for_another_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(old_python, "suitable", lambda: "python3.13")
    assert old_python.advice(["start"]).endswith("and this is Python 3.8.18: run `python3.13 -m helpers start`")
    monkeypatch.setattr(old_python, "suitable", lambda: None)
    monkeypatch.setenv("VIRTUAL_ENV", "/old")
    said = old_python.advice(["start"])
    assert "install Python 3.12" in said and "/old, so leave that with `deactivate`" in said
