"""What to say when the course is started with a Python that its packages are not made for. Readable for Python 3.6."""
import os
import shutil
import subprocess
import sys

NAMES = ("python3.12", "python3.13", "python3.11")


def advice(argv):
    """One sentence: which Python this is, and the command to run instead (a suitable Python found here, or where to get one)."""
    this = "this is Python {}.{}.{}".format(*sys.version_info)
    if sys.prefix != sys.base_prefix or os.environ.get("VIRTUAL_ENV"):
        this += " of the environment {}, so leave that with `deactivate` first".format(os.environ.get("VIRTUAL_ENV", sys.prefix))
    found = suitable()
    command = "{} -m helpers {}".format(found or "python3.12", " ".join(argv)).rstrip()
    if found:
        return f"the course needs Python 3.11, 3.12 or 3.13, and {this}: run `{command}`"
    return (f"the course needs Python 3.11, 3.12 or 3.13, and {this}: install Python 3.12 "
            f"(https://www.python.org/downloads/ or your system's package manager), then run `{command}`")


def suitable():
    """The command of a suitable Python on this machine that starts, or None."""
    names = [["py", "-3.12"], ["py", "-3.13"], ["py", "-3.11"]] if os.name == "nt" else [[name] for name in NAMES]
    for name in names:
        if not shutil.which(name[0]):
            continue
        try:
            done = subprocess.run(name + ["--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0:
            return " ".join(name)
    return None
