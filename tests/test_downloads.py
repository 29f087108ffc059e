"""Downloads: whole and verified or not at all, one sentence for each thing that can go wrong, and a folder that a classroom shares.

A server on this machine stands for the model hub and for the publishers; the hub's own client asks it.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny_hub

from helpers import config
from helpers.downloads import command, registry, store, transfer
from helpers.errors import CourseError

WEIGHTS = b"weights " * 4000
CONTENT = {"a.bin": b"first file " * 3000, "b.txt": b"second file"}
MODEL = {"model.safetensors": WEIGHTS, "config.json": b'{"model_type": "tiny"}', "vocab.txt": b"a\nb\n", "README.md": b"read",
         "tf_model.h5": b"another format", "onnx/model.onnx": b"another one"}


class World:
    """A server, an empty cache, and two items in the registry that lie on the server: the model "tiny" and the files "data"."""

    def __init__(self, server: tiny_hub.Server, cache: Path) -> None:
        self.server, self.place = server, cache / "downloads"

    def named(self) -> list[str]:
        """The files that have their final name, whatever they hold."""
        return sorted(str(path.relative_to(self.place)) for path in self.place.rglob("*")
                      if path.is_file() and store.PARTIAL not in path.parts)

    def bad(self) -> list[str]:
        """The files with a final name whose content is not the publisher's."""
        items = {"tiny": MODEL, "data": CONTENT}
        right = {f"{item}/{name}": content for item, files in items.items() for name, content in files.items()}
        return [name for name in self.named() if not name.endswith("lock.json") and (self.place / name).read_bytes() != right[name]]

    def partial(self) -> list[str]:
        return sorted(path.name for path in (self.place / store.PARTIAL).rglob("*") if path.is_file() and not path.name.endswith(".busy"))


def of_model(**changes: str) -> registry.HubModel:
    about = {"revision": "main", "auto_class": "AutoModel", "licence": "MIT", "megabytes": 1, "purpose": "is tiny", "lessons": ("98",)}
    return registry.HubModel("somebody/tiny", **(about | changes))


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("COURSE_DOWNLOADS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transfer, "SECONDS", 0.3)
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    files = {f"/somebody/tiny/resolve/main/{name}": content for name, content in MODEL.items()}
    files |= {f"/{name}": content for name, content in CONTENT.items()}
    with tiny_hub.serve(files) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        listed = tuple(registry.File(name, f"{server.url}/{name}", f"sha256:{hashlib.sha256(content).hexdigest()}")
                       for name, content in CONTENT.items())
        monkeypatch.setitem(registry.MODELS, "tiny", of_model())
        monkeypatch.setitem(registry.FILES, "data", registry.Files(listed, "MIT", 1, "is small (Ann 2020)", ("98", "99")))
        yield World(server, tmp_path / "cache")


WHOLE = {"tiny": ["tiny.lock.json", "tiny/config.json", "tiny/model.safetensors", "tiny/vocab.txt"],
         "data": ["data.lock.json", "data/a.bin", "data/b.txt"]}


@pytest.mark.parametrize("name", WHOLE)
def test_an_item_arrives_once_whole_and_locked(world, name, capfd):
    for _ in range(2):
        assert transfer.ensure(name) == world.place / name
    assert world.named() == WHOLE[name] and world.bad() == [] and world.partial() == []
    assert len(world.server.asked) == (4 if name == "tiny" else 2), world.server.asked
    locked = store.read_lock(world.place, name)
    assert locked.revision == (tiny_hub.COMMIT if name == "tiny" else "")
    for file, (size, sha256) in locked.files.items():
        content = (world.place / name / file).read_bytes()
        assert (size, sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert capfd.readouterr() == ("", "")


# What a person reads about each fault; and of the model also what its listing can do.
FAULTS = {
    "truncated": "the connection broke off: is there a network connection",
    "wrong": "is not the file that was asked for .its hash differs., and was not kept",
    "404": r"on 127.0.0.1 is not there any more \(status 404\): .*look for a newer version",
    "500": r"on 127.0.0.1 answers with an error \(status 500\): wait some minutes",
    "hang": "sent nothing for 0.3 s: is there a network connection",
    "login": "is not the file that was asked for",
}
CASES = [("tiny", "model.safetensors", fault) for fault in FAULTS] + [("tiny", "config.json", fault) for fault in FAULTS]
CASES += [("data", "a.bin", fault) for fault in FAULTS]


@pytest.mark.parametrize(("name", "file", "fault"), CASES)
def test_a_fault_is_a_sentence_leaves_no_bad_file_and_the_next_call_succeeds(world, name, file, fault):
    world.server.faults[file] = fault
    with pytest.raises(CourseError, match=FAULTS[fault]) as said:
        transfer.ensure(name)
    message = str(said.value)
    assert "\n" not in message and message.startswith(registry.title(name)) and "could not be downloaded: " in message
    assert world.bad() == [] and f"{name}.lock.json" not in world.named() and f"{name}/{file}" not in world.named()
    assert set(world.partial()) <= {file} and (world.partial() == [] or fault in ("truncated", "hang")), world.partial()
    world.server.faults.clear()
    transfer.ensure(name)
    assert world.named() == WHOLE[name] and world.bad() == [] and world.partial() == []


@pytest.mark.parametrize(("fault", "sentence"), [
    ("404", "is not there any more .status 404."), ("500", "answers with an error .status 500."), ("hang", "sent nothing for"),
    ("login", "does this network want you to log in first"), ("no hash", "its hash differs"), ("truncated", "network connection"),
])
def test_a_hub_that_cannot_say_what_it_holds(world, fault, sentence):
    world.server.faults["/revision/main"] = fault
    with pytest.raises(CourseError, match=sentence) as said:
        transfer.ensure("tiny")
    assert "\n" not in str(said.value) and world.bad() == [] and "tiny.lock.json" not in world.named()


def test_nobody_there_is_said_within_two_seconds(world, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", closed)
        files = tuple(file._replace(url=f"{closed}/{file.name}") for file in registry.FILES["data"].files)
        monkeypatch.setitem(registry.FILES, "data", registry.FILES["data"]._replace(files=files))
        for name in WHOLE:
            began = time.perf_counter()
            with pytest.raises(CourseError, match="is there a network connection. 127.0.0.1 cannot be reached .Connection refused."):
                transfer.ensure(name)
            assert time.perf_counter() - began < 2
    assert world.named() == []


@pytest.mark.parametrize("what", ["name", "address"])
def test_a_network_that_swallows_everything_is_said_within_two_seconds(world, monkeypatch, what):
    # A look-up of a name may hang without any limit, a connection as long as it is allowed to.
    over = threading.Event()

    def hangs(*_, timeout=None, **__):
        over.wait(30 if what == "name" else timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", hangs)
    for name in WHOLE:
        began = time.perf_counter()
        with pytest.raises(CourseError, match="no answer within 1.5 s; on a slow line set COURSE_NETWORK_SECONDS=10"):
            transfer.ensure(name)
        assert time.perf_counter() - began < 2
    over.set()


def test_the_patience_can_be_set(monkeypatch):
    monkeypatch.setenv("COURSE_NETWORK_SECONDS", "10")
    assert transfer.patience() == 10
    for wrong in ("long", "0", "nan", "-1"):
        monkeypatch.setenv("COURSE_NETWORK_SECONDS", wrong)
        with pytest.raises(ValueError, match="COURSE_NETWORK_SECONDS is .*: set it to a number of seconds above 0"):
            transfer.patience()


def test_a_proxy_is_where_the_connection_goes(world, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(CourseError, match="hub.example cannot be reached .Connection refused."):
            transfer.need_network("https://hub.example/x")
        monkeypatch.setenv("https_proxy", world.server.url)
        transfer.need_network("https://hub.example/x")


FETCHES = """
import sys
from helpers.downloads import registry, transfer
url, digest = sys.argv[1:]
registry.FILES["data"] = registry.Files((registry.File("a.bin", url, digest),), "MIT", 1, "is small", ())
transfer.fetch("data")
"""


def test_killed_half_way_nothing_bad_is_left_and_it_goes_on_where_it_was(world, monkeypatch):
    world.server.faults["a.bin"] = "hang"
    file = registry.FILES["data"].files[0]
    monkeypatch.setitem(registry.FILES, "data", registry.FILES["data"]._replace(files=(file,)))
    process = subprocess.Popen([sys.executable, "-c", FETCHES, file.url, file.digest], cwd=config.ROOT, stderr=subprocess.PIPE)
    try:
        assert world.server.half.wait(60), process.stderr
        deadline = time.monotonic() + 20
        while not world.partial() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.communicate(timeout=20)
    assert world.named() == [] and world.partial() == ["a.bin"]
    left = (world.place / store.PARTIAL / "data" / "a.bin").stat().st_size
    assert 0 <= left < len(CONTENT["a.bin"])
    world.server.faults.clear()
    transfer.ensure("data")
    assert world.named() == ["data.lock.json", "data/a.bin"] and world.bad() == [] and world.partial() == []
    assert world.server.asked[-1] == (f"/a.bin from {left}" if left else "/a.bin")


@pytest.mark.parametrize("left", [b"first file " * 10, b"nonsense " * 10, b"first file " * 3000, b"x" * 99999])
def test_what_a_killed_download_left_is_continued_or_thrown_away(world, left):
    folder = world.place / store.PARTIAL / "data"
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(left)
    (folder / "stranger.bin").write_bytes(b"of another version")
    transfer.ensure("data")
    assert world.named() == WHOLE["data"] and world.bad() == [] and world.partial() == []
    assert world.server.asked[0] == f"/a.bin from {len(left)}"


FULL = """
import errno, resource, signal, sys
from helpers.downloads import registry, transfer
from helpers.errors import CourseError
url, digest = sys.argv[1:]
registry.FILES["data"] = registry.Files((registry.File("a.bin", url, digest),), "MIT", 1, "is small", ())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    transfer.fetch("data")
except CourseError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit for the size of a file")
def test_a_disk_that_gets_full_half_way(world):
    file = registry.FILES["data"].files[0]
    done = subprocess.run([sys.executable, "-c", FULL, file.url, file.digest], cwd=config.ROOT, capture_output=True, text=True, timeout=60)
    assert "there is no space left on the disk: free some, or set COURSE_CACHE" in done.stdout, done.stderr
    assert world.named() == [] and world.partial() == []


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_real_disk_that_is_too_small(world, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setattr(transfer, "SPARE", -1e9)  # as if there had been enough when it began
        monkeypatch.setenv("COURSE_CACHE", str(disk / "cache"))
        with pytest.raises(CourseError, match="no space left on the disk"):
            transfer.ensure("data")
        files = [path.name for path in disk.rglob("*") if path.is_file() and not path.name.endswith(".busy")]
        assert files == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_too_little_space_is_said_before_anything_is_downloaded(world, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    for name in WHOLE:
        with pytest.raises(CourseError, match="no space left on the disk"):
            transfer.ensure(name)
    assert world.named() == [] and not any("resolve" in asked or ".bin" in asked for asked in world.server.asked)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: bytes([content[0] ^ 1]) + content[1:], None])
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_was_damaged_later_is_never_used_and_replaced_alone(world, name, change):
    transfer.ensure(name)
    path = world.place / WHOLE[name][2]
    before = path.stat()
    path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))
    if change:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    asked = len(world.server.asked)
    transfer.ensure(name)
    assert world.bad() == [] and world.named() == WHOLE[name]
    assert len(world.server.asked) - asked == (2 if name == "tiny" else 1)


def test_the_hub_may_move_on_but_the_lock_stays(world, monkeypatch):
    """ "main" is pinned by the first download: the same commit is asked for again, and other bytes under it are refused."""
    transfer.ensure("tiny")
    (world.place / "tiny" / "model.safetensors").unlink()
    world.server.files["/somebody/tiny/resolve/main/model.safetensors"] = b"changed "  * 4000
    with pytest.raises(CourseError, match="is not the one that was locked when it was downloaded first: it was not kept"):
        transfer.ensure("tiny")
    assert world.server.asked.count(f"/api/models/somebody/tiny/revision/{tiny_hub.COMMIT}") == 1
    assert "tiny/model.safetensors" not in world.named()
    (world.place / "tiny.lock.json").unlink()
    transfer.ensure("tiny")  # as the sentence said: accepted


def test_the_registry_s_own_commit_and_hash_come_first(world, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "tiny", of_model(sha256="0" * 64))
    with pytest.raises(CourseError, match="states another hash for model.safetensors than this course"):
        transfer.ensure("tiny")
    assert world.named() == []
    right = hashlib.sha256(WEIGHTS).hexdigest()
    monkeypatch.setitem(registry.MODELS, "tiny", of_model(sha256=right, revision=tiny_hub.COMMIT))
    transfer.ensure("tiny")
    assert f"/api/models/somebody/tiny/revision/{tiny_hub.COMMIT}" in world.server.asked
    # A newer version of the course names another commit: what is here is out of date.
    monkeypatch.setitem(registry.MODELS, "tiny", of_model(revision="2" * 40))
    assert not store.whole(world.place, "tiny")
    monkeypatch.setitem(registry.MODELS, "tiny", of_model(revision=tiny_hub.COMMIT, sha256="3" * 64))
    assert not store.whole(world.place, "tiny")


def test_a_model_without_known_weights(world):
    del world.server.files["/somebody/tiny/resolve/main/model.safetensors"]
    with pytest.raises(CourseError, match="holds no weights in a format that is known here"):
        transfer.ensure("tiny")
    world.server.files["/somebody/tiny/resolve/main/pytorch_model.bin"] = WEIGHTS
    assert (transfer.ensure("tiny") / "pytorch_model.bin").is_file()


def test_the_offline_profile_and_unknown_names_ask_nobody(world, monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE")
    for name in WHOLE:
        with pytest.raises(CourseError, match=r"must be downloaded \(1 MB\), and this is the offline profile: set COURSE_PROFILE=full"):
            transfer.ensure(name)
    with pytest.raises(ValueError, match="nothing called 'dat' to download: choose one of entailment, gpt, .*, data"):
        transfer.ensure("dat")
    assert world.server.asked == []


# --- the classroom's folder and the command


def test_a_classroom_folder_needs_no_network_and_is_only_read(world, tmp_path, monkeypatch, capsys):
    share = tmp_path / "share"
    monkeypatch.setattr(command, "of_lessons", lambda _: tuple(WHOLE))
    assert command.fetch((), share) == 0
    printed = capsys.readouterr().out
    assert f"2 of 2 are in {share}" in printed and f"COURSE_DOWNLOADS={share}" in printed
    before = {path: path.stat().st_mtime_ns for path in share.rglob("*")}
    assert not (share / store.PARTIAL).exists()
    monkeypatch.setenv("COURSE_DOWNLOADS", str(share))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("no network in the classroom"))
    world.server.asked.clear()
    for path in share.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert transfer.ensure("tiny") == share / "tiny" and transfer.ensure("data") == share / "data"
    assert world.server.asked == [] and {path: path.stat().st_mtime_ns for path in share.rglob("*")} == before
    for path in share.rglob("*"):
        path.chmod(0o755)


def test_a_classroom_folder_that_is_not_there_is_a_sentence(world, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DOWNLOADS", str(tmp_path / "unplugged"))
    with pytest.raises(CourseError, match="COURSE_DOWNLOADS names .*unplugged, which is no folder: connect the drive"):
        transfer.ensure("tiny")
    assert world.server.asked == []


def test_a_damaged_classroom_folder_is_not_used_and_its_lock_still_binds(world, tmp_path, monkeypatch):
    share = tmp_path / "share"
    transfer.fetch("tiny", share)
    (share / "tiny" / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"!")
    monkeypatch.setenv("COURSE_DOWNLOADS", str(share))
    assert transfer.ensure("tiny") == world.place / "tiny" and world.bad() == []
    assert (share / "tiny" / "model.safetensors").read_bytes().endswith(b"!"), "the share is only read"
    shutil.rmtree(world.place)
    world.server.files["/somebody/tiny/resolve/main/model.safetensors"] = b"changed " * 4000
    with pytest.raises(CourseError, match="is not the one that was locked"):
        transfer.ensure("tiny")


def test_the_command_says_one_line_for_each_item_and_goes_on_after_a_failure(world, monkeypatch, capsys):
    monkeypatch.setattr(command, "of_lessons", lambda _: ("data", "tiny"))
    world.server.faults["/b.txt"] = "404"
    assert command.fetch() == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: data (is small) (1 MB) could not be downloaded: b.txt on 127.0.0.1 is not there")
    assert said.err.count("\n") == 1
    assert said.out.splitlines()[0].startswith("downloaded  tiny") and "verified, commit 111111111111" in said.out
    assert said.out.splitlines()[-1] == f"1 of 2 are in {world.place}"
    world.server.faults.clear()
    assert command.fetch() == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["downloaded", "here", "2"]


def test_the_command_sweeps_what_killed_downloads_have_left(world, monkeypatch, capsys):
    monkeypatch.setattr(command, "of_lessons", lambda _: ("tiny",))
    transfer.ensure("data")
    for name in ("data", "of an older course"):
        (world.place / store.PARTIAL / name).mkdir(parents=True, exist_ok=True)
        (world.place / store.PARTIAL / name / "half").write_bytes(b"x" * 2_000_000)
    assert command.fetch() == 0
    assert capsys.readouterr().out.startswith("removed 4 MB that an interrupted download had left\n") and world.partial() == []


def test_the_command_chooses_by_lesson_and_lists(capsys):
    assert command.of_lessons(["14"]) == ("entailment", "gpt") and command.of_lessons(["2", "05"]) == tuple(
        name for name in registry.names() if name in ("VGG16", "ResNet50", "InceptionV3", "DenseNet121"))
    assert command.of_lessons([]) == registry.names()
    with pytest.raises(ValueError, match="there is no lesson '77'"):
        command.of_lessons(["77"])
    assert command.fetch(["14"], only_list=True) == 0
    printed = capsys.readouterr().out
    assert "cross-encoder/nli-MiniLM2-L6-H768 at b95119ce93d3" in printed and printed.endswith("together 880 MB\n")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CourseError, match="cannot be written .*: choose another folder"):
        command.fetch((), tmp_path / "file" / "share")


def test_the_command_line_knows_it(world, monkeypatch):
    from helpers import __main__ as command_line
    from helpers import environment

    calls = []
    monkeypatch.setattr(environment, "ensure", lambda *_, **__: True)
    monkeypatch.setattr(command, "fetch", lambda *arguments: calls.append(arguments) or 0)
    assert [command_line.main(line.split()) for line in ("fetch", "fetch 14 3 --to share", "fetch --list")] == [0, 0, 0]
    assert calls == [([], None, False), (["14", "3"], Path("share"), False), ([], None, True)]


# --- the registry itself


def test_the_registry_is_filled_in():
    import re

    lessons = [path.name[:2] for path in (config.ROOT / "lessons").glob("[0-9][0-9]_*.ipynb")]
    for name, entry in registry.MODELS.items():
        assert re.fullmatch(r"[\w-]+/[\w.-]+", entry.repository) and re.fullmatch(r"main|[0-9a-f]{40}", entry.revision), name
        assert re.fullmatch(r"[0-9a-f]{64}|", entry.sha256) and entry.licence in ("MIT", "Apache-2.0") and 10 < entry.megabytes < 1000
    for name, entry in registry.FILES.items():
        for file in entry.files:
            assert file.url.startswith("https://") and re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.digest), name
            assert Path(file.name).name == file.name
    for name in registry.names():
        entry = registry.item(name)
        assert entry.lessons and set(entry.lessons) <= set(lessons) and entry.purpose and entry.licence
    assert not set(registry.MODELS) & set(registry.FILES)


def test_the_hashes_are_those_that_the_keras_package_itself_compares():
    code = """
import json, keras
from keras.src.utils import file_utils
asked = {}
for name in ("VGG16", "ResNet50", "InceptionV3", "DenseNet121"):
    def stop(fname, origin, **about):
        asked[name] = [origin, about.get("file_hash") or about.get("md5_hash")]
        raise InterruptedError
    file_utils.get_file = stop
    try:
        getattr(keras.applications, name)(weights="imagenet", include_top=False, input_shape=(96, 96, 3))
    except InterruptedError:
        pass
print(json.dumps(asked))
"""
    surroundings = {**os.environ, "KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=surroundings, timeout=200)
    asked = json.loads(done.stdout.splitlines()[-1])
    assert asked == {name: [registry.FILES[name].files[0].url, registry.FILES[name].files[0].digest.removeprefix("md5:")] for name in asked}
    assert len(asked) == 4


MIRRORS = {"COURSE_TEST_REVIEWS": "sst2", "COURSE_TEST_RECORDINGS": "free_spoken_digits"}


@pytest.mark.parametrize(("variable", "name"), MIRRORS.items())
def test_the_publishers_files_match_the_registry(variable, name):
    if variable not in os.environ:
        pytest.skip(f"{variable} names no folder with the publisher's files")
    for file in registry.FILES[name].files:
        content = (Path(os.environ[variable]) / file.name).read_bytes()
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == file.digest, file.name


def test_two_processes_want_the_same(world):
    file = registry.FILES["data"].files[0]
    processes = [subprocess.Popen([sys.executable, "-c", FETCHES, file.url, file.digest], cwd=config.ROOT) for _ in range(2)]
    try:
        assert [process.wait(60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            with contextlib.suppress(OSError):
                process.kill()
    assert world.server.asked.count("/a.bin") == 1 and world.bad() == [] and world.partial() == []
