import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from helpers.exercises import close, refuses, start


@pytest.mark.parametrize("actual, expected", [
    (1, 1.0), (np.ones(3), [1, 1, 1]), (torch.ones(2, 2, requires_grad=True), np.ones((2, 2))), (np.zeros(0), []), (True, 1),
])
def test_close_accepts(actual, expected):
    close(actual, expected, "x", "hint")


@pytest.mark.parametrize("actual, expected, words", [
    (2.0, 1.0, ["the mean is 2", "expected 1", "divide"]),
    ([1, 2, 4], [1, 2, 3], ["4 at (2,)", "expected 3"]),
    ([1.0, float("nan")], [1.0, 2.0], ["nan at (1,)"]),
    (float("nan"), 1.0, ["nan"]),
    ([[1, 2]], [1, 2], ["shape (1, 2)", "(2,)"]),
    (None, 1, ["None", "return"]),
    ("one", 1, ["'one'", "not a number"]),
])
def test_close_says_what_is_wrong(actual, expected, words):
    with pytest.raises(AssertionError) as caught:
        close(actual, expected, "the mean", "divide by the count")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_refuses():
    refuses(ZeroDivisionError, lambda: 1 / 0, "zero", "hint")
    with pytest.raises(AssertionError, match="zero raises ZeroDivisionError, expected KeyError: check it"):
        refuses(KeyError, lambda: 1 / 0, "zero", "check it")
    with pytest.raises(AssertionError, match="zero is accepted, expected a KeyError: check it"):
        refuses(KeyError, lambda: 1, "zero", "check it")

    def stub():
        raise NotImplementedError("later")

    with pytest.raises(NotImplementedError):
        refuses(ValueError, stub, "zero", "check it")


def test_start_is_quiet_seeded_and_sends_warnings_and_logs_to_stdout(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging.root, "handlers", [])
    start(3)
    assert capsys.readouterr() == ("", "")
    first = torch.rand(1), np.random.rand()
    start(3)
    assert (torch.rand(1), np.random.rand()) == first
    code = ("import logging, warnings; from helpers.exercises import start; start(); warnings.warn('careful'); "
            "logging.warning('logged')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.split("\n")[:2] == ["UserWarning: careful", "WARNING: logged"]
