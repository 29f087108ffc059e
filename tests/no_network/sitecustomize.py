"""Python imports this when it starts with this folder on PYTHONPATH: from then on every use of the network fails.

An audit hook cannot be taken away again, and the processes that Python starts inherit it with their environment. Unix sockets
stay allowed; a kernel's own ZeroMQ sockets are opened in C and are not seen. Each attempt is also noted in the file that
COURSE_NETWORK_LOG names, because a library may swallow the error and go on. With COURSE_LOOPBACK=1 the machine may talk to itself:
a lesson that starts a server says so in its metadata, and conftest.py sets the variable for it.
"""
import os
import socket
import sys

WITH_ADDRESS = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
INTERNET = {socket.AF_INET, socket.AF_INET6}
LOOPBACK = os.environ.get("COURSE_LOOPBACK") == "1"
ITSELF = {"127.0.0.1", "::1", "localhost", "", None, socket.gethostname()}


class NetworkBlocked(PermissionError):
    """The error of a blocked call: an OSError, so that it looks like a network that is down."""


def hook(event, args):
    """Raise NetworkBlocked when a socket is about to leave the process or a name to be looked up."""
    if event in WITH_ADDRESS:
        if args[0].family not in INTERNET or needed(event, args[1]):
            return
        target = args[1]
    elif event in LOOK_UPS:
        target = args[0]
    else:
        return
    if LOOPBACK and (target[0] if isinstance(target, tuple) else target) in ITSELF:
        return
    message = f"{event}({target!r}): the network is blocked here; a lesson must run without it, from files in the repository"
    if not probe(event, target):
        note(message)
    raise NetworkBlocked(message)


def needed(event, address):
    """Windows has no socket pairs: Python's event loop makes one from two sockets of the machine itself."""
    if sys.platform != "win32" or not address or address[0] not in ("127.0.0.1", "::1"):
        return False
    return sys._getframe(2).f_code.co_name in ("socketpair", "_fallback_socketpair")


def probe(event, target):
    """urllib3 binds ::1 when it is imported, to see whether there is IPv6: refused like the rest, but no attempt to get out."""
    return event == "socket.bind" and target == ("::1", 0)


def note(message):
    log = os.environ.get("COURSE_NETWORK_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(message + "\n")


sys.addaudithook(hook)
