"""A disk cache for generated data and extracted features: joblib's, with a checksum so that a damaged entry is never trusted."""
from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from helpers import config


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its results kept on disk under the user's cache folder (`COURSE_CACHE` moves it), one entry for each arguments.

    An entry is recomputed when the function's code changes, when its file is cut short, or when its content does not match the
    checksum stored with it. The function must be deterministic; its arguments are identified by their content.
    """
    import joblib

    @functools.wraps(function)
    def with_checksum(*args: Any, **kwargs: Any) -> tuple[str, Any]:
        result = function(*args, **kwargs)
        return joblib.hash(result), result

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # Made at each call, since the folder may change between two calls.
        memory = joblib.Memory(config.cache_dir(), verbose=0).cache(with_checksum)
        with warnings.catch_warnings():
            # joblib warns when an entry cannot be read; it then computes it anew, which is all a learner needs.
            warnings.simplefilter("ignore")
            checksum, result = memory(*args, **kwargs)
            if joblib.hash(result) != checksum:
                memory.call_and_shelve(*args, **kwargs).clear()
                checksum, result = memory(*args, **kwargs)
        return result

    return call
