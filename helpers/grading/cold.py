"""Start a learner's process or a checker in a fresh Python, where a warm parent cannot fork one: macOS, Windows, no namespaces.

    python -m helpers.grading.cold student DESCRIPTOR SEED
    python -m helpers.grading.cold checker DESCRIPTOR DESCRIPTOR
"""
from __future__ import annotations

import socket
import sys


def main(role: str, *numbers: str) -> None:
    """Be what `role` says, over inherited sockets."""
    if role == "checker":
        from helpers.grading import checker

        checker.main(*(socket.socket(fileno=int(number)) for number in numbers))
        return
    from helpers.grading import sandbox, student

    sock = socket.socket(fileno=int(numbers[0]))
    sandbox.set_limits(sandbox.Limits())
    student.Channel(sock).send({"ready": True})
    student.main(sock, int(numbers[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
