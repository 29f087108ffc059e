"""The trusted end: runs the test cells, far from the learner's code, whose functions are called across the boundary.

Set-up and helper cells that the course has locked run here too. The names that the answer cells define become stand-ins (`Remote`): a call
sends plain data (`wire`) to the learner's process. So nothing that a learner's cell patches, overloads or inspects is near a test.
"""
from __future__ import annotations

import ast
import builtins
import contextlib
import hashlib
import io
import random
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from helpers.grading import sandbox
from helpers.grading.student import TooSlow, time_limit
from helpers.grading.wire import Channel, Decoder, Encoder, Table, WireError

GRACE = 5.0  # seconds beyond a polite limit after which the process is given up
HIDDEN_BEGIN, HIDDEN_END = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"


class Stopped(BaseException):
    """The learner's process is gone or hangs; the message says which."""


class Remote:
    """Stands for a function of the learner: a call runs it there. It equals nothing and is neither true nor false."""

    def __init__(self, checker: Checker, name: str) -> None:
        self.__checker, self.__name__ = checker, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__checker.call(self.__name__, args, kwargs)

    def __bool__(self) -> bool:
        raise TypeError(f"{self.__name__} is no plain value")

    def __repr__(self) -> str:
        return f"<function {self.__name__}>"


class Checker:
    """Runs one notebook, cell by cell."""

    def __init__(self, student: Channel, job: dict[str, Any]) -> None:
        """job: cells (source, name, kind), seconds for a cell, secret, names of the answers."""
        self.student, self.job = student, job
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}

    def run(self, index: int) -> dict[str, Any]:
        """Run cell `index`; returns its outputs and more, ready to send. Raises Stopped."""
        cell = self.job["cells"][index]
        if cell["kind"] == "test":
            return self.test(cell)
        self.student.send({"do": "cell", "source": cell["source"], "seconds": cell["seconds"]})
        answer, _ = self.answer(cell["seconds"] + GRACE)
        if not isinstance(answer.get("outputs"), list):
            raise Stopped(f"answered with something that is not the output of a cell ({str(answer.get('error'))[:100]})")
        if cell["kind"] == "locked" and (error := self.execute(cell)[1]):
            return {"outputs": answer["outputs"], "teacher": f"{error['ename']}: {error['evalue']}"}
        count = answer.get("count")
        return {"outputs": answer["outputs"], "exit": answer.get("exit") is True, "count": count if isinstance(count, int) else None}

    def test(self, cell: dict[str, Any]) -> dict[str, Any]:
        """Run a test cell here. Besides the outputs: whether what failed is hidden, and then what may be said about it."""
        self.bind()
        reseed(self.job["secret"], cell["name"])
        value, error = self.execute(cell)
        if error is not None:
            return {"outputs": [{"output_type": "error"} | {key: error[key] for key in ("ename", "evalue", "traceback")}],
                    "hidden": error["hidden"], "shown": error["shown"]}
        if value is None:
            return {"outputs": self.printed()}
        try:
            data = {"text/plain": repr(partial_score(value))}
        except ValueError as wrong:  # nbgrader would give full marks for it
            return {"outputs": [{"output_type": "error", "ename": "ScoreError", "evalue": str(wrong), "traceback": [str(wrong)]}]}
        return {"outputs": [*self.printed(), {"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data}]}

    def printed(self) -> list[dict[str, Any]]:
        """What the test cell has printed, as outputs."""
        text = self.stdout.getvalue()[:20_000]
        return [{"output_type": "stream", "name": "stdout", "text": text}] if text else []

    def bind(self) -> None:
        """Put the learner's names, as they are now, where the tests look for them."""
        self.student.send({"do": "kinds", "names": self.job["names"]})
        answer, _ = self.answer(GRACE)
        kinds = answer.get("kinds")
        for name in self.job["names"]:
            self.names.pop(name, None)
            kind = kinds.get(name) if isinstance(kinds, dict) else None
            if kind == "callable":
                self.names[name] = Remote(self, name)
            elif kind == "value":
                self.names[name] = self.value(name)

    def value(self, name: str) -> Any:
        """A value of the learner's; what cannot be handed over becomes a Remote, which equals nothing."""
        self.student.send({"do": "value", "name": name})
        answer, blobs = self.answer(GRACE)
        try:
            return Decoder(Table(), blobs, self.names).decode(answer["result"]) if "result" in answer else Remote(self, name)
        except WireError:
            return Remote(self, name)

    def call(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call the learner's function with copies; bring our arguments up to date, and return its result or raise its exception."""
        table, seconds = Table(), self.job["cell_seconds"]
        encoder = Encoder(table)
        arguments = [encoder.encode(list(args)), encoder.encode(kwargs)]
        self.student.send({"do": "call", "name": name, "args": arguments[0], "kwargs": arguments[1], "seconds": seconds}, encoder.blobs)
        answer, blobs = self.answer(seconds + GRACE)
        decoder = Decoder(table, blobs, self.names)
        if "error" in answer:
            if "arguments" in answer:
                decoder.decode(answer["arguments"])
            raise exception(answer)
        if "result" not in answer or "arguments" not in answer:
            raise WireError("the answer cannot be read")
        # The result comes first on the wire, so that what it shares with the arguments is decoded once.
        result = decoder.decode(answer["result"])
        decoder.decode(answer["arguments"])
        return result

    def answer(self, seconds: float) -> tuple[dict[str, Any], list[bytes]]:
        """The next answer of the learner's process. Raises Stopped when none comes."""
        try:
            header, blobs = self.student.receive(seconds)
        except TimeoutError:
            raise Stopped(f"did not stop after {seconds - GRACE:g} s, nor when asked to (an endless loop?)") from None
        except (EOFError, OSError):
            raise Stopped("ended the Python process (os._exit, or out of memory?)") from None
        except WireError as error:
            raise Stopped(str(error)) from None
        if not isinstance(header, dict):
            raise Stopped("answered with something that is no answer")
        return header, blobs

    def execute(self, cell: dict[str, Any]) -> tuple[Any, dict[str, Any] | None]:
        """Run a cell of the course here; returns the value of its last expression, or what went wrong."""
        file, tree = f"<{cell['name']}>", ast.parse(cell["source"])
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        self.stdout = io.StringIO()
        try:
            with contextlib.redirect_stdout(self.stdout), contextlib.redirect_stderr(io.StringIO()), time_limit(4 * cell["seconds"]):
                exec(compile(tree, file, "exec"), self.names)
                value = None if last is None else eval(compile(ast.Expression(last.value), file, "eval"), self.names)
                return (None if cell["source"].rstrip().endswith(";") else value), None  # as in a notebook
        except Stopped:
            raise
        except BaseException as error:
            line = max((number for name, number in frames(error) if name == file), default=0)
            hidden = any(begin <= line <= end for begin, end in hidden_lines(cell["source"]))
            return None, describe(error, hidden, cell["source"], line)


def partial_score(value: Any) -> float:
    """The partial score that a test cell ends with. Raises ValueError when it is no number."""
    if not isinstance(value, (bool, str)):
        try:
            return float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, RuntimeError):
            pass
    raise ValueError(f"the test ends with {str(value)[:80]!r} instead of a number of points: your code returns something of another kind")


def frames(error: BaseException) -> Iterator[tuple[str, int]]:
    """(file, line) of each frame that the error passed through."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def exception(answer: dict[str, Any]) -> BaseException:
    """The exception that the learner's function raised, as the nearest built-in class."""
    if answer["error"] == "WireError":
        return WireError(str(answer.get("message"))[:2000])
    if answer["error"] == "TooSlow":
        return AssertionError(f"your function was {str(answer.get('message'))[:100]}: is there an endless loop?")
    names = answer["error"] if isinstance(answer["error"], list) else []
    for name in names:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                found = kind(str(answer.get("message"))[:2000])
            except TypeError:  # UnicodeDecodeError and its like want more arguments
                continue
            found.learners_line = answer["line"] if isinstance(answer.get("line"), int) else 0
            found.learners_class = str(names[0])[:100]
            return found
    return RuntimeError(str(answer.get("message"))[:2000])


def describe(error: BaseException, hidden: bool, source: str, line: int) -> dict[str, Any]:
    """An error of a test as data: for the instructor in full, and what the learner may see of it."""
    kind, text = getattr(error, "learners_class", type(error).__name__), str(error)[:2000]
    place = getattr(error, "learners_line", 0)
    if isinstance(error, (WireError, TooSlow)):
        kind, text = "AssertionError", text if isinstance(error, WireError) else "the test was stopped because it took too long"
    elif place == 0 and not hasattr(error, "learners_class") and not isinstance(error, AssertionError):
        text = text or kind
    shown = ""
    if hidden:
        from_learner = hasattr(error, "learners_class")
        shown = (f"your code stops with {kind} on an input that you do not see" + (f" (line {place} of your cell)" if place else "")
                 if from_learner else public_message(source, line) if kind == "AssertionError" else f"a hidden test stops with {kind}")
    trace = [f"{kind}: {text}"] + ([f"In[answer], line {place}"] if place else [])
    return {"ename": kind, "evalue": text, "traceback": trace, "hidden": hidden, "shown": shown}


def hidden_lines(source: str) -> list[tuple[int, int]]:
    """First and last line of each hidden part of a test cell."""
    begins = [number for number, line in enumerate(source.splitlines(), 1) if line.strip() == HIDDEN_BEGIN]
    ends = [number for number, line in enumerate(source.splitlines(), 1) if line.strip() == HIDDEN_END]
    return list(zip(begins, ends, strict=False))


def public_message(source: str, line: int) -> str:
    """What a hidden test that failed at `line` says, with "…" for every computed value: inputs and expected values stay hidden."""
    texts = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno):
            continue
        if isinstance(node, ast.Assert) and node.msg is not None:
            texts = [constant_text(node.msg)]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            arguments = [*node.value.args, *(keyword.value for keyword in node.value.keywords)]
            texts = [text for text in map(constant_text, arguments) if " " in text]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            texts = [constant_text(argument) for argument in node.exc.args]
    return ": ".join(text for text in texts if text) or "a hidden test failed"


def constant_text(node: ast.expr) -> str:
    """The fixed part of a string expression, "…" for what is filled in; "" when it is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def reseed(secret: str, name: str) -> None:
    """Seed every generator, and those that a test makes without a seed, from the secret and the cell's name."""
    import numpy as np

    number = int.from_bytes(hashlib.sha256(f"{secret} {name}".encode()).digest()[:8], "big")
    random.seed(number)
    np.random.seed(number % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number % 2**63)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(number % 2**31)
    made = iter(range(sys.maxsize))
    original = getattr(np.random.default_rng, "original", np.random.default_rng)

    def default_rng(seed: Any = None) -> np.random.Generator:
        return original((number, next(made)) if seed is None else seed)

    default_rng.original = original
    np.random.default_rng = default_rng


def main(report: socket.socket, student: socket.socket) -> None:
    """Receive the job over `report`, run it, and report each cell; the last message is {"done": true}."""
    import os

    to_grader, to_student = Channel(report), Channel(student)
    job, _ = to_grader.receive()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sandbox.limit("DATA", job["memory_mb"] * 2**20)  # what a learner's network computes, it computes here
    checker = Checker(to_student, job)
    began = time.monotonic()
    for index, cell in enumerate(job["cells"]):
        if cell["kind"] == "text":
            continue
        to_grader.send({"begins": index})
        try:
            if time.monotonic() - began > job["total_seconds"]:
                raise Stopped(f"was not run: the notebook took more than {job['total_seconds']:g} s in all")
            found = checker.run(index)
        except Stopped as reason:
            to_grader.send({"cell": index, "outputs": [], "stopped": str(reason)})
            break
        except OSError:
            to_grader.send({"cell": index, "outputs": [], "stopped": "ended the Python process (os._exit, or out of memory?)"})
            break
        to_grader.send({"cell": index} | found)
        if found.get("exit"):
            to_grader.send({"cell": index, "outputs": found["outputs"], "stopped": "ended the Python process with exit()"})
            break
    to_grader.send({"done": True})
