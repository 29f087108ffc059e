"""What exercise notebooks use: a quiet start, and checks whose failure says what to look at."""
from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from helpers import config


def start(seed: int = 0, threads: int = 1) -> None:
    """`config.start` without its line of output; warnings and log messages go to standard output, so none looks like a failure.

    Raises what `config.start` raises.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        config.start(seed, threads)
    # The stream is looked up when a warning comes: a notebook replaces sys.stdout.
    warnings.showwarning = lambda message, kind, *_, **__: print(f"{kind.__name__}: {message}", file=sys.stdout)
    logging.basicConfig(stream=sys.stdout, format="%(levelname)s: %(message)s", force=True)


def close(actual: Any, expected: Any, what: str, hint: str, tolerance: float = 1e-6) -> None:
    """Raise an AssertionError that names `what` and gives `hint` unless the two agree within `tolerance`, in shape and in value.

    actual, expected: numbers, arrays or tensors of any shape. A missing value (NaN) never agrees.
    """
    import numpy as np

    assert actual is not None, f"{what} is None: does the function end with a return?"
    got, want = (np.asarray(value.detach().cpu() if hasattr(value, "detach") else value) for value in (actual, expected))
    assert got.dtype.kind in "biuf", f"{what} is {actual!r:.80}, not a number or an array of numbers: {hint}"
    assert got.shape == want.shape, f"{what} has shape {got.shape}, expected {want.shape}: {hint}"
    gap = np.abs(got.astype(float) - want.astype(float))
    if gap.size and not gap.max() <= tolerance:
        place = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
        at = f" at {tuple(int(i) for i in place)}" if gap.ndim else ""
        raise AssertionError(f"{what} is {got[place]:.6g}{at}, expected {want[place]:.6g}: {hint}")


def refuses(error: type[Exception], call: Callable[[], Any], what: str, hint: str) -> None:
    """Raise an AssertionError unless `call()` raises `error`; `what` names the input that must be refused."""
    try:
        call()
    except error:
        return
    except NotImplementedError:
        raise
    except Exception as other:
        raise AssertionError(f"{what} raises {type(other).__name__}, expected {error.__name__}: {hint}") from other
    raise AssertionError(f"{what} is accepted, expected a {error.__name__}: {hint}")
