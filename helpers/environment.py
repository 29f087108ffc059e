"""Where the course runs: finds or makes the environment and sets it up once.

The environment is the active one (venv or conda), or `.venv`, which is made here. When everything in requirements.txt is
installed, a stamp is written into the environment; later commands only compare that stamp. Nothing but the standard library is
needed, and all messages go to stderr, so that a command's own output stays clean.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from helpers.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".course-set-up"  # in the environment: it was set up completely, for these requirements
MARKER = ".made-by-the-course"  # in .venv: it was made here, so it may be deleted and made again


def ensure(argv: list[str], install: bool = True) -> bool:
    """Return True in an interpreter that is set up; otherwise set up and start `python -m helpers *argv` in the right one.

    install: False returns False instead of making or installing anything. Raises CourseError when the set-up is impossible.
    """
    if inside():
        if is_set_up(Path(sys.prefix)):
            return True
        if not install:
            return False
        with lock() as held:
            if not is_set_up(Path(sys.prefix)):  # the command that we waited for may have done it
                _install(Path(sys.prefix), held)
        # Path files of the new packages are read when an interpreter starts.
        restart(Path(sys.executable), argv)
    folder = active() or ROOT / ".venv"
    if folder == ROOT / ".venv":
        if not _usable(folder):
            if not install:
                return False
            with lock():
                if not _usable(folder):
                    _make(folder)
    elif not starts(python_of(folder)):
        raise CourseError(f"the active environment {folder} is broken (its Python does not start): run `deactivate`, or open "
                          "a new terminal, and run this command again, or make that environment anew")
    restart(python_of(folder), argv)
    return False


def inside() -> bool:
    """Whether this interpreter belongs to an environment."""
    return sys.prefix != sys.base_prefix or _conda() == Path(sys.prefix)


def active() -> Path | None:
    """The folder of the active virtual or conda environment, or None; conda's base does not count. Raises CourseError."""
    if named := os.environ.get("VIRTUAL_ENV"):
        if not (Path(named) / "pyvenv.cfg").is_file():
            raise CourseError(f"the active environment {named} is gone (moved or deleted): run `deactivate`, or open a new "
                              "terminal, and run this command again")
        return Path(named)
    return _conda()


def _conda() -> Path | None:
    prefix, name = os.environ.get("CONDA_PREFIX"), os.environ.get("CONDA_DEFAULT_ENV")
    return Path(prefix) if prefix and name not in (None, "base") and (Path(prefix) / "conda-meta").is_dir() else None


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    if os.name != "nt":
        return folder / "bin" / "python"
    return folder / "python.exe" if (folder / "conda-meta").is_dir() else folder / "Scripts" / "python.exe"


def starts(python: Path, code: str = "") -> bool:
    """Whether the interpreter runs `code`: after an upgrade of the system's Python the link to it may lead nowhere."""
    try:
        done = subprocess.run([str(python), "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return done.returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def restart(python: Path, argv: list[str]) -> None:
    """Continue as `python -m helpers *argv`; does not return."""
    command = [str(python), "-m", "helpers", *argv]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    sys.exit(call(command))  # Windows' exec would give the prompt back at once


def fingerprint() -> str:
    """What the stamp must hold: a hash of the requirements, the package's settings and place, and the version of Python."""
    digest = hashlib.sha256()
    digest.update((ROOT / "requirements.txt").read_bytes())
    digest.update((ROOT / "pyproject.toml").read_bytes())
    digest.update(f"{sys.version} {ROOT}".encode())
    return digest.hexdigest()


def is_set_up(prefix: Path) -> bool:
    """Whether the environment in the folder `prefix` holds the stamp of a complete set-up."""
    try:
        return (prefix / STAMP).read_text(encoding="ascii") == fingerprint()
    except (OSError, UnicodeDecodeError):
        return False


def _usable(folder: Path) -> bool:
    """Whether .venv can be used as it is: a Python that suits; if it was made here, complete, and not moved since."""
    # Moved matters because the scripts in it hold its path. This interpreter is known to suit, another version may not.
    if not starts(python_of(folder), "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"):
        return False
    marker = folder / MARKER
    return not marker.exists() or marker.read_text(encoding="utf-8") == f"{ROOT}\ncomplete\n"


def _make(folder: Path) -> None:
    """Make .venv; one that was made here before, and is broken, is deleted first. Raises CourseError."""
    from helpers import installer

    installer.need_space(folder)
    if folder.exists() and not (folder / MARKER).exists() and any(folder.iterdir()):
        raise CourseError(f"{folder} does not hold a working environment, and it was not made by the course: delete or rename "
                          "that folder, then run this command again")
    print(f"making a virtual environment in {folder}", file=sys.stderr, flush=True)
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        (folder / MARKER).write_text(f"{ROOT}\n", encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "venv", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", errors="replace")
    except OSError as error:
        raise CourseError(f"{folder} cannot be made ({error.strerror or error}): copy the course to a folder that you can write "
                          "to, and run this command there") from None
    if done.returncode:
        if "ensurepip" in done.stdout or "No module named venv" in done.stdout:
            raise CourseError("this Python cannot make virtual environments: on Debian or Ubuntu run `sudo apt install "
                              "python3-venv`, elsewhere install Python from https://www.python.org/downloads/, then run this "
                              "command again")
        raise CourseError(f"the environment {folder} could not be made ({installer.last_line(done.stdout)}): put that right, or "
                          "make and activate an environment of your own, then run this command again")
    (folder / MARKER).write_text(f"{ROOT}\ncomplete\n", encoding="utf-8")


def _install(prefix: Path, held: int | None) -> None:
    """Install requirements.txt into this interpreter's environment, and write the stamp only when all is installed."""
    from helpers import installer

    stamp = prefix / STAMP
    try:
        stamp.unlink(missing_ok=True)
        installer.install(sys.executable, prefix, ROOT, held)
        part = stamp.with_name(STAMP + ".part")
        part.write_text(fingerprint(), encoding="ascii")
        os.replace(part, stamp)
    except OSError as error:
        raise CourseError(f"{error.filename or prefix} cannot be written ({error.strerror}): make and activate an environment of "
                          "your own, in a folder that you can write to, then run this command again") from None


@contextlib.contextmanager
def lock() -> Iterator[int | None]:
    """Only one command sets up at a time. The operating system frees the lock when its holder ends, however it ends.

    Yields the file descriptor that holds the lock, or None where the file system has no locks.
    """
    file = ROOT / ".course" / "set-up.lock"
    try:
        file.parent.mkdir(exist_ok=True)
        stream = open(file, "a+b")
    except OSError as error:
        raise CourseError(f"{ROOT} cannot be written to ({error.strerror}): copy the course to a folder of your own and run this "
                          "command there") from None
    with stream:
        waiting = False
        while not (taken := _take(stream.fileno())):
            if taken is None:
                break
            if not waiting:
                print("another command is setting the course up: waiting until it is done", file=sys.stderr, flush=True)
            waiting = True
            time.sleep(0.5)
        yield stream.fileno() if taken else None


def _take(descriptor: int) -> bool | None:
    """Try to lock the file: True taken, False held by another process, None when the file system has no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def call(command: list[str], **options) -> int:
    """Run a command to its end and return its exit status. Ctrl-C reaches it too: it gets time to end by itself."""
    with subprocess.Popen(command, **options) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
