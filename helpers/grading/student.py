"""The untrusted end: the process in which a learner's cells run. It is told what to run and answers with plain data.

Nothing here protects anything: the learner's code runs in the same process and may change all of it. What it can send is data that
the trusted end (`checker`) decodes with suspicion. It must not import anything that knows solutions, learners or grades.
"""
from __future__ import annotations

import contextlib
import io
import signal
import socket
import sys
import types
from collections.abc import Iterator
from typing import Any

from helpers.grading.wire import Channel, Decoder, Encoder, Table, WireError

MAX_OUTPUT = 200_000  # characters that one cell may print
MAX_RICH = 2_000_000  # characters of one figure
MIME_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg", "image/svg+xml")


class TooSlow(BaseException):
    """Raised in a learner's cell when its time is over. Not an Exception, so that a plain `except Exception` does not swallow it."""


class Bounded(io.TextIOBase):
    """A stream that keeps the first `MAX_OUTPUT` characters."""

    def __init__(self, keep: list[str]) -> None:
        self.keep, self.left = keep, MAX_OUTPUT

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.left > 0:
            self.keep.append(text[: self.left] + ("\n… more output was cut off\n" if len(text) > self.left else ""))
            self.left -= len(text)
        return len(text)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the main thread after `seconds`, where the system has alarms. A polite limit: the trusted end has a hard one."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: Any) -> None:
        raise TooSlow(f"stopped after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def make_shell() -> Any:
    """An IPython shell without history files and prompts, that keeps what cells display."""
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    settings.InteractiveShell.xmode = "Context"
    # A module of its own: the program's own __main__ would show the learner what this process does.
    module = types.ModuleType("__main__", "A learner's notebook")

    class Shell(InteractiveShell):
        def ask_exit(self) -> None:  # what exit() calls
            self.exit_now = True

    shell = Shell.instance(config=settings, user_module=module)
    sys.modules["__main__"] = module
    shell.display_pub = CapturingDisplayPublisher()
    with contextlib.suppress(Exception):
        shell.enable_matplotlib("inline")
    return shell


class Student:
    """Runs cells and answers calls over a channel."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self.shell = channel, make_shell()

    def serve(self) -> None:
        """Answer until the other end hangs up."""
        while True:
            try:
                request, blobs = self.channel.receive()
            except EOFError:
                return
            try:
                answer, back = getattr(self, f"on_{request['do']}")(request, blobs)
            except WireError as error:
                answer, back = {"error": "WireError", "message": str(error)}, []
            except TooSlow as error:
                answer, back = {"error": "TooSlow", "message": str(error)}, []
            except BaseException as error:
                answer, back = failure(error), []
            try:
                self.channel.send(answer, back)
            except (WireError, ValueError) as error:  # too big, or not what JSON can hold
                self.channel.send({"error": "WireError", "message": str(error)})

    def on_cell(self, request: dict, _blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        """Run a cell; answer with its outputs in nbformat's form, and whether the process should end (`exit()`)."""
        from IPython.core.displayhook import CapturingDisplayHook

        shell, printed, displayed = self.shell, [], []
        shell.display_pub.outputs = displayed
        shell.display_trap.hook = CapturingDisplayHook(shell=shell, outputs=displayed)
        before = sys.stdout, sys.stderr
        shell.exit_now, count = False, shell.execution_count
        # What goes to stderr is shown too, but costs nothing.
        sys.stdout = sys.stderr = Bounded(printed)
        shown: list[dict] = []

        def show(kind: type, value: BaseException, trace: list[str]) -> None:
            lines = [str(line)[:5000] for line in trace[:50]]
            name = "CellTimeoutError" if kind is TooSlow else kind.__name__
            shown.append({"output_type": "error", "ename": name, "evalue": str(value)[:2000], "traceback": lines})

        shell._showtraceback = show
        try:
            with time_limit(request["seconds"]):
                shell.run_cell(request["source"], store_history=True)
        except TooSlow as error:
            shown.append({"output_type": "error", "ename": "CellTimeoutError", "evalue": str(error), "traceback": [str(error)]})
        finally:
            sys.stdout, sys.stderr = before
        outputs = [{"output_type": "stream", "name": "stdout", "text": "".join(printed)}] if printed else []
        return {"outputs": outputs + [rich(item) for item in displayed] + shown, "count": count,
                "exit": bool(shell.exit_now)}, []

    def on_kinds(self, request: dict, _blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        """For each name: "callable", "value", or null when there is none."""
        found = {name: self.shell.user_ns.get(name, Ellipsis) for name in request["names"]}
        return {"kinds": {name: None if it is Ellipsis else "callable" if callable(it) else "value" for name, it in found.items()}}, []

    def on_value(self, request: dict, _blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        """The value of a name."""
        encoder = Encoder(Table())
        return {"result": encoder.encode(self.shell.user_ns[request["name"]])}, encoder.blobs

    def on_call(self, request: dict, blobs: list[bytes]) -> tuple[dict, list[bytes]]:
        """Call a name; answer with the result, or the exception, and with what the arguments have become."""
        table = Table()
        decoder = Decoder(table, blobs, self.shell.user_ns)
        args, kwargs = decoder.decode(request["args"]), decoder.decode(request["kwargs"])
        before, quiet = (sys.stdout, sys.stderr), Bounded([])
        sys.stdout = sys.stderr = quiet
        answer: dict[str, Any] = {}
        encoder = Encoder(table)
        try:
            with time_limit(request["seconds"]):
                result = self.shell.user_ns[request["name"]](*args, **kwargs)
                answer["result"] = encoder.encode(result)
        except Exception as error:
            if isinstance(error, WireError):
                raise
            answer |= failure(error)
        finally:
            sys.stdout, sys.stderr = before
        answer["arguments"] = encoder.encode([args, kwargs])
        return answer, encoder.blobs


def failure(error: BaseException) -> dict[str, Any]:
    """An exception as data: the names of its classes, its message, and the line of the learner's cell."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if "ipython-input" in trace.tb_frame.f_code.co_filename or "/ipykernel_" in trace.tb_frame.f_code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        message = str(error)[:2000]
    except Exception:
        message = ""
    return {"error": [kind.__name__ for kind in type(error).__mro__], "message": message, "line": line}


def rich(item: dict) -> dict[str, Any]:
    """What a cell displayed, as an nbformat output with the types and sizes that a notebook may hold."""
    data = {kind: str(content)[:MAX_RICH] for kind, content in item.get("data", {}).items() if kind in MIME_TYPES}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def seed(number: int) -> None:
    """Seed every random generator that is imported, so that a second grading gives the same."""
    import random

    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number % 2**63)


def main(sock: socket.socket, number: int) -> None:
    """Serve over `sock`, with generators seeded by `number`."""
    seed(number)
    Student(Channel(sock)).serve()
