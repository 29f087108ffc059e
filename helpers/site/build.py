"""`python3 -m helpers site`: build the site from the stored notebooks, in a folder of its own, and put it in place when it is whole."""
from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from helpers import config
from helpers.errors import CourseError

MARKER = ".course-site"  # in a folder that was built here, so that it may be replaced


def build(to: Path | None = None, root: Path | None = None) -> int:
    """Build the site, say where it is, and return 0, or 1 when Sphinx had something to complain of (the site is there all the same).

    to: the folder to make or replace (None: build/site). root: the course's folder (None: this repository). Nothing is executed, no
    network is used. Raises CourseError; what was in the folder before is then still there.
    """
    root, began = Path(root or config.ROOT).resolve(), time.monotonic()
    to = Path(to or root / "build" / "site").resolve()
    if to.exists() and not (to / MARKER).is_file() and (not to.is_dir() or any(to.iterdir())):
        raise CourseError(f"{to} holds something that is no site of this course: give a new or an empty folder with --to")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent, prefix=".site-", ignore_cleanup_errors=True) as folder:
            made = Path(folder, "site")
            complaints = _sphinx(root, Path(folder), made)
            (made / MARKER).write_text("made by `python3 -m helpers site`; it may be replaced by the next one\n", encoding="utf-8")
            _put(made, to, Path(folder, "old"))
    except OSError as error:
        raise CourseError(f"the site could not be written ({error.strerror or error}: {error.filename or to}): free some space, or give "
                          "another folder with --to; an older site was kept") from None
    for line in complaints:
        print(f"note: {line}", file=sys.stderr)
    pages = sum(1 for _ in to.rglob("*.html"))
    print(f"{pages} pages in {time.monotonic() - began:.0f} s; open {to / 'index.html'}\n"
          f"or serve them: {Path(sys.executable).name} -m http.server --bind 127.0.0.1 --directory {to}")
    return 1 if complaints else 0


def _put(made: Path, to: Path, aside: Path) -> None:
    """Put a finished site in its place; what was there goes aside, and comes back when that fails."""
    if not to.exists():
        os.replace(made, to)
        return
    os.replace(to, aside)
    try:
        os.replace(made, to)
    except OSError:
        os.replace(aside, to)
        raise


def _sphinx(root: Path, work: Path, made: Path) -> list[str]:
    """Stage the course in `work`, build it into `made`, and return Sphinx's warnings, each on a line."""
    try:
        from sphinx.application import Sphinx
        from sphinx.errors import SphinxError
        from sphinx.util.docutils import docutils_namespace

        from helpers.site.stage import stage
    except ImportError as error:
        raise CourseError(f"the package {error.name} is missing, which builds the site: run `pip install -r requirements.txt`") from None
    source, extra, said = work / "source", work / "extra", io.StringIO()
    stage(root, source, extra)
    settings = {"html_extra_path": [str(extra)]}
    try:
        with docutils_namespace():
            app = Sphinx(source, Path(__file__).parent, made, work / "doctrees", "html", settings, status=None, warning=said,
                         parallel=min(4, config.cores()))
            app.build(force_all=True)
    except SphinxError as error:
        raise CourseError(f"the site could not be built ({error}): correct that, and build it again; an older site was kept") from None
    shutil.rmtree(made / ".doctrees", ignore_errors=True)
    (made / ".buildinfo").unlink(missing_ok=True)
    for template in (made / "_static").glob("*.html"):  # the themes leave parts of theirs there, which are no pages
        template.unlink()
    plain = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue())
    return [line.replace(f"{source}{os.sep}", "") for line in plain.splitlines() if line.strip()]
