import contextlib
import io
import shutil
from pathlib import Path

import pytest
from toy_course import write_course

from helpers.grading.release import release


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A released course that tests copy; it costs seconds to make."""
    root = write_course(tmp_path_factory.mktemp("pristine") / "course")
    with contextlib.redirect_stdout(io.StringIO()):
        release(root=root)
    return root


@pytest.fixture
def course(pristine, tmp_path, monkeypatch) -> Path:
    """A fresh released course in a temporary folder."""
    monkeypatch.setenv("COURSE_PROGRESS", "0")
    return shutil.copytree(pristine, tmp_path / "course")
