"""A parent process that has only *imported* what exercises use, and forks from itself a ready process for each submission.

It must stay single-threaded, and never see a solution, a hidden test, a list of learners or a grade: what it has in memory, every learner's
process inherits. One threaded operation of torch in it, or one operation of TensorFlow, would make its children hang. Linux only.

    python -m helpers.grading.warm DESCRIPTOR MODULE ...
"""
from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from typing import Any

ALWAYS = (
    "IPython.core.interactiveshell", "IPython.core.completer", "matplotlib_inline.backend_inline", "nbformat", "numpy",
    "helpers.config", "helpers.errors", "helpers.grading.wire", "helpers.grading.student", "helpers.grading.sandbox",
    "helpers.grading.checker",
)  # fmt: skip
# What exercises of this course load sooner or later, some of it only when a function is called.
USUAL = (
    "torch", "torch._dynamo", "safetensors.torch", "pandas", "matplotlib.pyplot", "PIL.Image", "joblib", "platformdirs", "skimage.data",
    "scipy.optimize", "scipy.stats", "scipy.ndimage", "sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection",
    "sklearn.neighbors", "sklearn.pipeline", "helpers.features", "helpers.training", "helpers.backbones.small_cnn",
    "helpers.backbones.efficientnet_lite0", "helpers.data.photos", "helpers.data.digits",
)  # fmt: skip
SECONDS = 120  # the first answer comes when the imports are done
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")  # nothing that may be secret
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")}


def environment() -> dict[str, str]:
    """The environment of the parent and of all its children; a process can always read the one it was started with."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | ONE_THREAD | {
        "HOME": "/nonexistent", "MPLBACKEND": "module://matplotlib_inline.backend_inline", "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_WAIT_POLICY": "PASSIVE", "COURSE_PROGRESS": "0",
        "MPLCONFIGDIR": "/tmp/matplotlib-grading", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


class Forks:
    """The grader's handle of a process that forks."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fork(self, role: str, request: dict[str, Any], sockets: list[socket.socket]) -> int:
        """Fork a "student" or a "checker" that gets the sockets; returns its process number. Raises EOFError when the parent is gone."""
        return self._ask({"role": role} | request, [sock.fileno() for sock in sockets])["process"]

    def branch(self) -> Forks:
        """A fork that forks in its turn, sharing the memory: several threads that use one parent wait for each other."""
        branch = Forks()
        with branch.theirs:
            self.fork("parent", {}, [branch.theirs])
        return branch

    def kill(self, process: int) -> int:
        """Kill a child, if it still runs, and return its exit code (negative: the signal)."""
        return self._ask({"role": "kill", "process": process}, [])["exit"]

    def _ask(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        with self.lock:
            try:
                self.sock.settimeout(SECONDS)
                socket.send_fds(self.sock, [json.dumps(request).encode()], descriptors)
                data = self.sock.recv(65536)
            except OSError as error:
                raise EOFError(f"the warm parent process does not answer ({error})") from None
        if not data:
            raise EOFError("the warm parent process is gone")
        return json.loads(data)

    def close(self) -> None:
        """Hang up: the process and all its children end."""
        self.sock.close()


class WarmParent(Forks):
    """The first of them, which imports."""

    def __init__(self, modules: list[str]) -> None:
        """Start it; `modules` are imported in the background until the first `fork`. Raises OSError where there is no such socket."""
        super().__init__()
        with self.theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "helpers.grading.warm", str(self.theirs.fileno()), *modules], pass_fds=[self.theirs.fileno()],
                env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, cwd="/",
            )  # fmt: skip

    def close(self) -> None:
        """End the parent and all its children."""
        super().close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main(descriptor: int, modules: list[str]) -> None:
    """Import, then fork on request until the grader hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader, which then hangs up
    usual = USUAL if any(name.split(".")[0] in ("helpers", "torch", "sklearn") for name in modules) else ()
    for name in (*ALWAYS, *usual, *modules):
        with contextlib.suppress(ImportError):  # the cell that imports it will say so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in a child would copy all of it
    serve(socket.socket(fileno=descriptor))


def serve(sock: socket.socket) -> None:
    """Fork on request until the grader hangs up; then end all children."""
    children: set[int] = set()
    while True:
        data, descriptors, _, _ = socket.recv_fds(sock, 65536, 4)
        if not data:
            break
        request = json.loads(data)
        if request["role"] == "kill":
            answer = {"exit": end(request["process"]) if request["process"] in children else 0}
            children.discard(request["process"])
        else:
            child = os.fork()
            if not child:
                become(request, descriptors)
            children.add(child)
            answer = {"process": child}
        for number in descriptors:
            os.close(number)
        sock.send(json.dumps(answer).encode())
    for child in children:
        end(child)


def end(child: int) -> int:
    """Kill a child that has not been waited for, so that its number still is its own; returns its exit code."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """In the child: be a learner's process or a checker, and never return."""
    from helpers.grading import checker, sandbox, student

    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN if request["role"] == "parent" else signal.SIG_DFL)
        sandbox.keep_only(set(descriptors))
        if request["role"] == "parent":
            serve(socket.socket(fileno=descriptors[0]))
        elif request["role"] == "checker":
            gc.unfreeze()
            checker.main(*(socket.socket(fileno=number) for number in descriptors))
        else:
            gc.unfreeze()
            sock = socket.socket(fileno=descriptors[0])
            if problem := box(request, sandbox):
                student.Channel(sock).send({"problem": problem})
            else:
                student.Channel(sock).send({"ready": True})
                student.main(sock, request["seed"])
        code = 0
    except BaseException:
        traceback.print_exc()  # goes nowhere, except while somebody looks for a fault
    finally:
        os._exit(code)


def box(request: dict[str, Any], sandbox: Any) -> str:
    """Enter the sandbox that the request describes; returns "" or why that is impossible."""
    for file in request["groups"]:
        with contextlib.suppress(OSError), open(file, "w") as group:
            group.write(str(os.getpid()))
    try:
        sandbox.enter(sandbox.Limits(**request["limits"]), request["root"], request["user"], request["folders"])
    except OSError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
