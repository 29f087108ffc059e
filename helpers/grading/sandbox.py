"""A box for one learner's process: own namespaces, a read-only environment, a small writable folder, limits, an own user.

Linux only. A forked process cannot be handed to bubblewrap without losing the memory it inherits, so `enter` builds the box from within:
it unshares the namespaces, mounts a root that holds the Python environment and nothing else, and gives up every privilege, in that order.
(Namespaces: unshare(2), pivot_root(2), user_namespaces(7). Limits: setrlimit(2), cgroups(7).)
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import struct
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers import config

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None

NAMESPACES = {"mount": 0x20000, "ipc": 0x8000000, "host name": 0x4000000, "process": 0x20000000, "network": 0x40000000}
NEW_USER = 0x10000000
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
DIE_WITH_PARENT, DROP_CAPABILITY, NO_NEW_PRIVILEGES, SET_KEEPCAPS = 1, 24, 38, 8
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
USERS = range(61184, 65520)  # the range that systemd keeps for users that exist for a moment only
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime", "/etc/alternatives")
WORK = "/learner"  # the learner's own folder inside the box
PROTECTIONS = (
    "own process namespace", "own file system", "own network", "own user", "memory limit (cgroup)", "limit on processes",
    "limit on CPU time",
)


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Seconds of wall time per cell and in all, CPU seconds, MB of memory, of files, processes."""

    cell_seconds: float = 60
    total_seconds: float = 600
    cpu_seconds: int = 600
    memory_mb: int = 3000
    disk_mb: int = 200
    processes: int = 100


def environment_folders() -> list[str]:
    """What a learner's code needs to read: Python, the installed packages, and the course's helpers; not solutions, tests or lessons."""
    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))}
    paths |= {path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")}  # an environment on top of another
    paths = {os.path.realpath(path) for path in paths} | paths | {str(config.ROOT / "helpers")}
    return sorted(path for path in paths if os.path.isdir(path) and not path.startswith(("/usr/", "/lib")) and path not in ("/", "/usr"))


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raise OSError when it fails."""
    packed = [value.encode() if isinstance(value, str) else value for value in arguments]
    if getattr(_libc, name)(*packed) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    _call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def _bind(path: str, root: str) -> None:
    """Show `path` inside `root`, read-only; a link (such as /bin) becomes the same link."""
    target = root + path
    if os.path.lexists(target) or not os.path.lexists(path):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target)
    else:
        Path(target).touch()
    _mount(path, target, None, BIND | RECURSIVE)
    _mount(None, target, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEVICES)


def build_root(root: str, folders: list[str], disk_mb: int) -> None:
    """Mount a small root in memory over the folder `root`: the system and `folders` read-only, empty /learner and /tmp."""
    _mount("tmpfs", root, "tmpfs", NO_SUID | NO_DEVICES, f"size={disk_mb}m,nr_inodes=20000,mode=755")
    os.mkdir(root + WORK)
    os.mkdir(root + "/tmp")
    for path in (*SYSTEM, *folders):
        _bind(path, root)
    os.makedirs(root + "/etc", exist_ok=True)
    Path(root + "/etc/passwd").write_text("learner:x:65534:65534::/learner:/bin/sh\n")
    os.mkdir(root + "/proc")
    _mount("proc", root + "/proc", "proc", NO_SUID | NO_DEVICES)
    os.makedirs(root + "/dev/shm")
    for name in ("null", "zero", "random", "urandom"):
        Path(f"{root}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{root}/dev/{name}", None, BIND)
    with contextlib.suppress(OSError):  # terminals of its own, through which IPython runs `!command`
        os.mkdir(root + "/dev/pts")
        _mount("devpts", root + "/dev/pts", "devpts", NO_SUID, "newinstance,ptmxmode=0666,mode=0620")
        os.symlink("pts/ptmx", root + "/dev/ptmx")
    for path in (WORK, "/tmp", "/dev/shm"):
        os.chmod(root + path, 0o1777)


def pivot(root: str) -> None:
    """Make `root` the root of the file system and let go of the old one. Raises OSError."""
    os.chdir(root)
    _call("syscall", ctypes.c_long(PIVOT_ROOT[os.uname().machine]), b".", b".")
    _call("umount2", b".", DETACH)
    os.chdir("/")


def raise_loopback() -> None:
    """Switch the new network's own loopback on: some libraries want to see it; nothing listens there and nothing leads out."""
    with contextlib.suppress(OSError), socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH22x", b"lo", 1))


def set_limits(limits: Limits) -> None:
    """Limits that hold without any privilege: CPU time, heap, size of a file, processes of this user, open files, no core dumps."""
    for name, value in (
        ("CPU", limits.cpu_seconds), ("DATA", limits.memory_mb * 2**20), ("FSIZE", limits.disk_mb * 2**20), ("NPROC", limits.processes),
        ("CORE", 0), ("NOFILE", 1024), ("STACK", 64 * 2**20),
    ):  # fmt: skip
        limit(name, value)


def limit(name: str, value: int) -> None:
    """Set one limit, such as "DATA", for good, where the system has it."""
    if hasattr(resource, f"RLIMIT_{name}"):
        kind = getattr(resource, f"RLIMIT_{name}")
        _, most = resource.getrlimit(kind)
        wanted = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (wanted, wanted))


def give_up_privileges(user: int | None) -> None:
    """Become `user` (None: stay who we are in a user namespace), without groups and capabilities, and never gain any again."""
    for capability in range(64):
        _libc.prctl(DROP_CAPABILITY, capability, 0, 0, 0)
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _drop_capabilities()


def _drop_capabilities() -> None:
    """Clear the capability sets: in a user namespace the user keeps its number, and the capabilities have to go by themselves."""
    header = struct.pack("<Ii", 0x20080522, 0)  # version 3, this process
    _call("capset", ctypes.create_string_buffer(header, len(header)), ctypes.create_string_buffer(bytes(24), 24))


def clean_environment(work: str = WORK) -> None:
    """Only what a scientific Python needs; nothing that the grader's own environment says. work: the learner's folder."""
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "PATH") if name in os.environ and sys.platform == "win32"}
    os.environ.clear()
    os.environ.update({"PATH": f"{os.path.join(sys.prefix, 'bin')}:/usr/bin:/bin"} | kept)
    os.environ.update(
        HOME=work, LANG="C.UTF-8", TMPDIR="/tmp" if work == WORK else work, COURSE_CACHE=os.path.join(work, ".cache"), COURSE_PROGRESS="0",
        MPLCONFIGDIR=os.path.join(work, ".matplotlib"), IPYTHONDIR=os.path.join(work, ".ipython"), TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
        MPLBACKEND="module://matplotlib_inline.backend_inline", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1",
        TF_CPP_MIN_LOG_LEVEL="3",
    )  # fmt: skip


def enter(limits: Limits, root: str, user: int | None, folders: list[str]) -> None:
    """Put the calling process (forked, one thread) into the box; returns in a process inside it. Raises OSError when it cannot be built.

    root: an empty folder that only the grader can read. user: the number to become, None where the grader is not root itself: then a user
    namespace is made, in which the process keeps the grader's own number. The process that called stays outside as a watcher and ends with
    the box; if it is killed, everything in the box dies.
    """
    flags = sum(NAMESPACES.values())
    if user is None:
        outside = os.getuid(), os.getgid()
        _call("unshare", NEW_USER | flags)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{outside[0]} {outside[0]} 1")
        Path("/proc/self/gid_map").write_text(f"{outside[1]} {outside[1]} 1")
    else:
        _call("unshare", flags)
    inherited = open_descriptors()  # now: while the box's inside lets go of the old root, /proc is not there for a moment
    if inside := os.fork():  # the first process of the new process namespace
        _watch(inside, inherited)
    _call("prctl", DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    _mount(None, "/", None, RECURSIVE | PRIVATE)
    build_root(root, folders, limits.disk_mb)
    if learner := os.fork():  # the first process reaps orphans; when it ends, all others in the box are killed
        _reap(learner, inherited)
    pivot(root)
    raise_loopback()
    set_limits(limits)
    give_up_privileges(user)
    clean_environment()
    os.chdir(WORK)


def _watch(inside: int, inherited: list[int]) -> None:
    """Wait for the box to end, and end in the same way."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    close_all(inherited)
    _, status = os.waitpid(inside, 0)
    os._exit(min(255, abs(os.waitstatus_to_exitcode(status))))


def _reap(learner: int, inherited: list[int]) -> None:
    """Collect every process that ends in the box until the learner's does."""
    close_all(inherited)
    while True:
        number, status = os.wait()
        if number == learner:
            os._exit(min(255, abs(os.waitstatus_to_exitcode(status))))


def keep_only(descriptors: set[int]) -> None:
    """Close every file descriptor but 0, 1, 2 and those given: an inherited one would be a door."""
    close_all([number for number in open_descriptors() if number not in descriptors])


def open_descriptors() -> list[int]:
    """All open file descriptors but 0, 1 and 2."""
    return [int(text) for text in os.listdir("/proc/self/fd") if int(text) > 2]


def close_all(descriptors: list[int]) -> None:
    """Close these file descriptors, whichever of them are still open."""
    for number in descriptors:
        with contextlib.suppress(OSError):
            os.close(number)


class Group:
    """A cgroup for one submission (version 1 or 2), so that heap, shared mappings and files in memory count together.

    `folders` is empty where there are no cgroups to be had.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self.folders: list[Path] = []
        self.counts_memory = False
        memory, top = limits.memory_mb * 2**20, Path("/sys/fs/cgroup")
        wanted = [
            (top / "memory" / name, {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory}),
            (top / "pids" / name, {"pids.max": limits.processes}),
        ]
        if (top / "cgroup.controllers").exists():
            wanted = [(top / name, {"memory.max": memory, "memory.swap.max": 0, "pids.max": limits.processes})]
        for folder, settings in wanted:
            with contextlib.suppress(OSError):
                folder.mkdir()
                self.folders.append(folder)
                for file, value in settings.items():
                    with contextlib.suppress(OSError):  # no accounting of swap, or a controller that is not delegated
                        (folder / file).write_text(str(value))
                        self.counts_memory |= file in ("memory.limit_in_bytes", "memory.max")

    def add(self, process: int) -> None:
        """Put a process, and all that it will start, into the group."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.procs").write_text(str(process))

    def ran_out_of_memory(self) -> bool:
        """True when the kernel has killed something in the group for its memory."""
        for folder in self.folders:
            for file in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (folder / file).read_text().splitlines():
                        if line.split()[0] == "oom_kill" and line.split()[1] != "0":
                            return True
        return False

    def remove(self) -> None:
        """Kill what is left and remove the group, which goes when its last process has."""
        for folder in self.folders:
            for attempt in range(100):
                with contextlib.suppress(OSError):
                    for process in (folder / "cgroup.procs").read_text().split():
                        os.kill(int(process), signal.SIGKILL)
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002 * (attempt + 1))


def as_settings(limits: Limits) -> dict[str, float]:
    """The limits as plain data, to send."""
    return asdict(limits)


def bubblewrap(limits: Limits, folders: list[str]) -> list[str]:
    """The start of a command line that runs a fresh Python in a bubblewrap box; empty where bubblewrap is not installed."""
    program = shutil.which("bwrap") if sys.platform == "linux" else None
    if program is None:
        return []
    size = str(limits.disk_mb * 2**20)
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
    command += ["--size", size, "--tmpfs", "/tmp", "--size", size, "--tmpfs", WORK, "--chdir", WORK]
    for path in (*SYSTEM, *folders):
        if os.path.lexists(path):
            parents = [str(parent) for parent in reversed(Path(path).parents) if str(parent) != "/"]
            for parent in parents:  # bubblewrap would make them readable for root only
                command += ["--perms", "0755", "--dir", parent]
            command += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    return [*command, "--"]
