"""One training script in one process and, under `accelerate launch`, in two: the same weights; and commands that are ended in time."""
import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from helpers import config, launching
from helpers.errors import CourseError

SCRIPT = config.ROOT / "data_scripts" / "train_distributed.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(weights, record) of four runs at the same time: one process and two, with BatchNorm frozen and live."""
    folder = tmp_path_factory.mktemp("runs")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (401,), generator=generator)
    images = torch.rand(401, 1, 8, 8, generator=generator) * 0.3
    images[torch.arange(401), 0, 2 * labels, :4] = 1.0
    data = {"images": images[:200], "labels": labels[:200], "test_images": images[200:], "test_labels": labels[200:]}
    save_file(data, folder / "data.safetensors")
    arms = {(count, norm): folder / f"{count} {norm}.safetensors" for count in (1, 2) for norm in ("frozen", "live")}
    common = ("--data", str(folder / "data.safetensors"), "--steps", "20", "--batch-size", "32")
    commands = [launching.launch_command(SCRIPT, *common, "--batch-norm", norm, "--to", str(file), count=count)
                for (count, norm), file in arms.items()]
    printed = launching.run_together(commands, seconds=300, device="cpu")
    assert all("-> " in text for text in printed)
    return {arm: launching.read_run(file) for arm, file in arms.items()}


def gap(first, second):
    assert first.keys() == second.keys()
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


def test_two_processes_give_the_weights_of_one(runs):
    (one, alone), (two, shared) = runs[1, "frozen"], runs[2, "frozen"]
    assert (alone["processes"], shared["processes"]) == (1, 2)
    assert (alone["images a process"], shared["images a process"]) == (32, 16)
    assert gap(one, two) < 1e-5
    np.testing.assert_allclose(alone["losses"], shared["losses"], atol=1e-5)
    assert len(alone["losses"]) == 20 and alone["losses"][-1] < 0.7 * alone["losses"][0], "nothing was learned, so nothing was compared"


def test_every_test_image_counts_once_however_many_processes_share_them(runs):
    """201 test images are not divisible by 2: a process that repeats one to fill its batch must not count it twice."""
    (_, alone), (_, shared) = runs[1, "frozen"], runs[2, "frozen"]
    assert alone["accuracy"] == shared["accuracy"]
    assert abs(alone["accuracy"] * 201 - round(alone["accuracy"] * 201)) < 1e-3


def test_live_batchnorm_ends_the_equality(runs):
    """Each process normalises with the statistics of its own half of the batch: another training."""
    assert gap(runs[1, "live"][0], runs[2, "live"][0]) > 1e-3


def test_processes_that_do_not_see_each_other_are_an_error(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("here the processes would find GPUs")
    command = launching.launch_command(SCRIPT, "--to", str(tmp_path / "x.safetensors"), count=2)
    done = subprocess.run(command, env={**os.environ, "COURSE_DEVICE": "cuda"}, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode and "2 processes were started and do not see each other: set COURSE_DEVICE=cpu" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_for_one_process_is_plain_python():
    assert launching.launch_command("train.py", "--to", "x") == [sys.executable, "train.py", "--to", "x"]
    assert launching.launch_command("train.py", count=3)[-1] == "train.py"
    with pytest.raises(ValueError, match="0 processes were asked for: use 1 or more"):
        launching.launch_command("train.py", count=0)


def test_commands_run_at_the_same_time_and_their_output_comes_back_in_order(tmp_path):
    waits = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).touch()\nend = time.time() + 60\n" \
            "while not pathlib.Path(sys.argv[2]).exists() and time.time() < end: time.sleep(0.02)\nprint(sys.argv[3])"
    a, b = str(tmp_path / "a"), str(tmp_path / "b")  # each waits for the other's file: one after the other would never end
    commands = [[sys.executable, "-c", waits, a, b, "first"], [sys.executable, "-c", waits, b, a, "second"]]
    assert [text.strip() for text in launching.run_together(commands, seconds=50)] == ["first", "second"]


def test_the_device_is_passed_on():
    show = [sys.executable, "-c", "import os; print(os.environ.get('COURSE_DEVICE'))"]
    assert launching.run_together([show], device="cpu")[0].strip() == "cpu"


def test_a_command_that_fails_ends_the_others_and_is_named(tmp_path):
    note = tmp_path / "pid"
    sleeps = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)"
    fails = f"import pathlib, time\nwhile not pathlib.Path({str(note)!r}).exists(): time.sleep(0.02)\n" \
            "time.sleep(0.2)\nraise OSError('full disk')"
    with pytest.raises(CourseError, match=r"failed \(exit status 1\): .*OSError: full disk"):
        launching.run_together([[sys.executable, "-c", fails], [sys.executable, "-c", sleeps]], seconds=50)
    assert gone(int(note.read_text()))


def test_a_command_that_takes_too_long_is_stopped_with_what_it_started(tmp_path):
    note = tmp_path / "pid"
    child = f"import os, pathlib, time; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(CourseError, match="takes more than 6 s and was stopped: run it in a terminal"):
        launching.run_together([[sys.executable, "-c", parent]], seconds=6)
    assert gone(int(note.read_text()))


def gone(pid):
    """True when the process ends within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


@pytest.mark.parametrize("content", [None, b"hello"])
def test_a_file_that_is_no_run(tmp_path, content):
    if content:
        (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CourseError, match="x.safetensors is not the result of a training run .*run it again"):
        launching.read_run(tmp_path / "x.safetensors")
