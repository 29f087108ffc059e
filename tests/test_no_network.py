"""Under pytest a notebook that tries to use the network fails, an ordinary one passes, cells after a failed one are skipped."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from helpers import config

CONNECT = 'import socket\nsocket.create_connection(("127.0.0.1", 9), timeout=1)'
SWALLOWED = """import urllib.request
try:
    urllib.request.urlopen("http://127.0.0.1:9", timeout=1)
except OSError:
    print("no network, never mind")"""
UDP = 'import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))'
LISTEN = 'import socket\nsocket.socket().bind(("127.0.0.1", 0))'
CHILD = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CONNECT!r}], stderr=subprocess.DEVNULL)"
SERVE = """import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), timeout=5).close()"""
OUTSIDE = """import socket
socket.create_connection(("192.0.2.1", 9), timeout=1)"""
WORKER = """from joblib import Parallel, delayed
def connect(port):
    import socket
    return socket.socket().connect_ex(("127.0.0.1", port))
try:
    Parallel(n_jobs=2)(delayed(connect)(9) for _ in range(2))
except OSError:
    pass"""
ORDINARY = """from joblib import Parallel, delayed
import socket
left, right = socket.socketpair()
left.send(b"within the machine")
print(Parallel(n_jobs=2)(delayed(abs)(-n) for n in range(2)))"""


def run_pytest(folder: Path, *options: str, **cells: list[str]) -> subprocess.CompletedProcess:
    """Run pytest with the course's settings and conftest.py on notebooks made of these cells."""
    for name, sources in cells.items():
        declared = {"course": {"loopback": True}} if name.startswith("loopback") else {}
        made = [new_code_cell(source) for source in sources]
        nbformat.write(new_notebook(cells=made, metadata=declared), folder / f"{name}.ipynb")
    settings = ["-p", "conftest", "-p", "no:cacheprovider", "-c", str(config.ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", *settings, "--color=no", "-rA", *options, str(folder)]
    surroundings = {**os.environ, "PYTHONPATH": str(config.ROOT)}
    surroundings.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, encoding="utf-8", timeout=300)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> str:
    """What pytest says about one notebook for each way to use the network, about an ordinary one and about a broken one."""
    done = run_pytest(
        tmp_path_factory.mktemp("notebooks"), "-n", "2", "--dist", "loadscope",
        connect=[CONNECT], swallowed=[SWALLOWED], udp=[UDP], listen=[LISTEN], child=[CHILD], worker=[WORKER],
        ordinary=[ORDINARY, "import urllib3, requests"], broken=["1", "1 / 0", "2"], loopback_serves=[SERVE], loopback_leaves=[OUTSIDE],
        dies=["import os; os._exit(1)", "2"],
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["connect", "swallowed", "udp", "listen", "child", "worker"])
def test_a_notebook_that_uses_the_network_fails(outcome, name):
    assert f"{name}.ipynb tried to use the network:" in outcome
    assert f"ERROR {name}.ipynb::Cell 0" in outcome


def test_the_message_says_what_was_tried(outcome):
    assert "socket.sendto(('127.0.0.1', 9)): the network is blocked here" in outcome


def test_an_ordinary_notebook_passes(outcome):
    assert "PASSED ordinary.ipynb::Cell 0" in outcome and "PASSED ordinary.ipynb::Cell 1" in outcome
    assert "ERROR ordinary.ipynb" not in outcome


def test_cells_after_a_failed_one_are_skipped_with_the_reason(outcome):
    assert "PASSED broken.ipynb::Cell 0" in outcome
    assert "FAILED broken.ipynb::Cell 1" in outcome
    assert "Cell 1 of this notebook failed, and a later cell may need it" in outcome
    assert "broken.ipynb::Cell 2" not in [line.partition(" ")[2] for line in outcome.splitlines() if line.startswith("PASSED")]


def test_a_kernel_that_dies_is_noticed_at_once(outcome):
    assert "the kernel died while it ran this cell" in outcome


def test_time_and_memory_of_each_notebook_are_printed(outcome):
    rows = {line.split()[0]: line.split()[1:] for line in outcome.partition("time and peak memory")[2].splitlines()[1:10]}
    assert len(rows) == 9
    for seconds, _, memory, _ in rows.values():
        assert 0 < float(seconds) < 240 and 0.02 < float(memory) < 3


def test_a_notebook_that_says_so_may_talk_to_this_machine_and_to_no_other(outcome):
    assert "PASSED loopback_serves.ipynb" in outcome
    assert "FAILED loopback_leaves.ipynb" in outcome and "192.0.2.1" in outcome
