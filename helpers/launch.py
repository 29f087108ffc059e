"""Starts JupyterLab or the tests in the environment that is set up."""
from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path

from helpers import config, environment
from helpers.errors import CourseError

FIRST_PORT = 8888
LAST_SECONDS = 3.0  # what is left of the server gets this long to end after the server has


def test(pytest_args: list[str]) -> int:
    """Run pytest from the course's folder, one process a core unless `pytest_args` say otherwise; returns its exit status."""
    import psutil

    # Notebooks that load both frameworks reach 2 GB, so a machine with little memory runs fewer of them at once.
    count = max(1, min(config.cores(), int(psutil.virtual_memory().total / 2e9)))
    parallel = [] if {"--pdb", "--trace"} & set(pytest_args) else ["-n", str(count), "--dist", "loadscope", "--no-loadscope-reorder"]
    surroundings = {**os.environ, "COURSE_CORES": "1", "COURSE_PROGRESS": "0", **{name: "1" for name in config.THREAD_VARIABLES}}
    return environment.call([sys.executable, "-m", "pytest", *parallel, *pytest_args], cwd=config.ROOT, env=surroundings)


def start(port: int | None, browser: bool) -> int:
    """Run JupyterLab, showing lesson 00, until Ctrl-C; returns 0. Raises CourseError when the port is taken."""
    port = free_port(port)
    token = secrets.token_hex(16)
    address = f"http://127.0.0.1:{port}/?token={token}"
    folder = config.ROOT / ".jupyter"
    os.environ["JUPYTER_TOKEN"] = token  # not an argument: those are visible to every user of the machine
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("JUPYTER_CONFIG_PATH")]))
    # The course's own tabs are opened again, not those of whatever else JupyterLab is used for on this machine.
    os.environ.setdefault("JUPYTERLAB_WORKSPACES_DIR", str(config.ROOT / ".course" / "workspaces"))
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    # A terminal in JupyterLab finds the environment's commands, and so does nbgrader, which runs `alembic`.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.chdir(config.ROOT)  # nbgrader reads nbgrader_config.py from here
    options = ["--ServerApp.open_browser=False", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={config.ROOT}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell starts its background commands with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    print("starting JupyterLab ...", flush=True)
    threading.Thread(target=_announce, args=(port, address, browser and has_display()), daemon=True).start()
    try:
        from jupyterlab.labapp import LabApp

        LabApp.launch_instance(options)
    except KeyboardInterrupt:
        pass
    print("\nJupyterLab has stopped; your notebooks are saved as you left them", flush=True)
    end_soon()
    return 0


def end_soon() -> None:
    """End this process with status 0 after LAST_SECONDS at the latest, if it does not end by itself before.

    The server reads files in threads of AnyIO, which are told to end by the request that they work for. When the server stops in
    the middle of one, they wait for ever, and the interpreter waits for them.
    """
    timer = threading.Timer(LAST_SECONDS, os._exit, [0])
    timer.daemon = True  # so that the interpreter does not wait for this one
    timer.start()


def _announce(port: int, address: str, browser: bool) -> None:
    """Wait until the server answers, then print its address and open it in a browser."""
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.2)
    else:
        return
    opened = browser and webbrowser.open(address)
    print(f"JupyterLab is ready{' in your browser' if opened else ': open this address in a browser'}\n\n    {address}\n\n"
          "Stop it with Ctrl-C in this window.", flush=True)


def free_port(port: int | None) -> int:
    """The port if it is free, or the first free one from 8888 when it is None. Raises CourseError."""
    for candidate in [port] if port else range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as probe:
            if os.name != "nt":  # there it would allow a port that is in use
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError, PermissionError):
                probe.bind(("127.0.0.1", candidate))
                return candidate
    if port:
        raise CourseError(f"port {port} is taken or not allowed: leave --port out, or give another number above 1024")
    raise CourseError(f"the ports from {FIRST_PORT} to {FIRST_PORT + 99} are all taken: give a free one with --port")


def has_display() -> bool:
    """Whether a browser window can be shown here."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return not os.environ.get("SSH_CONNECTION")
