"""Start a learner's process or a checker in a fresh Python, where a warm parent cannot fork one: macOS, Windows, no namespaces.

    python -m helpers.grading.cold student LIMITS SOCKET
    python -m helpers.grading.cold checker LIMITS SOCKET SOCKET

A socket is the number of an inherited descriptor, or "-": then it comes over standard input (Windows).
"""
from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from typing import Any

from helpers.grading.warm import environment


def start(role: str, settings: dict[str, Any], sockets: list[socket.socket], prefix: list[str], folder: str) -> subprocess.Popen:
    """Start a process of this role that gets the sockets. settings: limits and seed. prefix: a command to run it in. Raises OSError."""
    windows = sys.platform == "win32"
    names = ["-" if windows else str(sock.fileno()) for sock in sockets]
    more = {} if windows else {"pass_fds": [sock.fileno() for sock in sockets], "start_new_session": True}
    child = subprocess.Popen(
        [*prefix, sys.executable, "-m", "helpers.grading.cold", role, json.dumps(settings), *names], cwd=folder, env=environment(),
        stdin=subprocess.PIPE if windows else subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more,
    )  # fmt: skip
    if windows:
        for sock in sockets:
            data = sock.share(child.pid)
            child.stdin.write(struct.pack("<I", len(data)) + data)
        child.stdin.close()
    return child


def received(name: str) -> socket.socket:
    """The socket that the parent has passed on."""
    if name != "-":
        return socket.socket(fileno=int(name))
    (size,) = struct.unpack("<I", sys.stdin.buffer.read(4))
    return socket.fromshare(sys.stdin.buffer.read(size))


def main(role: str, settings: str, *names: str) -> None:
    """Be what `role` says."""
    sockets = [received(name) for name in names]
    if role == "checker":
        from helpers.grading import checker

        checker.main(*sockets)
        return
    from helpers.grading import sandbox, student

    about = json.loads(settings)
    sandbox.set_limits(sandbox.Limits(**about["limits"]))
    sandbox.clean_environment(os.getcwd())
    student.Channel(sockets[0]).send({"ready": True})
    student.main(sockets[0], about["seed"])


if __name__ == "__main__":
    main(*sys.argv[1:])
