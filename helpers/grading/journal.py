"""The journal of a class's grading: one line for each outcome, safe against a kill at any moment."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from helpers.errors import CourseError
from helpers.grading.outcome import Outcome

try:
    import fcntl
except ImportError:  # Windows: two graders of one lesson at once are not noticed there
    fcntl = None


class Journal:
    """What has been graded, in the order in which it ended. Each line is written whole and to the disk before anything is said about it.

    The first line holds the lesson, the secret that hidden inputs come from, and a digest of the exercises. `outcomes`: the last one of
    each student. `recorded`: students whose last outcome is in the gradebook. `torn`: how many damaged lines were found and dropped.
    """

    def __init__(self, path: Path, lesson: str, exercises: str, seed: str | None = None) -> None:
        """Open or begin the journal at `path`. exercises: a digest of the exercises; when it has changed, nothing graded before counts.

        seed: the secret to use instead of the recorded or a new one. Raises CourseError when another process is using it.
        """
        self.path, self.outcomes, self.recorded, self.torn = path, {}, set(), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 (kept open until close, for the lock)
        self._lock()
        header = self._read()
        self.begun_anew = bool(header) and (header.get("exercises") != exercises or (seed is not None and header.get("secret") != seed))
        self.continued = bool(header) and not self.begun_anew
        self.secret = header["secret"] if self.continued else seed or secrets.token_hex(16)
        if not self.continued:
            self.outcomes, self.recorded = {}, set()
            if self.begun_anew:
                self._put_aside()
            self._write({"lesson": lesson, "secret": self.secret, "exercises": exercises})

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise CourseError(f"another process is grading with {self.path.name}: wait for it, or stop it") from None

    def _read(self) -> dict[str, Any]:
        """Take in every whole line, and cut off a torn end."""
        self._file.seek(0)
        header: dict[str, Any] = {}
        good = 0
        for line in self._file.readall().splitlines(keepends=True):
            content = whole(line)
            if content is None:
                self.torn += 1
                if not line.endswith(b"\n"):
                    break  # the last one: nothing may be appended to it
            elif "secret" in content:
                header = content
            elif "recorded" in content:
                self.recorded |= set(content["recorded"])
            else:
                with contextlib.suppress(ValueError):
                    outcome = Outcome.from_json(json.dumps(content))
                    self.outcomes[outcome.student] = outcome
                    self.recorded.discard(outcome.student)
            good += len(line)
        self._file.truncate(good)
        return header

    def _put_aside(self) -> None:
        """Keep what an older release was graded with, under another name, and begin an empty file."""
        number = 1
        while (kept := self.path.with_suffix(f".{number}.jsonl")).exists():
            number += 1
        self._file.seek(0)
        kept.write_bytes(self._file.readall())
        self._file.truncate(0)

    def _write(self, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        line = digest(text) + b" " + text + b"\n"
        begin = self._file.seek(0, os.SEEK_END)
        try:
            while line:  # where the disk becomes full, a part may be written first
                line = line[self._file.write(line):]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(begin)
            raise CourseError(f"the journal cannot be written ({error.strerror}): make room and give the same command again; "
                              "what was graded until now is kept") from None

    def add(self, outcome: Outcome) -> None:
        """Write one outcome. Raises CourseError when the disk is full; what was written before is kept then."""
        self._write(json.loads(outcome.to_json()))
        self.outcomes[outcome.student] = outcome
        self.recorded.discard(outcome.student)

    def mark_recorded(self, students: Iterable[str]) -> None:
        """Note that the last outcomes of these students are in the gradebook."""
        self._write({"recorded": list(students)})
        self.recorded |= set(students)

    def close(self) -> None:
        """Let go of the file and its lock."""
        self._file.close()


def digest(text: bytes) -> bytes:
    """16 hexadecimal digits that a torn line does not have."""
    return hashlib.sha256(text).hexdigest()[:16].encode()


def whole(line: bytes) -> dict[str, Any] | None:
    """The content of a line, None when it is torn or damaged."""
    mark, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or digest(text) != mark:
        return None
    content = json.loads(text)
    return content if isinstance(content, dict) else None
