"""Runs pip: says first what will be installed, shows how far it is, and turns a failure into one sentence that helps."""
from __future__ import annotations

import os
import platform
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from helpers.errors import CourseError

INSTALLED_GB = 6.0  # free space before the first set-up: 4.3 GB of packages (PyTorch for the CPU) and what pip unpacks on the way
UPDATE_GB = 1.0  # the large packages are there already
PACKAGES = 230  # about as many as requirements.txt brings along
LARGE_MB = 20  # downloads above this are named even where no status line can be shown

# What pip prints -> what to say. The first that is found counts.
CAUSES = [
    (r"No space left on device|not enough space on the disk",
     "the disk is full: free some space (the packages take about 5 GB, on Linux with PyTorch's GPU libraries up to 12 GB), then "
     "run this command again"),
    (r"NameResolutionError|name resolution|Name or service not known|getaddrinfo failed|nodename nor servname|NewConnectionError|"
     r"Connection refused|ConnectionResetError|Connection aborted|ConnectTimeout|Read timed out|ReadTimeout|"
     r"Network is unreachable|Max retries exceeded|ProxyError|Tunnel connection failed|IncompleteRead|Connection broken",
     "pip cannot reach its package index: check the network (or the proxy), then run this command again; what is there already "
     "is not fetched twice"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
     "the secure connection to the package index is refused: behind a company's proxy set PIP_CERT to its certificate, then run "
     "this command again"),
    (r"(?i)long ?path",
     r"a path is too long for Windows: move the course to a short folder such as C:\course, or enable long paths, then run this "
     "command again"),
    (r"Permission denied|PermissionError|WinError 5\b|Read-only file system",
     "pip may not write into the environment: close programs that use it (JupyterLab, an editor), or make and activate an "
     "environment of your own, then run this command again"),
    # An index that cannot be reached looks like this too, when PIP_RETRIES is 0. For another machine there mostly are versions.
    (r"satisfies the requirement (?P<name>\S+) \(from versions: none\)",
     "pip finds no version of {name} at all: check the network and pip's settings (`python3 -m pip config list`), then run this "
     "command again; if both are right, there is none for this machine ({system}, Python {python})"),
    (r"No matching distribution found for (?P<name>[^\s(]+)",
     "pip finds no {name} for this machine ({system}, Python {python}): the course needs a 64-bit Python 3.11 to 3.13 on Linux, "
     "Windows, or a Mac with Apple silicon, and pip a connection to its package index"),
]


def need_space(folder: Path) -> None:
    """Raise CourseError when the disk of the environment in `folder` has too little free space for the set-up."""
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    needed = UPDATE_GB if has_large_packages(folder) else INSTALLED_GB
    if free < needed:
        raise CourseError(f"the disk of {there} has {free:.1f} GB free, and the set-up needs {needed:g} GB: free some space, or "
                          "move the course to a larger disk, then run this command again")


def has_large_packages(folder: Path) -> bool:
    """Whether the environment in `folder` holds the frameworks: pip unpacks them last but one, so only small packages can be missing."""
    return all(any(folder.glob(f"**/site-packages/{name}-*.dist-info")) for name in ("torch", "tensorflow"))


def install(python: str, prefix: Path, root: Path, held: int | None = None) -> None:
    """Install root/requirements.txt into the environment `prefix` of the interpreter `python`. Raises CourseError.

    held: a descriptor that pip inherits, so that the set-up stays locked while pip runs, even if this process is killed.
    pip's whole output is kept in root/.course/set-up.log.
    """
    need_space(prefix)
    _need_pip(python, prefix)
    what = (f"setting the course up in {prefix}\nabout {PACKAGES} packages, 1 to 4 GB to fetch, once: 3 to 15 minutes on most "
            "machines; Ctrl-C stops it, and the next command continues")
    if has_large_packages(prefix):
        what = f"bringing the packages in {prefix} up to date, mostly in less than a minute"
    print(what, file=sys.stderr, flush=True)
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
               "-r", "requirements.txt"]
    surroundings = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace"}
    inherit = {"pass_fds": (held,)} if held is not None and os.name != "nt" else {}
    log = root / ".course" / "set-up.log"
    log.parent.mkdir(exist_ok=True)
    with subprocess.Popen(command, cwd=root, env=surroundings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", **inherit) as process:
        try:
            output = _follow(process, log)
        except BaseException:
            process.terminate()
            raise
    if process.returncode < 0:  # by a signal, which only POSIX systems report this way; pip has printed no reason then
        raise CourseError("pip was killed before it was done, most often because the memory was full: close other programs, then "
                          "run this command again; it continues where this one stopped")
    if process.returncode:
        raise CourseError(reason(output, log))
    print("the course is set up", file=sys.stderr, flush=True)


def _need_pip(python: str, prefix: Path) -> None:
    """Make sure that the environment has a working pip (some tools make environments without one). Raises CourseError."""
    for command in (["pip", "--version"], ["ensurepip", "--upgrade"], ["pip", "--version"]):
        done = subprocess.run([python, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0 and command[0] == "pip":
            return
    raise CourseError(f"the environment {prefix} has no working pip: run `deactivate` and this command again (it makes an "
                      "environment of its own), or install pip there")


def _follow(process: subprocess.Popen, log: Path) -> str:
    """Show what pip is doing until it ends; returns its output and keeps a copy in the file `log`."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    output, begin, doing, seen = [], time.monotonic(), "looking up packages", 0
    terminal = sys.stderr.isatty()
    with open(log, "w", encoding="utf-8", buffering=1) as copy:
        while True:
            try:
                line = lines.get(timeout=1)
            except queue.Empty:
                line = ""
            if line is None:
                break
            if line:
                output.append(line)
                copy.write(line)
                seen += line.startswith("Collecting ")
                step = describe(line, seen)
                if step and step != doing and not terminal and not line.startswith("Collecting "):
                    print(f"  {step}", file=sys.stderr, flush=True)
                doing = step or doing
            if terminal:
                minutes, seconds = divmod(int(time.monotonic() - begin), 60)
                width = shutil.get_terminal_size().columns - 1
                print("\r" + f"  {minutes}:{seconds:02}  {doing}"[:width].ljust(width), end="", file=sys.stderr, flush=True)
    if terminal:
        print(file=sys.stderr)
    process.wait()
    return "".join(output)


def describe(line: str, seen: int) -> str:
    """What a line of pip's output means, in words, or "" when it is not worth showing. seen: packages looked up so far."""
    if found := re.match(r"Collecting (\S+?)(?:[=<>!~;\[ ]|$)", line):
        return f"looking up {found[1]} ({seen} of about {max(seen, PACKAGES)})"
    if (found := re.match(r"\s*Downloading (\S+?)-\d\S* \((\d[\d.]*) ([MG]B)\)", line)) \
            and float(found[2]) * (1000 if found[3] == "GB" else 1) >= LARGE_MB:
        return f"fetching {Path(found[1]).name}, {found[2]} {found[3]}"
    if line.startswith("Installing collected packages"):
        return f"installing {line.count(',') + 1} packages: this takes some minutes"
    return ""


def reason(output: str, log: Path) -> str:
    """The sentence for a failed pip, from its output."""
    for pattern, sentence in CAUSES:
        if found := re.search(pattern, output):
            system = f"{platform.system()} {platform.machine()}"
            return sentence.format(system=system, python=platform.python_version(), **found.groupdict())
    return (f"pip could not install the packages ({last_line(output)}): run this command again, and if it fails again, look at "
            f"{log}; a new environment helps when this one has other packages in it")


def last_line(output: str) -> str:
    """The last line that says ERROR, or else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1].removeprefix("ERROR: ").rstrip(".:")
