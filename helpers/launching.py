"""Start a command in several processes, wait for it with a time limit, and end whatever it left: for training under `accelerate launch`."""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import CourseError

if TYPE_CHECKING:
    import torch


def launch_command(script: Path | str, *arguments: str, count: int = 1) -> list[str]:
    """The command that runs a training script in `count` processes: plain Python for one, `accelerate launch` for more.

    `--multi_gpu` says "several processes": two GPUs where there are two; with COURSE_DEVICE=cpu, two CPU processes that talk over the
    machine's own network. (`--cpu --num_processes 2`, which reads better, starts one process and does not say so.) A free port is
    chosen, so that two runs do not meet. Raises ValueError when count < 1.
    """
    if count < 1:
        raise ValueError(f"{count} processes were asked for: use 1 or more")
    if count == 1:
        return [sys.executable, str(script), *arguments]
    said = ("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")  # else it warns that it assumes them
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count)]
    return [*launcher, "--main_process_port", "0", *said, str(script), *arguments]


def run_together(commands: Sequence[Sequence[str]], seconds: float = 120, device: str | None = None) -> list[str]:
    """Run commands at the same time, each to its end; returns what each printed. device: "cpu" to keep them off a GPU.

    Raises CourseError with the last lines of a command that failed, or when they take more than `seconds`. None is left running.
    """
    deadline, printed = time.monotonic() + seconds, []
    with contextlib.ExitStack() as stack:
        started = []
        for command in commands:
            log = stack.enter_context(tempfile.TemporaryFile())
            started.append((stack.enter_context(_ended(command, log, device)), log))
        for command, (process, log) in zip(commands, started, strict=True):
            try:
                code = process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise CourseError(f"`{_short(command)}` takes more than {seconds:g} s and was stopped: run it in a terminal to see "
                                  "what it waits for") from None
            log.seek(0)
            text = log.read().decode(errors="replace")
            if code:
                lines = [line for line in text.splitlines() if line.strip()]
                raise CourseError(f"`{_short(command)}` failed (exit status {code}): " + " / ".join(lines[-3:]))
            printed.append(text)
    return printed


def _short(command: Sequence[str]) -> str:
    return " ".join(Path(part).name for part in command)


@contextlib.contextmanager
def _ended(command: Sequence[str], log: Any, device: str | None) -> Iterator[subprocess.Popen]:
    """A started process; on leaving, it and whatever it started are ended."""
    import psutil

    surroundings = {**os.environ, **({"COURSE_DEVICE": device} if device else {})}
    process = subprocess.Popen(list(command), env=surroundings, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        family = []
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(process.pid).children(recursive=True)
        if process.poll() is None:
            process.terminate()  # the launcher ends its workers when it is asked to
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        for each in family:
            with contextlib.suppress(psutil.Error):
                each.kill()
        if process.poll() is None:
            process.kill()
        process.wait(10)


def read_run(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights and the record of a run of data_scripts/train_distributed.py. Raises CourseError when the file cannot be read."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["run"])  # noqa: SIM118
    except Exception as error:  # safetensors has errors of its own
        raise CourseError(f"{Path(path).name} is not the result of a training run ({type(error).__name__}): run it again") from None
