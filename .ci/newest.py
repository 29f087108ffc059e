#!/usr/bin/env python3
"""Does the course still install, and still work, with the newest version of everything it depends on?

Takes the newest versions that fit together (pip decides), installs them into an empty environment, runs the tests there, and writes a
report in Markdown: what is newer than the tested versions, what is held back and by what, which tests fail. The repository is not
changed. Needs nothing but Python; pip reads its own settings (PIP_INDEX_URL, PIP_FIND_LINKS, ...).

Exit status: 0 all is well; 1 something breaks, the report says what; 2 it could not be tried.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?P<extras>\[[^]]*\])?==(?P<version>[^\s;#]+)")
SHOWN = 40  # failed tests that the report lists


class NotTriedError(Exception):
    """The trial itself is impossible; the message says why."""


def main(argv: list[str] | None = None) -> int:
    """Read the arguments, make the trial and write the report; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="What follows -- goes to pytest.")
    parser.add_argument("--course", type=Path, default=ROOT, help="the course's folder (default: this one)")
    parser.add_argument("--only-resolve", action="store_true", help="say which versions would be installed, and install nothing")
    parser.add_argument("--report", type=Path, help="write the report here too")
    parser.add_argument("--environment", type=Path, help="make the environment here and keep it (default: a temporary folder)")
    parser.add_argument("pytest", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="newest-", ignore_cleanup_errors=True) as folder:
            lines, broken = trial(args.course.resolve(), args.environment or Path(folder, "environment"), Path(folder), args.only_resolve,
                                  args.pytest)
    except (NotTriedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = "\n".join(lines) + "\n"
    print(text, end="")
    for place, mode in ((args.report, "w"), (os.environ.get("GITHUB_STEP_SUMMARY"), "a")):
        if place:
            with open(place, mode, encoding="utf-8") as stream:
                stream.write(text)
    return 1 if broken else 0


def trial(course: Path, environment: Path, folder: Path, only_resolve: bool, pytest_args: list[str]) -> tuple[list[str], bool]:
    """Make the trial; returns the lines of the report, and whether something breaks. Raises NotTriedError."""
    pinned, others = read(course / "requirements.txt")
    venv.create(environment, with_pip=True)
    python = str(environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    lines = [f"# The newest versions, with Python {sys.version.split()[0]} on {sys.platform}", ""]
    say(f"which versions of {len(pinned)} packages fit together?")
    fitting, reason = resolve(python, list(pinned))
    if reason:
        return [*lines, "**It does not install any more.** pip says:", "", "```", *reason, "```"], True
    newest, reason = resolve(python, list(pinned), "--no-deps")
    if reason:
        raise NotTriedError("the package index answered once and then failed: " + reason[-1])
    lines += table(pinned, fitting, newest)
    if only_resolve:
        return lines, False
    exact = folder / "newest.txt"
    exact.write_text("".join(f"{name}=={about['version']}\n" for name, about in fitting.items()), encoding="utf-8")
    say(f"installing {len(fitting)} packages")
    for step in (["-r", str(exact)], *(["--no-deps", *other.split(maxsplit=1)] for other in others)):
        done = run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step], course)
        if done.returncode:
            return [*lines, "", "**It does not install any more.** pip says:", "", "```", *tail(done), "```"], True
    check = run([python, "-m", "pip", "check"], course)
    lines += ["", "## Packages that do not fit together", "", "```", *tail(check), "```"] if check.returncode else []
    say("running the tests")
    failures, summary = test(python, course, folder / "tests.xml", pytest_args)
    lines += ["", "## Tests", "", summary, ""]
    lines += [f"- `{name}`: {message}" for name, message in failures[:SHOWN]]
    lines += [f"- and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
    return lines, bool(failures or check.returncode)


def read(requirements: Path) -> tuple[dict[str, str], list[str]]:
    """The pinned packages (name with extras -> version) and the other lines of requirements.txt. Raises NotTriedError."""
    try:
        text = requirements.read_text(encoding="utf-8")
    except OSError as error:
        raise NotTriedError(f"{requirements} cannot be read ({error.strerror}): give the course's folder with --course") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = {line: PIN.match(line) for line in lines}
    pinned = {match["name"] + (match["extras"] or ""): match["version"] for match in found.values() if match}
    if not pinned:
        raise NotTriedError(f"{requirements} pins no package: there is nothing to compare with")
    return pinned, [line for line, match in found.items() if not match]


def resolve(python: str, names: list[str], *options: str) -> tuple[dict[str, dict], list[str]]:
    """What pip would install for these names: canonical name -> its metadata, in pip's order; or ({}, pip's reason)."""
    done = run([python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--disable-pip-version-check",
                "--report", "-", *options, *names])
    if done.returncode:
        return {}, tail(done)
    found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {canonical(about["name"]): about for about in found}, []


def table(pinned: dict[str, str], fitting: dict[str, dict], newest: dict[str, dict]) -> list[str]:
    """Markdown: the packages that are newer than tested, and those that are held back."""
    rows = []
    for name, tested in pinned.items():
        short = canonical(name.split("[")[0])
        got, best = fitting[short]["version"], newest[short]["version"]
        if got != tested or best != got:
            held = ", ".join(holders(short, fitting)) or "pip's choice" if best != got else ""
            rows.append(f"| {name} | {tested} | {got} | {best} | {held} |")
    if not rows:
        return [f"All {len(pinned)} packages are the newest that there are."]
    return [f"{len(rows)} of {len(pinned)} packages differ from the tested versions, or could be newer:", "",
            "| package | tested | newest that fits | newest there is | held back by |", "|---|---|---|---|---|", *rows]


def holders(name: str, fitting: dict[str, dict]) -> list[str]:
    """Which packages limit the version of `name`, each with its condition."""
    found = []
    for about in fitting.values():
        for requirement in about.get("requires_dist", []):
            match = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)", requirement)
            if match and canonical(match[1]) == name and re.search(r"<|==|~=|!=", match[2]) and "extra ==" not in requirement:
                found.append(f"{about['name']} ({match[2].strip()})")
    return found


def test(python: str, course: Path, result: Path, pytest_args: list[str]) -> tuple[list[tuple[str, str]], str]:
    """Run pytest in the environment; returns the failed tests with the first line of their message, and a sentence."""
    done = subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={result}", *pytest_args], cwd=course,
                          stdin=subprocess.DEVNULL, stdout=sys.stderr, env={**os.environ, "COURSE_PROGRESS": "0"})
    if not result.exists():
        return [("pytest", f"it ended with status {done.returncode} before it had run a test")], "**The tests could not be run.**"
    cases = list(ElementTree.parse(result).getroot().iter("testcase"))
    failures = []
    for case in cases:
        for bad in [*case.findall("failure"), *case.findall("error")]:
            first = (bad.get("message") or bad.text or "no message").strip().splitlines()[0]
            failures.append((f"{case.get('classname')}::{case.get('name')}", first[:200]))
    if done.returncode and not failures:
        failures.append(("pytest", f"it ended with status {done.returncode}"))
    return failures, f"**{len(failures)} of {len(cases)} tests fail.**" if failures else f"All {len(cases)} tests pass or are skipped."


def run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace")


def tail(done: subprocess.CompletedProcess) -> list[str]:
    """The last lines that a command wrote."""
    return [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()][-25:] or [f"status {done.returncode}"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
