"""Reading what learners bring (and refusing what is unusable, with a sentence), looking, splitting, judging, keeping a model."""
from __future__ import annotations

import importlib.util
import io
import json
import os
import stat
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from helpers import capstone, config
from helpers.capstone import archive, judge, models
from helpers.capstone.reading import Project
from helpers.errors import CourseError

RNG = np.random.default_rng(0)


def save_images(folder: Path, classes=("cat", "dog"), each=3, side=40) -> Path:
    for kind in classes:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            Image.fromarray(RNG.integers(0, 255, (side, side, 3), np.uint8)).save(folder / kind / f"{kind}{number % 2}_{number}.png")
    return folder


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def toy(labels, groups, items=None, kind="images") -> Project:
    labels, groups = np.asarray(labels), np.asarray(groups)
    items = RNG.integers(0, 255, (len(labels), 32, 32, 3), np.uint8) if items is None else items
    names = tuple(f"class {label}" for label in range(labels.max() + 1))
    item_names = np.array([f"item {number}" for number in range(len(labels))])
    return Project(kind, items, labels, names, groups, tuple(map(str, np.unique(groups))), item_names)


# --- images ---


def test_a_folder_of_images(tmp_path):
    folder = save_images(tmp_path / "pets")
    write(folder / "cat" / "broken_1.png", b"not a picture")
    write(folder / "cat" / ".hidden.png", b"")
    write(folder / "cat" / "notes.txt", "no image")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "loose.png")
    project = capstone.read(folder, group=r"(.+)_\d+")
    assert project.kind == "images" and project.items.shape == (6, 64, 64, 3) and project.items.dtype == np.uint8
    assert project.class_names == ("cat", "dog") and project.group_names == ("cat0", "cat1", "dog0", "dog1")
    assert [project.group_names[group] for group in project.groups[:3]] == ["cat0", "cat0", "cat1"]
    assert project.names[0] == "cat/cat0_0.png"
    assert [line.split(":")[0] for line in project.skipped] == ["loose.png", "cat/broken_1.png", "cat/notes.txt"]
    assert len(set(capstone.read(folder, side=96).groups.tolist())) == 6


@pytest.mark.parametrize("make, words", [
    (lambda folder: folder.mkdir(), "holds no images"),
    (lambda folder: save_images(folder, ("cat",)), "one class only ('cat')"),
    (lambda folder: [save_images(folder), Image.new("L", (9, 9)).save(folder / "cat" / "x.png")], "x.png has no group by the pattern"),
    (lambda folder: [save_images(folder, each=1)], "the class 'cat' has one item"),
    (lambda folder: [save_images(folder)] + [write(folder / "cat" / f"c_{n}.jpg", b"no") for n in range(9)], "9 of 15 images cannot"),
    (lambda folder: [folder.mkdir(), Image.new("L", (9, 9)).save(folder / "a.png")], "1 images lie side by side"),
    (lambda folder: [save_images(folder), Image.new("L", (9, 9)).save(folder / "cat" / "x.png")], "or leave group out"),
    (lambda folder: [save_images(folder / part) for part in ("train", "test")], "the folders train, test look like a split, not like"),
    (lambda folder: [save_images(folder / part) for part in ("Valid", "training")], "or give the path of training"),
    (lambda folder: [save_images(folder, ("cat",)), (folder / "dog").mkdir(), write(folder / "dog" / "1.heic", b"x")],
     "('cat'), because no image in dog can be read"),
    (lambda folder: [save_images(folder, ("images",)), write(folder / "labels.csv", "file,label\n"),
                     (folder / "images" / ".ipynb_checkpoints").mkdir()], "one folder of images is expected"),
    (lambda folder: [save_images(folder, ("Cat", "cat"))], "the classes 'Cat' and 'cat' differ only in case or spaces"),
])
def test_a_folder_that_cannot_be_used(tmp_path, make, words):
    make(tmp_path / "pets")
    with pytest.raises(CourseError) as caught:
        capstone.read(tmp_path / "pets", group=r"(.+)_\d+")
    assert words in str(caught.value), str(caught.value)


def test_what_is_left_out_is_named_and_what_is_hidden_is_not(tmp_path):
    folder = save_images(tmp_path / "data" / "pets")
    for name in ("cat/1.HEIC", "cat/2.heic", "dog/notes.txt", "labels.csv", "../readme.md"):
        write(folder / name, b"x")
    for name in ("bird", "__MACOSX/cat", ".ipynb_checkpoints", "cat/.ipynb_checkpoints"):
        (folder / name).mkdir(parents=True)
    for name in (".DS_Store", "__MACOSX/cat/1.png", ".ipynb_checkpoints/1.png", "cat/.ipynb_checkpoints/1.png", "cat/._1.png"):
        write(folder / name, b"x")
    (tmp_path / "data" / "__MACOSX").mkdir()
    why = "of a kind that is not read (save images as PNG or JPEG)"
    assert capstone.read(tmp_path / "data").skipped == (
        "readme.md: beside the data, not read", f"cat/*.heic: 2 files, {why}", f"dog/notes.txt: {why}", f"labels.csv: {why}",
        "bird: a folder without an image that can be read",
    )


def test_groups_may_be_folders(tmp_path):
    folder = tmp_path / "pets"
    for kind, name in (("cat", "anna"), ("cat", "ben"), ("dog", "anna")):
        save_images(folder / kind, (name,), each=2)
    for pattern in ("(.+)/", r"^(\w+)/\w+\.png$"):
        project = capstone.read(folder, group=pattern)
        assert project.group_names == ("anna", "ben") and project.groups.tolist() == [0, 0, 1, 1, 0, 0]
    flat = save_images(tmp_path / "flat")
    for pattern in (r"(.+)_\d+", r"^([a-z]+\d)_\d$"):  # the ending of the file is not in the way of a $
        assert capstone.read(flat, group=pattern).group_names == ("cat0", "cat1", "dog0", "dog1")


def test_patterns_sizes_and_paths_that_cannot_be_used(tmp_path, monkeypatch):
    folder = save_images(tmp_path / "pets")
    for pattern, words in (("(", "no regular expression"), (r".+_", "has no bracket")):
        with pytest.raises(CourseError, match=words):
            capstone.read(folder, group=pattern)
    with pytest.raises(ValueError, match="side is 32"):
        capstone.read(folder, side=32)
    with pytest.raises(CourseError, match="there is nothing at"):
        capstone.read(tmp_path / "missing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CourseError) as caught:
        capstone.read("missing")
    assert f"there is nothing at {Path.cwd() / 'missing'}:" in str(caught.value)
    with pytest.raises(CourseError, match="neither a folder nor a table"):
        capstone.read(write(tmp_path / "data.xlsx", b"PK"))


def test_an_image_of_absurd_size_is_left_out(tmp_path, monkeypatch):
    folder = save_images(tmp_path / "pets")
    Image.new("RGB", (100, 100)).save(folder / "cat" / "large_1.png")
    monkeypatch.setattr("helpers.capstone.reading.MOST_PIXELS", 5000)
    project = capstone.read(folder)
    assert len(project.labels) == 6 and "100 x 100 pixels" in project.skipped[0]


# --- tables ---

TABLE = "text,label,author\nA fine day indeed,good,ann\n\"Well, hardly\",bad,ben\nNice enough,good,ben\nAwful,bad,ann\n"


@pytest.mark.parametrize("name, content", [
    ("t.csv", TABLE), ("t.csv", "\ufeff" + TABLE), ("t.csv", TABLE.replace('"Well, hardly"', "Well. hardly").replace(",", ";").replace(
        "Well.", "Well,")), ("t.tsv", TABLE.replace('"Well, hardly"', "Well; hardly").replace(",", "\t")),
    ("t.jsonl", "\n".join(json.dumps(dict(zip(["text", "label", "author"], row, strict=True))) for row in (
        ["A fine day indeed", "good", "ann"], ["Well, hardly", "bad", "ben"], ["Nice enough", "good", "ben"], ["Awful", "bad", "ann"]))),
])
def test_a_table_of_texts(tmp_path, name, content):
    project = capstone.read(write(tmp_path / name, content), group="author")
    assert project.kind == "texts" and project.items[0] == "A fine day indeed" and len(project.items) == 4
    assert project.class_names == ("bad", "good") and project.labels.tolist() == [1, 0, 1, 0]
    assert project.group_names == ("ann", "ben") and project.groups.tolist() == [0, 1, 1, 0]
    assert project.names[0] == "row 2" and project.skipped == ()


def test_rows_without_text_or_label_are_left_out_and_named(tmp_path):
    project = capstone.read(write(tmp_path / "t.csv", TABLE + " ,good,ann\nMore,,ben\nShort\n"))
    assert len(project.items) == 4 and [line.split(":")[0] for line in project.skipped] == ["row 6", "row 7", "row 8"]
    assert len(np.unique(project.groups)) == 4  # without a group, each row is one


@pytest.mark.parametrize("content, options, words", [
    ("", {}, "is empty"),
    ("text,label\n", {}, "has a head and no rows"),
    (TABLE, {"text": "review"}, "no column 'review' for the text: choose one of 'text', 'label', 'author'"),
    (TABLE, {"label": "stars"}, "no column 'stars' for the label"),
    (TABLE, {"group": "patient"}, "no column 'patient' for the group"),
    (TABLE.replace("bad", "good"), {}, "one class only ('good')"),
    ("text,label\n,\n,x\n", {}, "no row of t.csv has a text and a label"),
    ("text,label\n1.5,a\n2,b\n-3e4,a\n7,b\n", {}, "holds numbers (such as '1.5')"),
    (TABLE + "One more,4,ann\n", {}, "mixes numbers and words ('4' and 'good'; look at row 6)"),
    ("text,label\n" + "".join(f"text no {n},{n / 7:.4f}\n" for n in range(60)), {}, "60 different labels in 60 rows"),
    (TABLE + "a,b,c,d,e\n", {}, "cannot be read as a table"),
    ("text,label\nx,good,extra\ny,bad,extra\n", {}, "cannot be read as a table"),
    ("text,label\nsch\xf6n,good\n".encode("latin-1"), {}, "is not UTF-8"),
    ("text,label\n\U0001f600,good\n\U0001f620,bad\n\U0001f600 !,good\n", {}, "3 of 3 texts of t.csv hold no word"),
    (TABLE.replace("enough,good", "enough,Good"), {}, "the classes 'Good' and 'good' differ only in case or spaces"),
    ("text,label\nonly one,rare\nx y,good\nz w,good\n", {}, "the class 'rare' has one item"),
])
def test_a_table_that_cannot_be_used(tmp_path, content, options, words):
    with pytest.raises(CourseError) as caught:
        capstone.read(write(tmp_path / "t.csv", content), **options)
    assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize("content, words", [
    ("{", "cannot be read as a table"), ('{"text": ["a"], "label": "x"}\n', "lists or objects"), ("", "no column 'text'"),
])
def test_json_lines_that_cannot_be_used(tmp_path, content, words):
    with pytest.raises(CourseError, match=words):
        capstone.read(write(tmp_path / "t.jsonl", content))


# --- zips ---


def zipped(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return path


def test_zips_of_images_and_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    folder = save_images(tmp_path / "pets")
    members = {f"outer/pets/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*.png")}
    path = zipped(tmp_path / "pets.zip", members | {"__MACOSX/outer/._x.png": b"", "outer/.DS_Store": b""})
    project = capstone.read(path, group=r"(.+)_\d+")
    assert project.items.shape[0] == 6 and project.class_names == ("cat", "dog")
    assert np.array_equal(project.items, capstone.read(folder).items)
    assert capstone.unpack(path) == capstone.unpack(path)  # unpacked once
    table = capstone.read(zipped(tmp_path / "t.zip", {"t.csv": TABLE, "readme.txt": "hello"}))
    assert len(table.items) == 4
    with pytest.raises(CourseError, match="there are 2 tables"):
        capstone.read(zipped(tmp_path / "two.zip", {"a.csv": TABLE, "b.csv": TABLE}))


def test_messages_about_a_zip_name_the_file_that_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    inner = zipped(tmp_path / "inner.zip", {"t.csv": TABLE})
    with pytest.raises(CourseError, match=r"^outer.zip holds a zip \(inner.zip\) and no other data"):
        capstone.read(zipped(tmp_path / "outer.zip", {"stuff/inner.zip": inner.read_bytes()}))
    with pytest.raises(CourseError, match="^notes.zip holds no images"):
        capstone.read(zipped(tmp_path / "notes.zip", {"a.txt": "x", "b.txt": "y"}))


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:/evil.txt", "..\\evil.txt", "a\\..\\..\\evil.txt"])
def test_no_file_of_a_zip_lands_outside(tmp_path, name):
    path = zipped(tmp_path / "evil.zip", {"good.txt": "x", name: "evil"})
    target = tmp_path / "deep" / "down" / "here"
    with pytest.raises(CourseError, match="leads out of its folder"):
        capstone.unpack(path, target)
    assert not target.exists() and not list(tmp_path.rglob("evil.txt")) and not list(tmp_path.rglob("good.txt"))


def test_links_in_a_zip_are_refused(tmp_path):
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as packed:
        info = zipfile.ZipInfo("passwords")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(CourseError, match="a link or a device"):
        capstone.unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_bomb_is_stopped_whatever_it_says_about_its_size(tmp_path):
    path = zipped(tmp_path / "bomb.zip", {"zeros": bytes(30_000_000)})
    with pytest.raises(CourseError, match="becomes far larger than it is"):
        capstone.unpack(path, tmp_path / "out")
    data = bytearray(path.read_bytes())
    for marker, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # the sizes in both headers: a lie
        place = data.index(marker) + offset
        data[place : place + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(CourseError):
        capstone.unpack(write(tmp_path / "liar.zip", bytes(data)), tmp_path / "out")
    with pytest.raises(CourseError, match="becomes far larger"):
        capstone.unpack(zipped(tmp_path / "many.zip", {f"{n}": os.urandom(4000) for n in range(30)}), tmp_path / "out", total_bytes=50_000)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bomb.zip", "liar.zip", "many.zip"]


def test_other_zips_that_cannot_be_used(tmp_path, monkeypatch):
    good = zipped(tmp_path / "good.zip", {"a.txt": "hello " * 100})
    cases = {"is not a zip or is damaged": write(tmp_path / "no.zip", b"hello"), "there is no file": tmp_path / "none.zip"}
    cases["holds no files"] = zipped(tmp_path / "empty.zip", {"__MACOSX/x": b"", "folder/": b""})
    broken = bytearray(good.read_bytes())
    broken[40] ^= 255
    cases["damaged"] = write(tmp_path / "broken.zip", bytes(broken))
    locked = bytearray(good.read_bytes())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    cases["locked with a password"] = write(tmp_path / "locked.zip", bytes(locked))
    for words, path in cases.items():
        with pytest.raises(CourseError, match=words):
            capstone.unpack(path, tmp_path / "out")
        assert not (tmp_path / "out").exists(), words
    monkeypatch.setattr(archive, "MEMBERS", 0)
    with pytest.raises(CourseError, match="more than 0 files"):
        capstone.unpack(good, tmp_path / "out")
    (tmp_path / "full").mkdir()
    write(tmp_path / "full" / "x", "x")
    with pytest.raises(CourseError, match="is not empty"):
        capstone.unpack(good, tmp_path / "full")


# --- Kaggle ---


def test_kaggle_without_profile_handle_client_or_token(monkeypatch, tmp_path):
    with pytest.raises(CourseError, match="set COURSE_PROFILE=full"):
        capstone.read("kaggle:ann/pets")
    monkeypatch.setenv("COURSE_PROFILE", "full")
    for handle in ("pets", "ann/pets/more", "../x", "https://kaggle.com/x/y"):
        with pytest.raises(CourseError, match="is no Kaggle data set"):
            capstone.fetch_kaggle(handle)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(CourseError, match="pip install kagglehub"):
            capstone.fetch_kaggle("ann/pets")
    pytest.importorskip("kagglehub")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CourseError, match="there is no Kaggle token"):
        capstone.fetch_kaggle("ann/pets")
    write(tmp_path / "kaggle.json", "{")
    with pytest.raises(CourseError, match="kaggle.json with your Kaggle token is damaged"):
        capstone.fetch_kaggle("ann/pets")


class Kaggle(BaseHTTPRequestHandler):
    """As much of Kaggle as kagglehub asks for: the version of a data set, and its archive."""

    status, content = 200, b""

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer()

    def answer(self):
        download = "download" in self.path.lower()
        body = type(self).content if download else json.dumps({"currentVersionNumber": 1}).encode()
        self.send_response(type(self).status)
        self.send_header("Content-Type", "application/zip" if download else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    pytest.importorskip("kagglehub")
    server = HTTPServer(("127.0.0.1", 0), Kaggle)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in {"COURSE_PROFILE": "full", "KAGGLE_USERNAME": "ann", "KAGGLE_KEY": "secret-key", "HOME": str(tmp_path),
                        "KAGGLEHUB_CACHE": str(tmp_path / "hub"), "KAGGLEHUB_VERBOSITY": "error"}.items():
        monkeypatch.setenv(name, value)
    from kagglesdk import kaggle_env

    for name in list(kaggle_env._env_to_endpoint):  # no setting of the client leads to another server
        monkeypatch.setitem(kaggle_env._env_to_endpoint, name, f"http://127.0.0.1:{server.server_port}")
    yield Kaggle
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_kaggle_data_set_comes_through_the_official_client(kaggle, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("reviews.csv", TABLE)
    kaggle.status, kaggle.content = 200, buffer.getvalue()
    project = capstone.read("kaggle:ann/reviews", group="author")
    assert len(project.items) == 4 and project.group_names == ("ann", "ben")


@pytest.mark.parametrize("status, words", [(403, "refuses the token"), (404, "knows no such data set"), (500, "answers with an error")])
def test_what_kaggle_refuses_is_one_sentence_without_the_token(kaggle, status, words):
    kaggle.status = status
    with pytest.raises(CourseError, match=words) as caught:
        capstone.fetch_kaggle("ann/reviews")
    assert "secret-key" not in str(caught.value) and "the zip by hand" in str(caught.value)


# --- cases ---


@pytest.mark.parametrize("name", capstone.CASES)
def test_every_case_is_read_and_all_that_was_planted_is_found(name, tmp_path):
    path, planted = capstone.write_case(name, tmp_path)
    project = capstone.read(path, group=capstone.CASES[name].group)
    assert {line.split(":")[0] for line in project.skipped} == set(planted.broken)
    findings = capstone.look(project)
    place = {name: number for number, name in enumerate(project.names)}
    pairs, conflicts = ({frozenset(pair) for pair in found.tolist()} for found in (findings.copies, findings.conflicts))
    for first, second in (*planted.copies, *planted.near, *planted.conflicts):
        assert frozenset((place[first], place[second])) in pairs
    assert all(frozenset((place[first], place[second])) in conflicts for first, second in planted.conflicts)
    data = capstone.clean(project, findings)
    assert len(data.labels) < len(project.labels) and not len(capstone.look(data).conflicts)
    train, test = capstone.split(data)
    assert not any(len(found) for found in capstone.leaks(data, train, test).values())
    assert 0.3 < len(test) / len(data.labels) < 0.5
    with pytest.raises(ValueError, match="is there already"):
        capstone.write_case(name, tmp_path)


def test_an_unknown_case(tmp_path):
    with pytest.raises(CourseError, match="choose one of photographs, faces, log messages, spoken digits"):
        capstone.write_case("cats", tmp_path)


def test_the_stored_walks_are_complete():
    walks = capstone.stored_walks()
    assert [walk["case"] for walk in walks] == list(capstone.CASES)
    assert all({"baseline", "source", "test", "test, gain over baseline", "fine-tune"} <= set(walk) for walk in walks)


# --- look and split ---


def test_copies_whatever_the_brightness_and_none_of_one_colour():
    images = RNG.integers(40, 200, (6, 48, 48, 3)).astype(np.uint8)
    images[3] = images[0] * 0.5 + 60
    images[1] = 255 - images[0]  # a negative is no copy
    images[4] = images[5] = 128
    project = toy([0, 1, 0, 1, 0, 0], [0, 1, 2, 3, 4, 5], images)
    assert capstone.copies(project).tolist() == [[0, 3]]
    findings = capstone.look(project)
    assert findings.conflicts.tolist() == [[0, 3]] and findings.imbalance == 2 and len(findings.across) == 0
    assert capstone.clean(project, findings).names.tolist() == ["item 1", "item 2", "item 4", "item 5"]
    with pytest.raises(ValueError, match="alike is 0"):
        capstone.copies(project, 0)


def test_of_a_chain_of_copies_the_first_stays():
    texts = np.array(["the disk is full", "The disk is full!", "THE DISK IS FULL", "another message here", "one more of them"], object)
    project = toy([0, 0, 0, 1, 1], [0, 1, 1, 2, 3], texts, "texts")
    findings = capstone.look(project)
    assert findings.copies.tolist() == [[0, 1], [0, 2], [1, 2]] and findings.across.tolist() == [[0, 1], [0, 2]]
    assert capstone.clean(project, findings).names.tolist() == ["item 0", "item 3", "item 4"]


def test_after_cleaning_nothing_is_found():
    # Dropping short reviews changes how rare each word is, so that new pairs come up: 41, 3, 1, none.
    rng = np.random.default_rng(4)
    words = (["soup", "film", "room", "staff"], ["was"], ["really", "quite", "not"], ["good", "bad", "fine", "slow", "nice"],
             ["", "today", "again", "here", "now"])
    texts = ["the " + " ".join(str(rng.choice(choice)) for choice in words) for _ in range(120)]
    project = toy(rng.integers(0, 2, 120), np.arange(120), np.array(texts, object), "texts")
    findings = capstone.look(project)
    cleaned = capstone.clean(project, findings)
    again = capstone.look(cleaned)
    assert len(findings.conflicts) and len(cleaned.labels) > 50 and not len(again.copies) and not len(again.conflicts)


def test_short_texts_want_a_higher_threshold():
    texts = np.array(["the red light is on", "the red light is on now", "the door is open", "a fan turns"], object)
    project = toy([0, 1, 0, 1], np.arange(4), texts, "texts")
    assert capstone.look(project).conflicts.tolist() == [[0, 1]]
    findings = capstone.look(project, alike=0.95)
    assert findings.alike == 0.95 and len(capstone.clean(project, findings).labels) == 4
    project.items[3] = project.items[2] + "!"  # one true pair, so that there is a second look: at the same threshold
    cleaned = capstone.clean(project, capstone.look(project, alike=0.95)._replace(conflicts=np.zeros((0, 2), int)))
    assert cleaned.names.tolist() == ["item 0", "item 1", "item 2"]


@pytest.mark.parametrize("labels, texts, dropped", [([0, 0, 1, 1], ["one and two"] * 4, 4),
                                                    ([0, 1, 1, 1], ["one and two", "one and two", "three", "four"], 2)])
def test_cleaning_that_leaves_a_class_empty_and_texts_without_words(labels, texts, dropped):
    project = toy(labels, np.arange(4), np.array(texts, object), "texts")
    with pytest.raises(CourseError, match=f"^{dropped} of 4 items are copies or contradictions, and the class 'class 0' is left empty"):
        capstone.clean(project, capstone.look(project))
    project.items[:] = "!"
    with pytest.raises(CourseError, match="none of the texts holds a word"):
        capstone.look(project)


def test_splits_keep_groups_whole_and_leaks_are_found():
    labels, groups = np.tile([0, 1, 2], 40), np.repeat(np.arange(20), 6)
    project = toy(labels, groups)
    train, test = capstone.split(project, seed=3)
    assert not set(groups[train]) & set(groups[test]) and len(train) + len(test) == 120
    assert np.array_equal(test, capstone.split(project, seed=3)[1]) and not np.array_equal(test, capstone.split(project, seed=4)[1])
    found = capstone.leaks(project, np.arange(3), np.array([4, 30]))
    assert found["groups"].tolist() == [4] and not len(found["copies"])
    project.items[30] = project.items[1]
    assert capstone.leaks(project, np.arange(3), np.array([4, 30]))["copies"].tolist() == [30]
    with pytest.raises(ValueError, match="1 items are on both sides"):
        capstone.leaks(project, np.arange(3), np.array([2, 30]))


@pytest.mark.parametrize("labels, groups, words", [
    ([0, 1] * 10, [0] * 10 + [1] * 10, "there are 2 groups for 5 parts"),
    ([0, 1] * 10, [0] * 20, "there is 1 group for 5 parts"),
    ([0, 1] * 4, list(range(8)), "no class has 5 items for 5 parts"),
    ([0] * 9 + [1] + [0] * 10, list(range(20)), r"the class 'class 1' is missing on the .* \(its items come from 1 group\)"),
])
def test_splits_that_cannot_be_made(labels, groups, words):
    with pytest.raises(CourseError, match=words):
        capstone.split(toy(labels, groups))
    with pytest.raises(ValueError, match="test_parts is 5"):
        capstone.split(toy(labels, groups), test_parts=5)


# --- judge ---


@pytest.mark.parametrize("n, right", [(400, 320), (3000, 2990), (1000, 500)])
def test_independent_items_give_wilsons_interval(n, right):
    found = capstone.estimate(np.arange(n) < right)
    assert np.allclose((found.low, found.high), binomtest(right, n).proportion_ci(method="wilson"), atol=1e-3) and found.groups == n
    assert found.value == right / n and abs(found.effective - n) < 0.01 * n


def test_groups_that_agree_count_as_one_item_each():
    correct = np.repeat(RNG.random(40) < 0.7, 10)
    grouped, single = capstone.estimate(correct, np.repeat(np.arange(40), 10)), capstone.estimate(correct[::10])
    assert np.allclose((grouped.low, grouped.high), (single.low, single.high)) and round(grouped.effective) in (39, 40)


@pytest.mark.parametrize("count, each, spread", [(20, 10, 4), (30, 5, 10), (12, 30, 6)])
def test_the_interval_holds_the_truth_as_often_as_it_promises(count, each, spread):
    rng, groups, held = np.random.default_rng(1), np.repeat(np.arange(count), each), []
    for _ in range(600):
        found = capstone.estimate(rng.random(count * each) < rng.beta(0.8 * spread, 0.2 * spread, count)[groups], groups)
        held.append(found.low <= 0.8 <= found.high)
    assert 0.915 < np.mean(held) < 0.985


def test_weights_make_it_the_balanced_accuracy():
    labels, predicted = RNG.choice(3, 300, p=[0.7, 0.2, 0.1]), RNG.integers(0, 3, 300)
    weights = judge.class_weights(labels)
    found = capstone.estimate(predicted == labels, RNG.integers(0, 30, 300), weights)
    assert np.isclose(found.value, balanced_accuracy_score(labels, predicted)) and np.isclose(weights.mean(), 1)


def test_all_right_leaves_doubt_and_a_gain_is_paired():
    everything = capstone.estimate(np.ones(60, bool), np.repeat(np.arange(15), 4))
    assert everything.high == 1 and 0.7 < everything.low < 0.85 and everything.effective == 15
    groups, hard = np.repeat(np.arange(25), 8), RNG.random(200)
    first, second = hard < 0.8, hard < 0.7  # on the same items, so nearly all luck cancels
    found = capstone.gain(first, second, groups)
    assert found.low > 0 and found.high - found.low < 0.12 and np.isclose(found.value, first.mean() - second.mean())


@pytest.mark.parametrize("count", [5, 25, 200])
def test_no_difference_in_some_groups_is_not_none_in_all(count):
    groups, first = np.repeat(np.arange(count), 8), RNG.random(8 * count) < 0.7
    same = capstone.gain(first, first, groups)
    bound = binomtest(0, count).proportion_ci(method="exact").high
    assert same.value == 0 and np.isclose(same.high, bound) and np.isclose(same.low, -bound)
    always = capstone.gain(np.ones(8 * count, bool), np.zeros(8 * count, bool), groups)
    assert always.value == always.high == 1 and np.isclose(always.low, 1 - bound)


@pytest.mark.parametrize("call, words", [
    (lambda: capstone.estimate([True]), "two or more test items"),
    (lambda: capstone.estimate([True, float("nan")]), "finite"),
    (lambda: capstone.estimate([0.5, 1]), "something else than True and False"),
    (lambda: capstone.estimate([True, False], [0, 0]), "all test items are of one group"),
    (lambda: capstone.estimate([True, False], [0, 1, 2]), "3 groups"),
    (lambda: capstone.estimate([True, False], level=95), "level is 95"),
    (lambda: capstone.gain([True, False], [True]), "compare two models on the same items"),
])
def test_judging_refuses(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_envelope_opens_once():
    envelope = capstone.Sealed(np.array([0, 1, 1]), np.array([5, 5, 6]))
    assert len(envelope) == 3
    for wrong in ({}, {"a": np.zeros(2)}):
        with pytest.raises(ValueError, match="for 3 test items"):
            envelope.open(**wrong)
    found = envelope.open(a=np.array([0, 1, 0]), b=[0, 0, 0])
    assert found["a"].tolist() == [True, True, False] and found["b"].tolist() == [True, False, False] and found["groups"][2] == 6
    with pytest.raises(CourseError, match="has been opened before"):
        envelope.open(a=np.array([0, 1, 1]))


# --- models ---

IMAGES = toy(np.tile([0, 1, 2], 12), np.repeat(np.arange(12), 3), (RNG.integers(0, 255, (36, 64, 64, 3)) // 2).astype(np.uint8))
IMAGES.items[IMAGES.labels == 1, :32] += 100
IMAGES.items[IMAGES.labels == 2, :, :32] += 100
WORDS = {0: "the server could not be reached", 1: "a new file was written", 2: "this option is deprecated"}
SENTENCES = np.array([f"{WORDS[label]} number {number}" for number, label in enumerate(IMAGES.labels)], object)
TEXTS = toy(IMAGES.labels, IMAGES.groups, SENTENCES, "texts")


@pytest.mark.parametrize("project", [IMAGES, TEXTS], ids=["images", "texts"])
def test_every_recipe_learns_is_saved_and_gives_the_same_answers_after_loading(project, tmp_path):
    for name, recipe in capstone.recipes(project.kind).items():
        rows = models.inputs(recipe, project.items)
        model = capstone.fit(recipe, rows, project.labels, project.class_names)
        probabilities = model.probabilities(rows)
        assert probabilities.shape == (36, 3) and np.allclose(probabilities.sum(1), 1, atol=1e-5), name
        assert (model.predict(rows) == project.labels).mean() > (0.5 if recipe.control else 0.9), name
        if recipe.control:
            continue
        folder = capstone.save_model(model, tmp_path / name)
        loaded = capstone.load_model(folder)
        assert loaded.class_names == project.class_names and loaded.recipe == recipe
        assert np.allclose(loaded.classify(project.items), probabilities, atol=1e-3), name
        assert not any(b"\x80\x04" in file.read_bytes()[:4] for file in folder.iterdir())  # no pickle


@pytest.mark.parametrize("items", [IMAGES.items[:6], SENTENCES[:6]], ids=["images", "texts"])
def test_fine_tuning_counts_all_classes_alike_whatever_their_sizes(items):
    # Each item occurs nine times as the first class and once as the second: whoever weighs neither class must say one half.
    recipe = next(recipe for recipe in capstone.recipes("images" if items.ndim == 4 else "texts").values() if recipe.tuned)
    rows = models.inputs(recipe, items[np.arange(60) % 6])
    probabilities = capstone.fit(recipe, rows, np.repeat([0, 1], [54, 6]), ("often", "rare"), rate=1e-3).probabilities(rows)
    assert np.allclose(probabilities.mean(0), 0.5, atol=0.06), probabilities.mean(0)


def test_two_classes_are_saved_too(tmp_path):
    two = TEXTS.take(TEXTS.labels < 2)
    recipe = capstone.recipes("texts")["word counts"]
    model = capstone.fit(recipe, two.items, two.labels, two.class_names[:2])
    loaded = capstone.load_model(capstone.save_model(model, tmp_path / "m"))
    assert np.allclose(loaded.classify(two.items), model.classify(two.items))
    with pytest.raises(CourseError, match="holds a model already"):
        capstone.save_model(model, tmp_path / "m")
    content = (tmp_path / "m" / "model.safetensors").read_bytes()
    contract = (tmp_path / "m" / "contract.json").read_text(encoding="utf-8")
    other = contract.replace('"backbone": ""', '"backbone": "x"').encode()
    for file, text, words in (
        ("model.safetensors", bytes([*content[:-1], content[-1] ^ 1]), "is not the file that was saved"),
        ("contract.json", b"{", "is damaged"), ("contract.json", other, "other pretrained weights"),
    ):  # fmt: skip
        before = (tmp_path / "m" / file).read_bytes()
        write(tmp_path / "m" / file, text)
        with pytest.raises(CourseError, match=words):
            capstone.load_model(tmp_path / "m")
        write(tmp_path / "m" / file, before)
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(CourseError, match="model.safetensors is missing"):
        capstone.load_model(tmp_path / "m")


def test_cross_validation_knows_nothing_of_the_group():
    # Labels that depend on the group alone: whoever has seen the group knows the answer, nobody else does.
    groups = np.repeat(np.arange(24), 5)
    labels = np.random.default_rng(0).integers(0, 2, 24)[groups]
    rows = np.eye(24)[groups] + 0.01 * RNG.standard_normal((120, 24))
    recipe = capstone.recipes("images")["Lite0, block 4"]
    predicted = capstone.cross_validate(recipe, rows, labels, groups)
    assert (predicted == labels).mean() < 0.7
    assert (capstone.fit(recipe, rows, labels, ("a", "b")).predict(rows) == labels).all()
    rare = np.r_[np.ones(5, int), np.zeros(115, int)]
    with pytest.raises(CourseError, match="the class with label 1 is missing .* too few groups for 3 folds"):
        capstone.cross_validate(recipe, rows, rare, groups)
    with pytest.raises(CourseError, match="the class 'rare' is missing"):
        capstone.cross_validate(recipe, rows, rare, groups, class_names=("usual", "rare"))
    with pytest.raises(CourseError, match="2 groups, and at most 5 items of a class, are too few for 3 folds"):
        capstone.cross_validate(recipe, rows[:10], np.tile([0, 1], 5), groups[:10])


def test_recipes_that_cannot_be_used():
    with pytest.raises(ValueError, match="choose images or texts"):
        capstone.recipes("sounds")
    with pytest.raises(ValueError, match="2 of 3 classes occur"):
        capstone.fit(capstone.recipes("images")["pixels"], np.zeros((4, 3)), np.array([0, 1, 0, 1]), ("a", "b", "c"))


def test_importing_the_capstone_is_light():
    code = "import sys, helpers.capstone; print(sorted({'torch', 'pandas', 'sklearn', 'kagglehub'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=config.ROOT)
    assert done.stdout.strip() == "[]"


# --- files made to do harm ---


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_fill_the_memory_are_not_unpacked(tmp_path, method, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as packed:
        packed.writestr("zeros", bytes(1000))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(CourseError, match="packed in a way that is not read here"):
        capstone.unpack(tmp_path / "x.zip", tmp_path / "out")


def test_any_damage_of_a_zip_is_one_sentence(tmp_path):
    whole, rng = zipped(tmp_path / "x.zip", {f"a/{n}é.txt": f"hello {n} " * 50 for n in range(3)}).read_bytes(), np.random.default_rng(0)
    for number in range(400):
        broken = bytearray(whole)
        for place in rng.integers(0, len(broken), 2):
            broken[place] = rng.integers(256)
        try:
            capstone.unpack(write(tmp_path / "x.zip", bytes(broken)), tmp_path / f"out {number}")
        except CourseError as error:
            assert "()" not in str(error) and "locked" not in str(error), error
    assert not list(tmp_path.glob(".unpacking-*"))


def test_deep_and_many_folders_in_a_zip_are_refused(tmp_path):
    assert (capstone.unpack(zipped(tmp_path / "ok.zip", {"a/" * 29 + "x": "x"}), tmp_path / "ok") / ("a/" * 29) / "x").is_file()
    for depth in (30, 1500):
        with pytest.raises(CourseError, match=f"a file {depth} folders deep"):
            capstone.unpack(zipped(tmp_path / "deep.zip", {"good.txt": "x", "a/" * depth + "x": ""}), tmp_path / "out")
    many = {f"{n}/" + "a/" * 27 + "x": "" for n in range(100)}
    with pytest.raises(CourseError, match="becomes far larger than it is"):
        capstone.unpack(zipped(tmp_path / "many.zip", many), tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deep.zip", "many.zip", "ok", "ok.zip"]


def test_images_that_would_cost_too_much_are_left_out(tmp_path):
    folder = save_images(tmp_path / "pets")
    write(folder / "cat" / "eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 11000 11000\n%%EndComments\nshowpage\n")
    Image.new("RGB", (64, 64)).save(folder / "cat" / "scans.jpg", progressive=True)
    whole = (folder / "cat" / "scans.jpg").read_bytes()
    write(folder / "cat" / "scans.jpg", whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * 200 + whole[-2:])
    project = capstone.read(folder)
    assert len(project.labels) == 6 and "cannot be read as an image" in project.skipped[0] and "more than 100 scans" in project.skipped[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_of_files_left_out_cannot_steer_a_terminal(tmp_path):
    folder = save_images(tmp_path / "pets")
    for name in ("cat/\x1b[2J\n_1.png", "\x1b]0;x\x07_2.png"):
        write(folder / name, b"no picture")
    skipped = capstone.read(folder).skipped
    assert all(line.isprintable() for line in skipped) and "cat/\\x1b[2J\\n_1.png" in skipped[1], skipped


def test_of_a_wide_table_only_the_needed_columns_are_worked_on(tmp_path, monkeypatch):
    import pandas as pd

    real, widths = pd.DataFrame.apply, []
    monkeypatch.setattr(pd.DataFrame, "apply", lambda table, function: [widths.append(table.shape[1]), real(table, function)][1])
    wide = TABLE.splitlines()
    content = "\n".join([wide[0] + "".join(f",c{n}" for n in range(500)), *(row + ",1" * 500 for row in wide[1:])])
    assert len(capstone.read(write(tmp_path / "t.csv", content), group="author").items) == 4 and max(widths) == 3
