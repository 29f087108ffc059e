"""Find what a class handed in: nbgrader's tree, a folder of notebooks, one notebook, or the zip that Canvas or Moodle makes.

Nothing found is trusted: names become safe ids, links are not followed, and nothing is ever written. What cannot be read is listed
with a problem, and what was passed over is named in the origin of what was taken.
"""
from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import stat
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial
from pathlib import Path

from nbgrader.utils import parse_utc

from helpers.errors import CourseError
from helpers.grading.course import report_name
from helpers.grading.outcome import Submission

NOTEBOOK_BYTES, TOTAL_BYTES, MEMBERS = 20_000_000, 2_000_000_000, 20_000
ACCEPTED = "give nbgrader's submitted/ folder, a folder of notebooks, one notebook (.ipynb), or the zip from Canvas or Moodle"
LINK = "is a link, and links are not followed: put the notebook itself there"
SPECIAL = "is not an ordinary file: put the notebook itself there"
UNSAFE = "has a name that could lead out of its folder: ask for a file with a plain name"
BIG = f"is larger than {NOTEBOOK_BYTES // 10**6} MB: ask for it with its outputs cleared"
# The learner chooses the end of these names, the site their start. So the shortest start counts: no file name can claim another learner.
CANVAS = re.compile(r"(?P<name>.+?)_(?:LATE_)?(?P<user>[0-9]+)_"
                    r"(?:(?P<attachment>[0-9]{1,18})_(?P<file>.+)|(?P<page>(?:text|link)\.html))", re.DOTALL)
MOODLE = re.compile(r"(?P<name>.+?)_(?P<user>[0-9]+)_assignsubmission_(?:file|onlinetext)(?:_(?P<file>.*))?", re.DOTALL)
RESUBMITTED = re.compile(r"(?P<start>.+)-(?P<number>[0-9]{1,3})(?P<end>\.ipynb)", re.DOTALL | re.IGNORECASE)
TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|[A-Z]{3,5}|[+-]\d\d:?\d\d))?", re.ASCII)


@dataclass(frozen=True)
class _File:
    """A file (or folder) below SUBMISSIONS. problem: why it must not be read. read: its bytes, or CourseError with the reason."""

    path: str
    read: Callable[[], bytes] = bytes
    problem: str = ""
    folder: bool = False

    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.path.split("/") if part not in ("", ".")) or ("unnamed",)


@dataclass(frozen=True)
class _Handed:
    """A file and whose it is. name: its path as the learner chose it. attachment: Canvas's number, which grows with time."""

    file: _File
    kind: str
    student: str
    name: str
    attachment: int = 0

    def is_notebook(self) -> bool:
        """Not in nbgrader's subfolders, which hold data; hidden files are JupyterLab's and macOS's copies."""
        parts = self.name.split("/")
        return (_is_notebook(self.name) and not self.file.folder and not any(part.startswith(".") for part in parts)
                and (self.kind == "moodle" or len(parts) == 1))

    def base(self) -> tuple[str, int]:
        """File name and number of the resubmission: Canvas calls them exercises_01-1.ipynb, exercises_01-2.ipynb."""
        name = self.name.split("/")[-1]
        match = RESUBMITTED.fullmatch(name) if self.kind == "canvas" else None
        return (match["start"] + match["end"], int(match["number"])) if match else (name, 0)


def find(path: Path, lesson: str) -> list[Submission]:
    """Everything handed in for `lesson` (such as "01_what_transfers"), by student. Each has the content or a problem.

    Raises CourseError when `path` is none of the accepted kinds, cannot be read, or holds nothing for this lesson.
    """
    path, wanted = Path(path), f"exercises_{lesson.split('_')[0]}.ipynb"
    with contextlib.ExitStack() as stack:
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                files = list(_in_folder(Path(os.path.abspath(path)), lesson))
            elif stat.S_ISREG(mode) and path.suffix.lower() == ".zip":
                files = list(_in_zip(stack.enter_context(_open_zip(path))))
            elif stat.S_ISREG(mode) and _is_notebook(path.name):
                files = _one_notebook(Path(os.path.abspath(path)), lesson, wanted)
            else:
                raise CourseError(f"{_shown(str(path))} is neither a folder nor a notebook nor a zip: {ACCEPTED}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CourseError(f"{_shown(str(path))} cannot be opened ({reason}): {ACCEPTED}") from None
        found, left = [], TOTAL_BYTES
        for handed in _by_student(files, lesson):
            submission = _submission(handed, wanted, report_name(lesson))
            size = len(submission.content) + len(submission.report)
            if size > left:
                submission = replace(submission, content=b"", report=b"", problem="not read, because the notebooks before it are "
                                     f"{TOTAL_BYTES / 1e9:g} GB in all: grade it in a folder of its own")
            left -= size
            found.append(submission)
    if not found:
        raise CourseError(f"nothing for {lesson} was handed in at {_shown(str(path))}: {ACCEPTED}")
    return sorted(_distinct(found), key=lambda submission: submission.student)


def safe_student(name: str) -> str:
    """A student id from any text: a folder name of 1-100 characters that no shell, glob or spreadsheet takes for something else.

    A name that is fine already stays as it is. Any other gets a mark made from the whole name, so that two never become one.
    """
    name = unicodedata.normalize("NFC", name)
    text = "".join(c if c in " ._-@+,'()" or c.isalnum() or unicodedata.category(c)[0] == "M" else "_" for c in name).rstrip(" .")
    while text and not (text[0] == "_" or text[0].isalnum()):
        text = text[1:]
    # File systems count bytes: 255 at most, here with room for what nbgrader appends.
    return text if text == name and 0 < len(text) <= 100 and len(text.encode()) <= 200 else _marked(text or "student", name)


def _marked(text: str, mark: str) -> str:
    """`text`, cut where needed, with 8 hexadecimal digits that depend on `mark`."""
    return f"{text.encode()[:191].decode(errors='ignore')[:91]}-{hashlib.sha256(mark.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(".ipynb")


def _shown(text: str) -> str:
    """A name for messages: one line, nothing invisible, not endless."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= 200 else f"{text[:120]}…{text[-79:]}"


def _listed(names: list[str]) -> str:
    """Up to five names for messages."""
    return ", ".join(f"`{_shown(name)}`" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# --- from disk ---


def _one_notebook(path: Path, lesson: str, wanted: str) -> list[_File]:
    """The notebook, with its student's folder and timestamp when it lies in nbgrader's tree."""
    folder = path.parent
    in_tree = folder.name == lesson and (path.name == wanted or folder.parent.parent.name == "submitted")
    start = f"{folder.parent.name}/{lesson}/" if in_tree else ""
    names = [path.name] + ["timestamp.txt"] * (in_tree and os.path.lexists(folder / "timestamp.txt"))
    return [_File(start + name, partial(_read_file, folder / name)) for name in names]


def _in_folder(root: Path, lesson: str) -> Iterator[_File]:
    """The files directly in `root`, and those of each student's folder. Raises OSError when `root` cannot be listed."""
    if root.name == lesson and root.parent.parent.name == "submitted":  # one student's folder of nbgrader's tree
        yield from _student_folder(root.parent, lesson)
        return
    for name in sorted(os.listdir(root)):
        if not name.startswith(".") and not _is_notebook(name) and os.path.isdir(root / name):
            yield from _student_folder(root / name, lesson)
        else:
            yield _File(name, partial(_read_file, root / name))


def _student_folder(folder: Path, lesson: str) -> Iterator[_File]:
    """The files of one student in nbgrader's tree, or in a Moodle zip that was unpacked. Nothing when there is none for `lesson`."""
    moodle = MOODLE.fullmatch(folder.name)
    inner, path = (folder, folder.name) if moodle else (folder / lesson, f"{folder.name}/{lesson}")
    try:
        inner.lstat()
        linked = folder.is_symlink() or inner.is_symlink()
        yield _File(path, problem=LINK if linked else "", folder=not linked)
        for name in [] if linked else sorted(os.listdir(inner)):
            yield _File(f"{path}/{name}", partial(_read_file, inner / name))
    except FileNotFoundError:
        return
    except OSError as error:
        yield _File(path, problem=f"cannot be read ({error.strerror}): check it and its permissions")


def _read_file(path: Path) -> bytes:
    """The content. Raises CourseError, with the reason, for anything but a readable ordinary file of at most `NOTEBOOK_BYTES`."""
    def opener(name: str, flags: int) -> int:
        # Should the file have been exchanged since lstat: a link fails, and a pipe does not block.
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))

    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait, opening a device could do anything
            raise CourseError(LINK if stat.S_ISLNK(mode) else SPECIAL)
        with open(path, "rb", opener=opener) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise CourseError(SPECIAL)
            content = b"" if found.st_size > NOTEBOOK_BYTES else file.read(NOTEBOOK_BYTES + 1)
    except OSError as error:
        raise CourseError(f"cannot be read ({error.strerror}): check its permissions") from None
    if max(found.st_size, len(content)) > NOTEBOOK_BYTES:
        raise CourseError(BIG)
    return content


# --- from a zip ---


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Raises CourseError when the file is not a zip, or has too many members."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception:  # zipfile raises many kinds for a damaged directory
        raise CourseError(f"{_shown(str(path))} is not a zip or is damaged: download it again, or {ACCEPTED}") from None
    if len(archive.infolist()) > MEMBERS:
        archive.close()
        raise CourseError(f"{_shown(str(path))} has more than {MEMBERS} files: {ACCEPTED}")
    return archive


def _in_zip(archive: zipfile.ZipFile) -> Iterator[_File]:
    for info in archive.infolist():
        name = info.orig_filename
        if not info.flag_bits & 0x800:
            # zipfile takes the names for cp437, but macOS writes UTF-8 without saying so.
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode()
        kind = stat.S_IFMT(info.external_attr >> 16)
        problem = ""
        if re.search(r"[\\\0]|\A/|\A[A-Za-z]:|(\A|/)\.\.(/|\Z)", name):
            problem = UNSAFE
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = LINK if kind == stat.S_IFLNK else SPECIAL
        elif name.lower().endswith(".zip"):
            problem = "is a zip inside the zip, which is not opened: unpack it and grade it by itself"
        if name != "./" and not name.startswith("__MACOSX/"):
            yield _File(name, partial(_read_member, archive, info), problem, name.endswith("/"))


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The content. Raises CourseError, with the reason, when it is locked, damaged or larger than `NOTEBOOK_BYTES`."""
    if info.flag_bits & 1:
        raise CourseError("is locked with a password: ask for it without one")
    # Of the other methods zipfile unpacks all that it read, however much that becomes.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CourseError("is packed in a way that is not read here: pack the zip again in the ordinary way (deflate)")
    try:
        with archive.open(info) as file:
            content = b"" if info.file_size > NOTEBOOK_BYTES else file.read(NOTEBOOK_BYTES + 1)
    except Exception:  # zipfile raises many kinds for damaged members
        raise CourseError("is damaged in the zip: download the zip again, or ask for the notebook again") from None
    if max(info.file_size, len(content)) > NOTEBOOK_BYTES:
        raise CourseError(BIG)
    return content


# --- whose it is, and which one counts ---


def _by_student(files: list[_File], lesson: str) -> list[list[_Handed]]:
    """The files that belong to `lesson`, one list per student, in a fixed order."""
    inside = [file for file in files if file.problem != UNSAFE and not file.parts()[0].startswith(".")]
    tops = {file.parts()[0] for file in inside}
    # A zip is often one folder that holds everything.
    depth = int(len(tops) == 1 and all(file.folder or len(file.parts()) > 1 for file in inside))
    groups: dict[tuple[str, str], list[_Handed]] = {}
    for file in files:
        if handed := _whose(file, lesson, depth):
            groups.setdefault((handed.kind, handed.student), []).append(handed)
    return [groups[key] for key in sorted(groups)]


def _whose(file: _File, lesson: str, depth: int) -> _Handed | None:
    """Whose file it is, by its path; None when it is not a submission. The outermost folder decides: learners choose what is below."""
    parts = file.parts()
    for index, part in enumerate(parts):
        below = "/".join(parts[index + 1:])
        if match := MOODLE.fullmatch(part):
            return _Handed(file, "moodle", f"{match['name']}_{match['user']}", below or match["file"] or "")
        if part == lesson and index and not parts[index - 1].startswith("."):
            return _Handed(file, "tree", parts[index - 1], below)
    name = parts[-1]
    if file.problem == UNSAFE:
        return _Handed(file, "loose", file.path, name)
    if file.folder or name.startswith(".") or len(parts) != depth + 1:
        return None
    if match := CANVAS.fullmatch(name):
        return _Handed(file, "canvas", f"{match['name']}_{match['user']}", match["file"] or match["page"], int(match["attachment"] or 0))
    if _is_notebook(name):
        return _Handed(file, "loose", name[:-len(".ipynb")], name)
    return _Handed(file, "loose", name, name) if file.problem else None


def _submission(group: list[_Handed], wanted: str, report: str) -> Submission:
    """What one student handed in: the notebook that counts, or why there is none; and the report, if there is one that can be read."""
    student, submitted = safe_student(group[0].student), _submitted(group)
    # Browsers call a second download "report_22 (1).ipynb".
    reports = [handed for handed in group if handed.is_notebook() and handed.base()[0].lower().startswith(Path(report).stem)]
    group = [handed for handed in group if handed not in reports]
    if not group:
        problem = f"handed in the report alone: ask for {wanted}"
        return Submission(student, _shown(reports[0].file.path), problem=problem, submitted=submitted)
    try:
        taken = _choose(group, wanted)
    except CourseError as error:
        return Submission(student, _shown(group[0].file.path), problem=str(error), submitted=submitted)
    passed = [handed.name for handed in group if handed.is_notebook() and handed is not taken]
    origin = _shown(taken.file.path) + (f" (not graded: {_listed(passed)})" if passed else "")
    try:
        if taken.file.problem:
            raise CourseError(taken.file.problem)
        if not (content := taken.file.read()):
            raise CourseError("is empty, perhaps because the upload broke off: ask for it again")
        written, note = _report(reports, report)
        return Submission(student, origin + note, content, submitted=submitted, report=written)
    except CourseError as error:
        return Submission(student, origin, problem=f"`{_shown(taken.name)}` {error}", submitted=submitted)


def _report(reports: list[_Handed], wanted: str) -> tuple[bytes, str]:
    """The report's content, b"" when there is none that can be read, and then what to add to the origin."""
    try:
        if not reports:
            return b"", ""
        taken = _choose(reports, wanted)
        if taken.file.problem:
            raise CourseError(taken.file.problem)
        passed = [handed.name for handed in reports if handed is not taken]
        return taken.file.read(), f" (not taken: {_listed(passed)})" if passed else ""
    except CourseError as error:
        return b"", f" (its report {error})"


def _choose(group: list[_Handed], wanted: str) -> _Handed:
    """The notebook that counts: the one of the right name, the only one, or Canvas's latest. Raises CourseError when there is none."""
    notebooks = [handed for handed in group if handed.is_notebook()]
    if not notebooks:
        for handed in group:
            if handed.file.problem:
                raise CourseError(f"`{_shown(handed.name or handed.file.path)}` {handed.file.problem}")
        others = [handed.name for handed in group if not handed.file.folder and handed.name != "timestamp.txt"]
        what = f"handed in {_listed(others)}, not a notebook" if others else "handed in no file"
        raise CourseError(f"{what}: ask for {wanted}")
    right = ([handed for handed in notebooks if handed.base()[0] == wanted]
             or [handed for handed in notebooks if handed.base()[0].lower() == wanted] or notebooks)
    right = [handed for handed in right if not handed.file.problem] or right
    # Canvas numbers resubmissions and attachments. Only where both say the same is one of them clearly the latest.
    *earlier, last = sorted(right, key=lambda handed: (handed.base()[1], handed.attachment))
    clear = all(handed.kind == "canvas" and handed.base()[0] == last.base()[0] and handed.attachment <= last.attachment
                and (handed.base()[1], handed.attachment) != (last.base()[1], last.attachment) for handed in earlier)
    if not clear:
        raise CourseError(f"handed in several notebooks, {_listed([handed.file.path for handed in right])}: find out which one "
                          f"counts, leave only that one there as {wanted} (unpack a zip first), and give the folder again")
    return last


def _submitted(group: list[_Handed]) -> str:
    """The time in nbgrader's timestamp.txt, as ISO 8601 in UTC; "" when there is none that can be understood."""
    for handed in group:
        if handed.kind == "tree" and handed.name == "timestamp.txt" and not handed.file.problem:
            with contextlib.suppress(Exception), warnings.catch_warnings():  # dateutil raises and warns about many kinds of text
                warnings.simplefilter("ignore")
                text = handed.file.read()[:100].decode("utf-8-sig").strip()
                if TIME.fullmatch(text):  # dateutil would guess at anything, and open a path given as time zone
                    # nbgrader takes an offset after a space for seconds.
                    return parse_utc(re.sub(r" (?=[+-])", "", text)).replace(tzinfo=UTC).isoformat()
    return ""


def _distinct(found: list[Submission]) -> list[Submission]:
    """Give each its own id, also where upper and lower case are the same: the first keeps it, and the origin of each tells."""
    groups: dict[str, list[Submission]] = {}
    for submission in sorted(found, key=lambda submission: submission.origin):
        groups.setdefault(submission.student.casefold(), []).append(submission)
    taken, result = set(groups), []
    for first, *others in groups.values():
        if others:
            result.append(replace(first, origin=f"{first.origin} (the same id: {_listed([other.origin for other in others])})"))
        else:
            result.append(first)
        for other in others:
            ids = (_marked(other.student, f"{other.origin} {number}") for number in itertools.count())
            student = next(name for name in ids if name.casefold() not in taken)
            taken.add(student.casefold())
            result.append(replace(other, student=student, origin=f"{other.origin} (the id `{other.student}` went to `{first.origin}`)"))
    return result
