"""Models of a public hub, which the full profile downloads: how to load them."""
from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING

from helpers import config
from helpers.downloads import transfer
from helpers.downloads.registry import MODELS
from helpers.errors import CourseError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(name: str) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer or image processor, model) in evaluation mode on `config.device()`, in float32; needs COURSE_PROFILE=full.

    name: one of `MODELS`. The first call downloads it; every call compares each file with its hash before it is read, and asks no
    network when they are here (`transfer.ensure`).
    Raises ValueError for another name, CourseError in the offline profile, when a package is missing, when the download fails, or when
    the installed transformers cannot read the files.
    """
    if name not in MODELS:
        raise ValueError(f"no model called {name!r}: choose one of {', '.join(MODELS)}")
    entry = MODELS[name]
    if config.profile() == "full" and importlib.util.find_spec(entry.package) is None:
        raise CourseError(f"the tokenizer of {entry.repository} needs the package {entry.package}, which is not installed: "
                          f"run `pip install {entry.package}` and start again")
    folder = transfer.ensure(name)
    import transformers

    transformers.utils.logging.disable_progress_bar()  # it would stay in the notebook
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MarianMT's tokenizer recommends a package that we do not need
            reader = getattr(transformers, entry.reader).from_pretrained(folder, local_files_only=True)
            model = getattr(transformers, entry.auto_class).from_pretrained(folder, local_files_only=True, dtype="float32")
    except Exception as error:  # each model's code has its own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CourseError(f"the files of {entry.repository} are whole, but could not be loaded: install what requirements.txt pins. "
                          f"(transformers says: {reason})") from None
    return reader, model.eval().to(config.device())
