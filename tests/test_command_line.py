"""The command line, and what starts from it. No test here sets anything up."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

from helpers import __main__ as command_line
from helpers import config, environment, launch
from helpers.errors import CourseError


def best_of_3(*arguments: str) -> float:
    """Seconds of the fastest of three runs of this interpreter."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=config.ROOT, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.fixture
def ready(monkeypatch):
    """The course seems to be set up; returns the arguments of each call of `ensure`."""
    asked = []
    monkeypatch.setattr(environment, "ensure", lambda argv, install=True: asked.append((argv, install)) or True)
    return asked


@pytest.fixture
def module(monkeypatch):
    """Put a module with the given functions in the place of one of the course's, which the command then imports."""
    def put(name, **functions):
        made = types.ModuleType(f"helpers.{name}")
        vars(made).update(functions)
        monkeypatch.setitem(sys.modules, f"helpers.{name}", made)
        package, _, attribute = f"helpers.{name}".rpartition(".")
        monkeypatch.setattr(sys.modules.get(package) or __import__(package, fromlist=["_"]), attribute, made, raising=False)

    return put


def test_help_is_fast_and_sets_nothing_up(capsys, monkeypatch):
    # 0.3 s and 0.1 s on a free machine; the limits leave room for a busy one.
    empty = best_of_3("-c", "")
    assert best_of_3("-m", "helpers", "--help") - empty < 0.3
    assert best_of_3("-c", "import helpers") - empty < 0.1
    monkeypatch.setattr(environment, "ensure", lambda *a, **k: pytest.fail("--help must not set up"))
    for arguments in (["--help"], ["test", "--help"], ["check", "-h"]):
        with pytest.raises(SystemExit) as end:
            command_line.main(arguments)
        assert end.value.code == 0
    assert "JupyterLab on lesson 00" in capsys.readouterr().out


def test_before_the_set_up_only_the_standard_library_is_needed():
    # -S hides everything that pip installed.
    code = ("import sys; sys.path.insert(0, '.'); from helpers import __main__, environment, installer, doctor; "
            "print(doctor.report(ready=False))")
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=config.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not set up yet: run `python3 -m helpers start`" in done.stdout
    assert done.stdout.endswith("1\n")


def test_every_command_calls_its_module_and_returns_its_status(ready, module):
    calls = []

    def record(name, status):
        return lambda *arguments: calls.append((name, *arguments)) or status

    module("notebooks", run=record("run", 1), times=record("times", 0))
    module("grading.release", release=record("release", 0))
    module("grading.check", check=record("check", 3))
    module("grading.progress", show=record("progress", 0))
    module("doctor", report=record("doctor", 1))
    module("launch", start=record("start", 0), test=record("test", 5))
    module("site.build", build=record("site", 1))
    module("new_lesson", new=record("new", 0))
    lines = ["run 01", "run 01 --save", "times --write", "times 1 02", "release", "release 1 3", "check 01",
             "check 01 a/b.ipynb --json", "progress", "doctor", "start", "start --no-browser --port 9001",
             "test", "test -k a --pdb tests/x.py -- -h", "site", "site --to a/b", "new 23_name"]
    assert [command_line.main(line.split()) for line in lines] == [1, 1, 0, 0, 0, 0, 3, 3, 0, 1, 0, 0, 5, 5, 1, 1, 0]
    assert calls == [
        ("run", "01", False), ("run", "01", True), ("times", True, []), ("times", False, ["1", "02"]),
        ("release", None), ("release", ["1", "3"]),
        ("check", "01", None, False), ("check", "01", "a/b.ipynb", True), ("progress",), ("doctor", True),
        ("start", None, True), ("start", 9001, False),
        ("test", []), ("test", ["-k", "a", "--pdb", "tests/x.py", "--", "-h"]),
        ("site", None), ("site", Path("a/b")), ("new", "23_name"),
    ]
    assert [argv for argv, _ in ready] == [line.split() for line in lines], "a restart needs the same arguments"
    assert [argv[0] for argv, install in ready if not install] == ["doctor"]


@pytest.mark.parametrize(("raised", "status", "said"), [
    (CourseError("do this"), 2, "error: do this\n"),
    (ValueError("no lesson 99: choose one of 00, 01"), 2, "error: no lesson 99: choose one of 00, 01\n"),
    (KeyboardInterrupt(), 130, "\ninterrupted: nothing was lost, and the same command continues or starts again\n"),
])
def test_what_ends_a_command_early_is_said_on_stderr(ready, module, capsys, raised, status, said):
    def show():
        raise raised

    module("grading.progress", show=show)
    assert command_line.main(["progress"]) == status
    assert capsys.readouterr() == ("", said)


def test_an_unsupported_python_is_refused_before_anything_else(monkeypatch, capsys, ready):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    assert command_line.main(["progress"]) == 2
    assert capsys.readouterr().err.startswith("error: the course needs Python 3.11, 3.12 or 3.13, and this is Python 3.14.0")
    assert ready == []


@pytest.mark.parametrize("arguments", [
    [], ["strat"], ["run"], ["start", "--port", "0"], ["start", "--port", "x"], ["release", "-k"],
])
def test_wrong_arguments_are_refused_without_set_up(ready, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main(arguments)
    assert end.value.code == 2 and ready == []
    assert "usage:" in capsys.readouterr().err


def test_test_runs_pytest_in_the_course_with_one_process_a_core(monkeypatch):
    calls = []
    monkeypatch.setattr(environment, "call", lambda command, **options: calls.append((command, options)) or 1)
    monkeypatch.setenv("COURSE_CORES", "1")
    assert launch.test(["-k", "x"]) == 1
    command, options = calls[0]
    assert command == [sys.executable, "-m", "pytest", "-n", "1", "--dist", "loadscope", "--no-loadscope-reorder", "-k", "x"]
    assert options["cwd"] == config.ROOT and options["env"]["OMP_NUM_THREADS"] == "1"
    launch.test(["--pdb"])
    assert calls[1][0][2:] == ["pytest", "--pdb"], "the debugger needs a single process"


def test_an_interrupted_command_is_waited_for(tmp_path):
    # As after Ctrl-C, which reaches both: the child needs a moment to end, and the parent must not leave before.
    child = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    time.sleep(0.5); print('child done')"
    code = ("import sys; from helpers import environment\nprint('go', flush=True)\n"
            f"try:\n    environment.call([sys.executable, '-c', {child!r}])\n"
            "except KeyboardInterrupt:\n    print('parent done')")
    if os.name == "nt":
        pytest.skip("there is no signal to a process group like Ctrl-C's")
    with subprocess.Popen([sys.executable, "-c", code], cwd=config.ROOT, stdout=subprocess.PIPE, text=True,
                          start_new_session=True,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)) as process:
        process.stdout.readline()
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30)[0] == "child done\nparent done\n"


def test_ports():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CourseError, match=f"port {port} is taken .* leave --port out"):
            launch.free_port(port)
    assert launch.free_port(port) == port
    first = launch.free_port(None)
    with socket.socket() as taken:
        if os.name != "nt":  # a server that ended a moment ago leaves its port waiting
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert launch.free_port(None) > first


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says it with these variables")
def test_without_a_display_no_browser_is_tried(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not launch.has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert launch.has_display()


def test_a_thread_that_the_server_left_waiting_does_not_keep_the_command_from_ending():
    code = ("import threading; from helpers import launch\nlaunch.LAST_SECONDS = 0.5\n"
            "threading.Thread(target=threading.Event().wait).start()\nlaunch.end_soon()")
    assert subprocess.run([sys.executable, "-c", code], cwd=config.ROOT, timeout=30).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_server_shows_lesson_00_without_instructor_tools_and_ends_with_status_0(end, tmp_path):
    code = "import sys; from helpers import launch; sys.exit(launch.start(launch.free_port(None), browser=False))"
    surroundings = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=config.ROOT, env=surroundings, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, start_new_session=True) as server:
        said = ""
        try:
            while "Stop it" not in said:
                line = server.stdout.readline()
                assert line, said
                said += line
            address = re.search(r"http://\S+", said)[0]
            with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address, timeout=30) as answer:
                page, shown = answer.read().decode(), answer.url
            assert "/lab/tree/lessons/00_start_here.ipynb" in shown
            off = re.search(r'"disabledExtensions": (\[.*?\])', page)[1]
            assert {"@jupyter/nbgrader:formgrader", "@jupyterlab/apputils-extension:announcements"} <= set(json.loads(off))
            assert "@jupyter/nbgrader:validate-assignment" not in off
            # The server's half of the Validate button is there, the instructor's pages are not.
            place, _, token = address.partition("?token=")
            headers = {"Authorization": f"token {token}"}
            version = f"{place}nbgrader_version?version={metadata.version('nbgrader')}"
            with urllib.request.urlopen(urllib.request.Request(version, headers=headers), timeout=30) as answer:
                assert json.load(answer)["success"] is True
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(urllib.request.Request(f"{place}formgrader", headers=headers), timeout=30)
        finally:
            server.send_signal(end)
            try:
                rest = server.communicate(timeout=60)[0]
            except subprocess.TimeoutExpired:
                server.kill()  # or leaving the block would wait for ever
                raise
        assert server.returncode == 0 and "JupyterLab has stopped" in rest
        assert "Traceback" not in rest
