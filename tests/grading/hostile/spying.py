"""Attempts to read what is not theirs and to reach what is outside. What is found would be printed; the canaries must not turn up."""
from case import GRADED, Case

FILES = ("own file system",)
NET = ("own network",)
RIGHT = "\ndef square(n): return n * n"

WALK = """
import os
found = []
for top in ('/', '/root', '/home', '/tmp', '/var', '/proc/1', '/proc/self', '/dev/shm', '..', '../..'):
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if f not in ('site-packages', 'sys', 'proc', 'usr', 'lib', 'task', 'fd')][:50]
        for name in names[:200]:
            if name.endswith(('.ipynb', '.db', '.csv', '.jsonl', '.txt', '.json', 'environ', 'cmdline')):
                try: found.append(open(os.path.join(folder, name), errors='replace').read(100_000))
                except Exception: pass
print(len(found))
print('\\n'.join(text for text in found if 'CANARY' in text))
"""


def connect(code):
    return f"try:\n    {code}\n    print('CONNECTED')\nexcept OSError as error:\n    print('refused', error)" + RIGHT


CASES = [
    Case("walks through all files", GRADED, 7.0, "", {"square": WALK + RIGHT}, needs=FILES),
    Case("reads the solutions by path", GRADED, 4.0, "FileNotFoundError|PermissionError",
         {"square": "print(open('{root}/solutions/01_toy/exercises_01.ipynb').read())"}, needs=FILES),
    Case("reads the gradebook by path", GRADED, 4.0, "FileNotFoundError|PermissionError|unable to open",
         {"square": "import sqlite3\nprint(sqlite3.connect('file:{root}/classroom/gradebook.db?mode=ro', uri=True).execute('select * from student').fetchall())"},
         needs=FILES),
    Case("reads another submission", GRADED, 4.0, "FileNotFoundError|PermissionError",
         {"square": "print(open('{root}/classroom/submitted/bob/01_toy/exercises_01.ipynb').read())"}, needs=FILES),
    Case("lists the students", GRADED, 4.0, "FileNotFoundError|PermissionError",
         {"square": "import os\nprint(os.listdir('{root}/classroom/submitted'))"}, needs=FILES),
    Case("reads the environment", GRADED, 7.0, "", {"square": "import os\nprint(dict(os.environ))\ntry: print(open('/proc/self/environ').read())\nexcept OSError: pass" + RIGHT}, needs=FILES),
    Case("reads the environment of other processes", GRADED, 7.0, "",
         {"square": "import glob\nfor p in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
                    "    try: print(open(p).read())\n    except OSError: pass" + RIGHT}, needs=FILES),
    Case("reads its own memory", GRADED, 7.0, "",
         {"square": "import re\nhits = 0\nmark = b'CAN' + b'ARY-'\nimport ctypes\nctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\nwith open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:\n"
                    "    for line in list(maps)[:4000]:\n        begin, end = (int(x, 16) for x in line.split()[0].split('-'))\n"
                    "        if 'r' in line.split()[1] and end - begin < 30_000_000:\n            try:\n                memory.seek(begin)\n"
                    "                data = memory.read(end - begin)\n                for m in re.finditer(mark + b'[a-z]+', data): print(m[0]); hits += 1\n"
                    "            except (OSError, OverflowError, ValueError): pass\nprint(hits)" + RIGHT}, needs=FILES),
    Case("traces the first process", GRADED, 7.0, "",
         {"square": "import ctypes\nprint(ctypes.CDLL(None).ptrace(16, 1, 0, 0), ctypes.CDLL(None).ptrace(16, 2, 0, 0))" + RIGHT}, needs=FILES),
    Case("reads the shadow file", GRADED, 4.0, "FileNotFoundError|PermissionError", {"square": "print(open('/etc/shadow').read())"}, needs=FILES),
    Case("escapes by chroot", GRADED, 4.0, "PermissionError|not permitted", {"square": "import os\nos.chroot('/tmp')"}, needs=FILES),
    Case("mounts the host's proc", GRADED, 7.0, "",
         {"square": "import ctypes\nprint(ctypes.CDLL(None, use_errno=True).mount(b'proc', b'/tmp', b'proc', 0, None))\nimport os\nprint(os.listdir('/tmp'))" + RIGHT}, needs=FILES),
    Case("makes a user namespace of its own", GRADED, 7.0, "",
         {"square": "import ctypes, os\nprint(ctypes.CDLL(None, use_errno=True).unshare(0x10020000))\ntry: print(os.listdir('/root'))\nexcept OSError: pass" + RIGHT}, needs=FILES),
    Case("becomes root again", GRADED, 4.0, "PermissionError", {"square": "import os\nos.setuid(0)"}, needs=("own user",)),
    Case("uses sudo", GRADED, 7.0, "", {"square": "import subprocess\nprint(subprocess.run(['su', '-c', 'id'], capture_output=True, timeout=3, stdin=subprocess.DEVNULL)"
                                                  " if __import__('shutil').which('su') else '')" + RIGHT}, needs=("own user",)),
    Case("writes into the installed packages", GRADED, 4.0, "OSError|Read-only|PermissionError",
         {"square": "import numpy, pathlib\npathlib.Path(numpy.__file__).write_text('hacked')"}, needs=FILES),
    Case("writes into the course", GRADED, 4.0, "OSError|Read-only|PermissionError",
         {"square": "import helpers, pathlib\npathlib.Path(helpers.__file__).with_name('evil.py').write_text('hacked')"}, needs=FILES),
    Case("leaves code for the next learner", GRADED, 7.0, "",
         {"square": "import os, pathlib\nfor place in ('~/.ipython/profile_default/startup/x.py', '~/.local/lib/python3.11/site-packages/sitecustomize.py', "
                    "'/tmp/sitecustomize.py', '/dev/shm/x.py'):\n    p = pathlib.Path(place).expanduser()\n    try:\n        p.parent.mkdir(parents=True, exist_ok=True)\n"
                    "        p.write_text('raise SystemExit')\n    except OSError: pass" + RIGHT}, needs=FILES),
    Case("connects to the host's loopback", GRADED, 7.0, "", {"square": "import socket\n" + connect("socket.create_connection(('127.0.0.1', {port}), 2)")}, needs=NET),
    Case("connects by IPv6", GRADED, 7.0, "", {"square": "import socket\n" + connect("socket.create_connection(('::1', {port}), 2)")}, needs=NET),
    Case("connects to an abstract socket", GRADED, 7.0, "",
         {"square": "import socket\n" + connect("socket.socket(socket.AF_UNIX).connect(chr(0) + 'course-{port}')")}, needs=NET),
    Case("sends a datagram", GRADED, 7.0, "",
         {"square": "import socket\n" + connect("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'CANARY', ('127.0.0.1', {port})) and 1/0")
          .replace("except OSError", "except (OSError, ZeroDivisionError)")}, needs=NET),
    Case("opens a server that nobody reaches", GRADED, 7.0, "", {"square": "import socket\nserver = socket.create_server(('127.0.0.1', 0))" + RIGHT}, needs=NET),
    Case("talks to the process that forks", GRADED, 7.0, "",
         {"square": "import os, socket\nfor n in range(3, 60):\n    try:\n        s = socket.socket(fileno=os.dup(n))\n        if s.type == socket.SOCK_SEQPACKET: print('FOUND THE PARENT')\n"
                    "    except OSError: pass" + RIGHT}),
]
