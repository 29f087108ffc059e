"""The command line: `python3 -m helpers COMMAND`. Reads the arguments and calls the module that does the work.

Until the course is set up there is nothing but the standard library, so what is imported here at the top must not need more.
This file stays readable for Python 3.6, so that an old Python says what to do instead of failing on the syntax.
"""
import argparse
import os
import sys

SUPPORTED = ((3, 11), (3, 13))  # the oldest and the newest that every package in requirements.txt is made for
EPILOG = """\
The first command sets the course up: in the active virtual environment, or in one that it makes in .venv.
It installs with pip, which reads its own settings: PIP_INDEX_URL names a mirror, PIP_EXTRA_INDEX_URL a further index
(for instance one with PyTorch for the CPU only, several gigabytes smaller on Linux). COURSE_CORES limits the cores used."""
EXIT_CODES = """\
exit codes: 0 everything was graded (one notebook: with full marks), 1 points were lost (one notebook), 2 nothing could be done,
3 a submission was rejected or graded only up to some cell, 130 interrupted"""


def main(argv=None):
    """Run one command; returns the exit status: 0 done, 1 something failed, 2 cannot be done, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console, or LANG=C, may not know every character
            stream.reconfigure(errors="replace")
    try:
        if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
            from helpers import old_python

            print("error: " + old_python.advice(argv), file=sys.stderr)
            return 2
        return run(argv)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was lost, and the same command continues or starts again", file=sys.stderr)
        return 130


def run(argv):
    """Run the command that `argv` names and return its exit status; an error for a person is printed as one sentence."""
    from helpers import environment
    from helpers.errors import CourseError

    # What follows `test` belongs to pytest, and argparse would take some of it for its own.
    pytest_args = []
    if argv[:1] == ["test"] and argv[1:] not in (["-h"], ["--help"]):
        argv, pytest_args = argv[:1], argv[1:]
    args = parser().parse_args(argv)
    try:
        ready = environment.ensure(argv + pytest_args, install=args.command != "doctor")
        return dispatch(args, pytest_args, ready)
    except (CourseError, ValueError) as error:
        # A ValueError is a lesson that does not exist, or a setting that cannot be used: its message is the sentence.
        print(f"error: {error}", file=sys.stderr)
        return 2


def dispatch(args, pytest_args, ready):
    """Import the module of the command, call it, and return its exit status."""
    if args.command == "doctor":
        from helpers import doctor

        return doctor.report(ready)
    if args.command in ("start", "test"):
        from helpers import launch

        return launch.start(args.port, not args.no_browser) if args.command == "start" else launch.test(pytest_args)
    if args.command in ("run", "times"):
        from helpers import notebooks

        return notebooks.run(args.lesson, args.save) if args.command == "run" else notebooks.times(args.write, args.lessons)
    if args.command == "fetch":
        from helpers.downloads import command

        return command.fetch(args.lessons, args.to, args.list)
    if args.command == "site":
        from helpers.site import build

        return build.build(args.to)
    if args.command == "new":
        from helpers import new_lesson

        return new_lesson.new(args.name)
    if args.command == "release":
        from helpers.grading import release

        return release.release(args.lessons or None)
    if args.command == "check":
        from helpers.grading import check

        return check.check(args.lesson, args.path, args.json)
    if args.command == "grade":
        return grade(args)
    from helpers.grading import progress

    return progress.show()


def grade(args):
    """Grade one notebook or a class."""
    from pathlib import Path

    from helpers.grading import classroom, sandbox

    limits = sandbox.Limits(
        cell_seconds=args.cell_seconds, total_seconds=args.total_seconds, cpu_seconds=int(args.total_seconds), memory_mb=args.memory,
    )
    options = classroom.Options(
        args.workers, args.scheduler, args.solutions, args.resume, args.regrade, args.json, args.csv, args.to, args.seed,
        args.require_sandbox, limits,
    )
    return classroom.grade(args.lesson, Path(args.submissions), options)


def parser():
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="python3 -m helpers", description="The transfer learning course.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    start = commands.add_parser("start", help="set up and open JupyterLab on lesson 00")
    start.add_argument("--no-browser", action="store_true", help="only print the address")
    start.add_argument("--port", type=port, metavar="N", help="listen on this port (default: the first free one from 8888)")
    commands.add_parser("test", help="set up and run every test; what follows goes to pytest (`test -k data`, `test -n 1`)")
    commands.add_parser("doctor", help="show versions, cores, memory, profile, data and weights, and what is missing")
    run_one = commands.add_parser("run", help="execute a lesson without a browser; fails when one of its claims does")
    run_one.add_argument("lesson", help="1, 01 or 01_what_transfers")
    run_one.add_argument("--save", action="store_true", help="store the executed notebook, cleaned")
    times = commands.add_parser("times", help="measure time and memory of every notebook")
    times.add_argument("lessons", nargs="*", metavar="lesson", help="only these (default: all)")
    times.add_argument("--write", action="store_true", help="write the measurement into README.md")
    fetch = commands.add_parser("fetch", help="download ahead what \"Go bigger\" sections need, and verify it")
    fetch.add_argument("lessons", nargs="*", metavar="lesson", help="only for these (default: all)")
    fetch.add_argument("--to", type=path, metavar="FOLDER", help="fill this folder, for a classroom without a network")
    fetch.add_argument("--list", action="store_true", help="only show what, how much, and from where")
    release = commands.add_parser("release", help="make lessons/exercises/ from solutions/")
    release.add_argument("lessons", nargs="*", metavar="lesson", help="only these (default: all)")
    site = commands.add_parser("site", help="build the course as a web site from the stored notebooks")
    site.add_argument("--to", type=path, metavar="FOLDER", help="write it here (default: build/site)")
    new = commands.add_parser("new", help="make a new lesson from a template: lesson, exercises and their tests")
    new.add_argument("name", help="its number and name, such as 23_my_topic")
    check = commands.add_parser("check", help="grade your exercise notebook and record your progress")
    check.add_argument("lesson", help="1, 01 or 01_what_transfers")
    check.add_argument("path", nargs="?", help="another notebook than the one in lessons/exercises/")
    check.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    grading = commands.add_parser("grade", help="grade one notebook, or a class, in a sandbox", epilog=EXIT_CODES)
    grading.add_argument("lesson", help="1, 01 or 01_what_transfers")
    grading.add_argument("submissions", help="a notebook, a folder of notebooks, nbgrader's submitted/, or a zip from Canvas or Moodle")
    grading.add_argument("--workers", type=positive, metavar="N", help="how many at once (default: one for each core)")
    grading.add_argument("--scheduler", metavar="ADDRESS", help="grade on the workers of this Dask scheduler, e.g. tcp://10.0.0.5:8786")
    grading.add_argument("--solutions", type=path, metavar="FOLDER", help="a private folder with the solution notebooks")
    grading.add_argument("--resume", action="store_true", help="continue an interrupted grading; an error when there is none")
    grading.add_argument("--regrade", action="store_true", help="grade again what is unchanged since it was graded")
    grading.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    grading.add_argument("--csv", type=path, metavar="FILE", help="write the table of grades here too")
    grading.add_argument("--to", type=path, metavar="FOLDER", help="journal, tables and summary (default: classroom/grading/LESSON)")
    grading.add_argument("--seed", metavar="TEXT", help="the secret that hidden inputs come from (default: recorded, or a new one)")
    grading.add_argument("--cell-seconds", type=positive, default=60, metavar="S", help="for one cell (default: %(default)s)")
    grading.add_argument("--total-seconds", type=positive, default=600, metavar="S", help="for one submission (default: %(default)s)")
    grading.add_argument("--memory", type=positive, default=3000, metavar="MB", help="for one submission (default: %(default)s)")
    grading.add_argument("--require-sandbox", action="store_true", help="refuse where a protection is missing, instead of warning")
    commands.add_parser("progress", help="show what you have reached in all lessons")
    return top


def positive(text):
    """A whole number above 0. Raises argparse's own error when it is none."""
    if not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def path(text):
    """A path; imported late, because `--help` is to be quick."""
    from pathlib import Path

    return Path(text)


def port(text):
    """A port as a number. Raises argparse's own error when it is none."""
    if not (text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
