"""Data that arrive packed: a zip is opened without trusting it, a Kaggle data set is fetched with the learner's own token."""
from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

from helpers import config
from helpers.errors import CourseError

MEMBERS, FILE_BYTES, TOTAL_BYTES = 200_000, 500_000_000, 5_000_000_000
RATIO = 200  # unpacked to packed: photographs do not shrink, and text rarely below a twentieth
FREE = 1_000_000  # bytes below which the ratio says nothing
FOLDER_BYTES = 4096  # what a folder takes on the disk
DEPTH = 30  # folders in each other, with the file; some systems cannot even delete what lies far deeper
CHUNK = 1 << 20
UNSAFE = re.compile(r"[\\\0]|\A/|\A[A-Za-z]:|(\A|/)\.\.(/|\Z)")
HANDLE = re.compile(r"[\w-]+/[\w.-]+(/versions/\d+)?", re.ASCII)


def unpack(path: str | Path, folder: str | Path | None = None, total_bytes: int = TOTAL_BYTES) -> Path:
    """Unpack a zip into `folder` (None: one of its name in the user's cache, which depends on its content) and return that folder.

    Nothing in the zip is trusted: no name may lead out of the folder, links and devices are refused, and the bytes are counted while
    they are written, so that a small file cannot fill the disk (`total_bytes`, and at most `RATIO` times the zip). All of it is
    unpacked or nothing. Files that file systems leave behind (`__MACOSX`, hidden ones) are left out.
    Raises CourseError when there is no such zip, it is damaged or locked, or any of this is violated.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CourseError(f"there is no file {path.absolute()}: check the path of the zip")
    target = Path(folder) if folder else config.cache_dir() / "capstone" / _digest(path)[:12] / path.name[-40:]
    if folder is None and target.is_dir():
        return target  # it gets its name only when it is whole
    if target.exists() and any(target.iterdir()):
        raise CourseError(f"the folder {target.name} is not empty: name another one for what is in {path.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        with zipfile.ZipFile(path) as archive:
            _extract(archive, part, path, min(total_bytes, RATIO * path.stat().st_size + FREE))
        if target.exists():
            target.rmdir()
        os.replace(part, target)
    except NotImplementedError:
        raise CourseError(f"{path.name} is packed in a way that is not read here: pack it in the ordinary way (deflate)") from None
    except RuntimeError:  # what zipfile raises for a password
        raise CourseError(f"{path.name} is locked with a password: unpack it yourself and give the folder") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error) as error:  # all of them by zipfile, for damage
        reason = str(error) or "it ends too early"
        raise CourseError(f"{path.name} is not a zip or is damaged ({reason}): download or pack it again") from None
    except OSError as error:
        raise CourseError(f"{path.name} could not be unpacked ({error.strerror or error}): make room, or give the folder") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _extract(archive: zipfile.ZipFile, folder: Path, path: Path, budget: int) -> None:
    """Write the members below `folder`. Raises CourseError for an unsafe one, and when they become larger than `budget` bytes.

    Raises NotImplementedError for a method of packing other than deflate.
    """
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise CourseError(f"{path.name} has more than {MEMBERS:,} files: unpack it yourself and give the folder")
    written, made = 0, set()
    for member in members:
        name = member.orig_filename
        kind = stat.S_IFMT(member.external_attr >> 16)
        if UNSAFE.search(name):
            raise CourseError(f"{path.name} holds {name!r}, a name that leads out of its folder: nothing was "
                              "unpacked, do not trust this zip")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise CourseError(f"{path.name} holds {name!r}, a link or a device: nothing was unpacked, ask for a zip of plain files")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if member.is_dir() or not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            continue
        if len(parts) > DEPTH:
            raise CourseError(f"{path.name} holds a file {len(parts) - 1} folders deep, more than {DEPTH - 1}: nothing was unpacked, pack "
                              "it again with fewer folders in each other")
        # Of the other methods zipfile unpacks all that it read, however much that becomes.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotImplementedError
        new = {tuple(parts[:depth]) for depth in range(1, len(parts))} - made
        made |= new
        written += FOLDER_BYTES * len(new)
        _check_size(0, written, budget, path)
        file = folder.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with archive.open(member) as packed, file.open("xb") as unpacked:
            # What the zip says about sizes may be a lie, so the bytes are counted.
            while chunk := packed.read(CHUNK):
                size, written = size + len(chunk), written + len(chunk)
                _check_size(size, written, budget, path)
                unpacked.write(chunk)
    if not any(folder.iterdir()):
        raise CourseError(f"{path.name} holds no files: pack the folder with your data again")


def _check_size(size: int, written: int, budget: int, path: Path) -> None:
    """Raise CourseError when the file at hand (`size` bytes), or all that was written, is too large."""
    if size > FILE_BYTES or written > budget:
        raise CourseError(f"{path.name} becomes far larger than it is ({_size(path)} packed, more than {written / 1e6:.0f} MB unpacked): "
                          "nothing was kept; if you trust it, unpack it yourself and give the folder")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_kaggle(handle: str) -> Path:
    """The folder of a Kaggle data set, by Kaggle's own client kagglehub and your own token; needs COURSE_PROFILE=full.

    handle: "owner/name" or "owner/name/versions/3", as at the end of the data set's address. kagglehub keeps what it has downloaded.
    Raises CourseError, with what to do, in the offline profile, without the client, without a token, for another handle, and when
    Kaggle refuses or cannot be reached.
    """
    if not HANDLE.fullmatch(handle):
        raise CourseError(f"{handle!r} is no Kaggle data set: give owner/name, the end of its address on kaggle.com/datasets")
    if config.profile() == "offline":
        raise CourseError(f"the Kaggle data set {handle} must be downloaded, and this is the offline profile: set COURSE_PROFILE=full "
                          "before you start, or download its zip by hand and give the path")
    if importlib.util.find_spec("kagglehub") is None:
        raise CourseError("Kaggle's client is not installed: run `pip install kagglehub`, or download the zip by hand and give the path")
    if not _token():
        raise CourseError("there is no Kaggle token: on kaggle.com open Settings, API, create one, and store it as kaggle.com says "
                          "(~/.kaggle/access_token, or KAGGLE_API_TOKEN); or download the zip by hand and give the path")
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    import kagglehub

    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # of the client, of the network below it, of the disk
        raise CourseError(f"the Kaggle data set {handle} could not be downloaded: {_reason(error)} Then run the cell again, or download "
                          "the zip by hand and give the path") from None


def _token() -> bool:
    """True when kagglehub finds a token. Raises CourseError when the file that should hold it is damaged."""
    from kagglehub.config import get_kaggle_credentials

    try:
        return get_kaggle_credentials() is not None
    except ValueError:
        raise CourseError("the file kaggle.json with your Kaggle token is damaged: create a new token on kaggle.com (Settings, API) and "
                          "store it again") from None


def _reason(error: Exception) -> str:
    """What went wrong, and what to do, in a sentence or two that end with a full stop. The token is never in it."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    if code in (401, 403):
        return f"Kaggle refuses the token ({code}). Create a new one, and accept the data set's conditions on its page."
    if code == 404:
        return "Kaggle knows no such data set (404). Check owner/name."
    if code is not None:
        return f"Kaggle answers with an error ({code}). Wait a little."
    return f"Kaggle cannot be reached ({type(error).__name__}). Check the network connection."
