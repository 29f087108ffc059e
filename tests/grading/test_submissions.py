"""Submissions of every kind, well meant and ill meant."""
import os
import socket
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest

from helpers.errors import CourseError
from helpers.grading import submissions
from helpers.grading.outcome import Submission
from helpers.grading.submissions import find, safe_student

LESSON = "01_toy"
NOTEBOOK = b'{"cells": [],\r\n "nbformat": 4}'


def put(path: Path, content: bytes = NOTEBOOK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pack(path: Path, *names: str, content: bytes = NOTEBOOK) -> Path:
    """A zip with members of these names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def found(path: Path) -> dict[str, Submission]:
    """By student; whatever is found is usable and has either content or a problem."""
    result = find(path, LESSON)
    students = [submission.student for submission in result]
    assert students == sorted(students) and len({name.casefold() for name in students}) == len(students)
    for submission in result:
        assert bool(submission.content) != bool(submission.problem), submission
        assert safe_student(submission.student) == submission.student
        assert (submission.origin + submission.problem).isprintable() and submission.origin
    return {submission.student: submission for submission in result}


def snapshot(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


# --- nbgrader's tree ---


def test_tree(tmp_path):
    put(tmp_path / "submitted/bob/01_toy/exercises_01.ipynb", b"\xef\xbb\xbf{}\r\n")
    put(tmp_path / "submitted/anna/01_toy/exercises_01.ipynb")
    put(tmp_path / "submitted/anna/01_toy/timestamp.txt", b"2026-11-21 10:00:00.5 UTC\n")
    put(tmp_path / "submitted/carl/02_other/exercises_02.ipynb")
    assert find(tmp_path / "submitted", LESSON) == [
        Submission("anna", "anna/01_toy/exercises_01.ipynb", NOTEBOOK, submitted="2026-11-21T10:00:00.500000+00:00"),
        Submission("bob", "bob/01_toy/exercises_01.ipynb", b"\xef\xbb\xbf{}\r\n"),
    ]


@pytest.mark.parametrize("text, expected", [
    (b"2026-11-21T11:30:00+01:00", "2026-11-21T10:30:00+00:00"),
    (b"\xef\xbb\xbf2026-11-21 11:30:00 +0100\r\n", "2026-11-21T10:30:00+00:00"),
    (b"2026-11-21 10:30:00 CET", "2026-11-21T09:30:00+00:00"),
    (b"2026-11-21T10:30:00Z", "2026-11-21T10:30:00+00:00"),
    (b"2026-11-21 10:30", "2026-11-21T10:30:00+00:00"),
    (b"2026-99-99 10:30:00", ""), (b"0001-01-01 00:00:00+14:00", ""), (b"yesterday", ""), (b"10", ""), (b"", ""), (b"\xff\x00", ""),
    (b"2026-11-21 10:30:00 /etc/localtime", ""), (b"9" * 1000, ""),
])
def test_timestamps_are_read_leniently(tmp_path, text, expected):
    put(tmp_path / "anna/01_toy/exercises_01.ipynb")
    put(tmp_path / "anna/01_toy/timestamp.txt", text)
    assert found(tmp_path)["anna"].submitted == expected


def test_renamed_missing_and_several_notebooks(tmp_path):
    put(tmp_path / "renamed/01_toy/my answers.ipynb")
    put(tmp_path / "renamed/01_toy/.ipynb_checkpoints/exercises_01-checkpoint.ipynb")
    put(tmp_path / "renamed/01_toy/.hidden.ipynb")
    (tmp_path / "none/01_toy").mkdir(parents=True)
    put(tmp_path / "pdf/01_toy/answers.pdf")
    put(tmp_path / "right/01_toy/exercises_01.ipynb")
    put(tmp_path / "right/01_toy/draft.ipynb", b"draft")
    put(tmp_path / "several/01_toy/a.ipynb")
    put(tmp_path / "several/01_toy/b.ipynb")
    put(tmp_path / "upper/01_toy/EXERCISES_01.IPYNB")
    put(tmp_path / "upper/01_toy/b.ipynb")
    put(tmp_path / "file/01_toy")
    by = found(tmp_path)
    assert by["renamed"].content == by["right"].content == by["upper"].content == NOTEBOOK
    assert by["right"].origin == "right/01_toy/exercises_01.ipynb (not graded: `draft.ipynb`)"
    assert by["none"].problem == "handed in no file: ask for exercises_01.ipynb"
    assert by["pdf"].problem == "handed in `answers.pdf`, not a notebook: ask for exercises_01.ipynb"
    assert "`several/01_toy/a.ipynb`, `several/01_toy/b.ipynb`" in by["several"].problem
    assert by["file"].problem.startswith("`file/01_toy` cannot be read")


def test_links_in_a_tree_are_not_followed(tmp_path):
    secret = put(tmp_path / "secret.ipynb", b"secret").parent
    put(tmp_path / "elsewhere/01_toy/exercises_01.ipynb", b"secret")
    tree = tmp_path / "submitted"
    (tree / "file/01_toy").mkdir(parents=True)
    (tree / "file/01_toy/exercises_01.ipynb").symlink_to(secret / "secret.ipynb")
    (tree / "lesson").mkdir()
    (tree / "lesson/01_toy").symlink_to(tmp_path / "elsewhere/01_toy")
    (tree / "student").symlink_to(tmp_path / "elsewhere")
    (tree / "broken").symlink_to("nowhere")
    (tree / "loop").symlink_to("loop")
    (tree / "loose.ipynb").symlink_to(secret / "secret.ipynb")
    put(tree / "time/01_toy/exercises_01.ipynb")
    (tree / "time/01_toy/timestamp.txt").symlink_to(put(tmp_path / "t", b"2026-11-21 10:00:00 UTC"))
    by = found(tree)
    assert set(by) == {"file", "lesson", "student", "loose", "time"}
    assert by.pop("time").submitted == ""
    assert all("is a link" in submission.problem for submission in by.values())
    assert "is a link" in found(tree / "loose.ipynb")["loose"].problem


# --- a folder, one notebook ---


def test_folder(tmp_path):
    for name in ("anna.ipynb", "Bob.IPYNB", "notes.txt", ".hidden.ipynb", ".ipynb_checkpoints/anna-checkpoint.ipynb", "data/x.ipynb"):
        put(tmp_path / name)
    assert list(found(tmp_path)) == ["Bob", "anna"]


def test_folder_and_tree_at_once_give_distinct_ids(tmp_path):
    put(tmp_path / "bob.ipynb", b"loose")
    put(tmp_path / "bob/01_toy/exercises_01.ipynb", b"tree")
    by = found(tmp_path)
    assert by["bob"].content == b"loose" and by["bob"].origin == "bob.ipynb (the same id: `bob/01_toy/exercises_01.ipynb`)"
    (other,) = [submission for student, submission in by.items() if student != "bob"]
    assert other.content == b"tree" and "the id `bob` went to `bob.ipynb`" in other.origin
    assert found(tmp_path) == by


def test_one_notebook(tmp_path, monkeypatch):
    assert list(found(put(tmp_path / "anna.ipynb"))) == ["anna"]
    tree = put(tmp_path / "submitted/bob/01_toy/answers.ipynb").parent
    put(tree / "timestamp.txt", b"2026-11-21 10:00:00 UTC")
    assert found(tree / "answers.ipynb")["bob"].submitted == found(tree)["bob"].submitted == "2026-11-21T10:00:00+00:00"
    monkeypatch.chdir(put(tmp_path / "copied/carl/01_toy/exercises_01.ipynb").parent)
    assert found(Path("exercises_01.ipynb"))["carl"].content == NOTEBOOK
    assert list(found(put(tmp_path / "class/01_toy/dora.ipynb"))) == ["dora"]


def test_large_files_are_not_read(tmp_path, monkeypatch):
    with open(tmp_path / "huge.ipynb", "wb") as file:
        file.truncate(submissions.NOTEBOOK_BYTES + 1)
    put(tmp_path / "limit.ipynb", b" " * submissions.NOTEBOOK_BYTES)
    by = found(tmp_path)
    assert "larger than 20 MB" in by["huge"].problem and by["limit"].content
    if os.path.exists("/proc/self/status"):  # says that it has 0 bytes
        monkeypatch.setattr(submissions, "NOTEBOOK_BYTES", 10)
        with pytest.raises(CourseError, match="larger than"):
            submissions._read_file(Path("/proc/self/status"))


def test_an_empty_file_is_a_problem(tmp_path):
    put(tmp_path / "anna.ipynb", b"")
    assert "is empty" in found(tmp_path)["anna"].problem
    assert "is empty" in found(pack(tmp_path / "empty.zip", "bob.ipynb", content=b""))["bob"].problem


def test_the_total_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "TOTAL_BYTES", 2 * len(NOTEBOOK))
    for student in "abc":
        put(tmp_path / f"{student}.ipynb")
    by = found(tmp_path)
    assert by["a"].content and by["b"].content and "grade it in a folder of its own" in by["c"].problem


@pytest.mark.timeout(30)
def test_special_files_do_not_block(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "anna/01_toy").mkdir(parents=True)
    os.mkfifo(tmp_path / "anna/01_toy/exercises_01.ipynb")
    os.mkfifo(tmp_path / "anna/01_toy/timestamp.txt")
    monkeypatch.chdir(tmp_path)  # the name of a socket is at most 107 characters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.ipynb")
        by = found(tmp_path)
    assert set(by) == {"pipe", "folder", "anna", "socket"}
    assert all("is not an ordinary file" in submission.problem for submission in by.values())
    for path in (tmp_path / "pipe.ipynb", Path("/dev/null")):
        with pytest.raises(CourseError, match="neither a folder nor a notebook nor a zip"):
            find(path, LESSON)
    # A file that was exchanged for a pipe, a link or a device after it was looked at.
    regular = put(tmp_path / "regular").lstat()
    (tmp_path / "link").symlink_to("regular")
    monkeypatch.setattr(Path, "lstat", lambda self: regular)
    for path in (tmp_path / "pipe.ipynb", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(CourseError):
            submissions._read_file(path)


def test_unreadable_files_and_folders(tmp_path, monkeypatch):
    put(tmp_path / "file.ipynb")
    put(tmp_path / "locked/01_toy/exercises_01.ipynb")
    put(tmp_path / "student/01_toy/exercises_01.ipynb")
    put(tmp_path / "fine.ipynb")
    real_open, real_listdir, real_lstat = os.open, os.listdir, Path.lstat

    def deny(real, *names):
        def replaced(path, *args, **kwargs):
            if str(path).endswith(names):
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **kwargs)
        return replaced

    # The tests may run as root, to whom permissions mean nothing.
    monkeypatch.setattr(os, "open", deny(real_open, "/file.ipynb"))
    monkeypatch.setattr(os, "listdir", deny(real_listdir, "locked/01_toy"))
    monkeypatch.setattr(Path, "lstat", deny(real_lstat, "student/01_toy"))
    by = found(tmp_path)
    assert by.pop("fine").content and set(by) == {"file", "locked", "student"}
    assert all("cannot be read (Permission denied)" in submission.problem for submission in by.values())
    monkeypatch.setattr(os, "listdir", deny(real_listdir, tmp_path.name))
    with pytest.raises(CourseError, match="cannot be opened .Permission denied."):
        find(tmp_path, LESSON)


def test_nothing_there(tmp_path):
    put(tmp_path / "carl/02_other/exercises_02.ipynb")
    put(tmp_path / "text.txt")
    pack(tmp_path / "empty.zip")
    pack(tmp_path / "lms.zip", "report.pdf")
    put(tmp_path / "bad.zip", b"no zip at all")
    put(tmp_path / "torn.zip", pack(tmp_path / "whole.zip", "anna.ipynb").read_bytes()[:-30])
    for name in ("", "text.txt", "missing", "\0", "empty.zip", "lms.zip", "bad.zip", "torn.zip"):
        with pytest.raises(CourseError, match="give nbgrader's submitted/ folder, a folder of notebooks, one notebook") as caught:
            find(tmp_path / name, LESSON)
        assert str(caught.value).isprintable()


# --- Canvas, Moodle and other zips ---


def test_canvas(tmp_path):
    path = pack(tmp_path / "submissions.zip", "doejane_12345_67890_exercises_01.ipynb", "roebob_LATE_12346_67891_exercises_01-2.ipynb",
                "loeann_12347_67892_report.pdf", "poejo_12348_text.html", "moeal_LATE_12349_67893_answers_2_3_x.ipynb")
    by = found(path)
    assert list(by) == ["doejane_12345", "loeann_12347", "moeal_12349", "poejo_12348", "roebob_12346"]
    assert by["loeann_12347"].problem == "handed in `report.pdf`, not a notebook: ask for exercises_01.ipynb"
    assert "`text.html`" in by["poejo_12348"].problem
    assert by["moeal_12349"].content == by["roebob_12346"].content == NOTEBOOK
    # The same when it was unpacked.
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert found(tmp_path / "unpacked") == by


def test_canvas_resubmissions(tmp_path):
    path = tmp_path / "submissions.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("jane_1_10_exercises_01.ipynb", "jane_LATE_1_30_exercises_01-10.ipynb", "jane_LATE_1_20_exercises_01-2.ipynb",
                     "jane_1_40_plan.ipynb", "bob_2_10_x.ipynb", "bob_2_11_x-1.ipynb", "al_3_10_a.ipynb", "al_3_11_b.ipynb",
                     "jo_4_12_exercises_01.ipynb", "jo_4_11_exercises_01-1.ipynb", "di_5_7_exercises_01.ipynb",
                     "di_LATE_5_7_exercises_01-2.ipynb"):
            archive.writestr(name, name)
    by = found(path)
    assert by["jane_1"].content == b"jane_LATE_1_30_exercises_01-10.ipynb"
    assert "not graded: `exercises_01.ipynb`, `exercises_01-2.ipynb`, `plan.ipynb`" in by["jane_1"].origin
    assert by["bob_2"].content == b"bob_2_11_x-1.ipynb"
    assert by["di_5"].content == b"di_LATE_5_7_exercises_01-2.ipynb"
    assert "several notebooks" in by["al_3"].problem
    assert "several notebooks" in by["jo_4"].problem  # the numbers contradict each other


def test_moodle(tmp_path):
    start = "Jane Doe_123_assignsubmission_file_"
    path = pack(tmp_path / "moodle.zip", f"{start}/exercises_01.ipynb", f"{start}/data/plan.ipynb", "Jane Doe_124_assignsubmission_file_/",
                "Jörg Müller_125_assignsubmission_file_exercises_01.ipynb", "Ann_126_assignsubmission_file/x.ipynb",
                "Ann_126_assignsubmission_onlinetext_/onlinetext.html", "Bob_127_assignsubmission_onlinetext_onlinetext.html",
                "Cy_128_assignsubmission_file_/a.ipynb", "Cy_128_assignsubmission_file_/b.ipynb",
                "Di_129_assignsubmission_file_/one/exercises_01.ipynb", "Di_129_assignsubmission_file_/two/exercises_01.ipynb",
                "Ed_130_assignsubmission_file_/.exercises_01.ipynb", "__MACOSX/Ed_130_assignsubmission_file_/._x.ipynb")
    by = found(path)
    assert set(by) == {"Jane Doe_123", "Jane Doe_124", "Jörg Müller_125", "Ann_126", "Bob_127", "Cy_128", "Di_129", "Ed_130"}
    assert by["Jane Doe_123"].content and "not graded: `data/plan.ipynb`" in by["Jane Doe_123"].origin
    assert by["Jörg Müller_125"].content and by["Ann_126"].content
    assert by["Jane Doe_124"].problem.startswith("handed in no file")
    assert "`onlinetext.html`, not a notebook" in by["Bob_127"].problem and "not a notebook" in by["Ed_130"].problem
    assert "several" in by["Cy_128"].problem and "one/exercises_01.ipynb" in by["Di_129"].problem


def test_unpacked_moodle_zip(tmp_path):
    put(tmp_path / "Jane Doe_123_assignsubmission_file_/exercises_01.ipynb")
    put(tmp_path / "Bob_124_assignsubmission_file_/x.pdf")
    (tmp_path / "Cy_125_assignsubmission_file_").symlink_to("Jane Doe_123_assignsubmission_file_")
    by = found(tmp_path)
    assert by["Jane Doe_123"].content and "`x.pdf`" in by["Bob_124"].problem and "is a link" in by["Cy_125"].problem


def test_a_file_name_cannot_claim_another_learner(tmp_path):
    evil = "_124_assignsubmission_file_exercises_01.ipynb"
    by = found(pack(tmp_path / "moodle.zip", "Eve_123_assignsubmission_file_Bob" + evil, "Eve_123_assignsubmission_file_/Cy" + evil,
                    "evemax_55_66_bobroe_12_34_exercises_01.ipynb", "ed/01_toy/Bob" + evil, "al/01_toy/bobroe_12_34_exercises_01.ipynb"))
    assert set(by) == {"Eve_123", "evemax_55", "ed", "al"}


def test_zip_of_a_tree_or_of_notebooks(tmp_path):
    for start in ("", "submitted/"):
        by = found(pack(tmp_path / "tree.zip", *(start + name for name in (
            "bob/01_toy/exercises_01.ipynb", "bob/01_toy/.ipynb_checkpoints/exercises_01-checkpoint.ipynb",
            "bob/02_other/exercises_02.ipynb", "bob/01_toy/data/x.ipynb",
            "anna/01_toy/renamed.ipynb", "carl/02_other/exercises_02.ipynb", "dora/01_toy/"))))
        assert list(by) == ["anna", "bob", "dora"] and by["bob"].content and by["anna"].content and by["dora"].problem
        by = found(pack(tmp_path / "loose.zip", ".DS_Store", "./", *(start + name for name in (
            "bob.ipynb", "anna.ipynb", "read me.txt", ".hidden.ipynb", ".ipynb_checkpoints/bob-checkpoint.ipynb", "data/x.ipynb"))))
        assert list(by) == ["anna", "bob"]
    tree = pack(tmp_path / "tree.zip", "bob/01_toy/exercises_01.ipynb")
    with zipfile.ZipFile(tree, "a") as archive:
        archive.writestr("bob/01_toy/timestamp.txt", "2026-11-21 10:00:00 UTC")
    assert found(tree)["bob"].submitted == "2026-11-21T10:00:00+00:00"
    assert list(found(pack(tmp_path / "UPPER.ZIP", "bob.ipynb"))) == ["bob"]


def test_nested_zips_are_not_opened(tmp_path):
    by = found(pack(tmp_path / "outer.zip", "inner.zip", "jane_1_2_inner.zip", "Bob_3_assignsubmission_file_/inner.zip", "anna.ipynb"))
    assert by.pop("anna").content and set(by) == {"inner.zip", "jane_1", "Bob_3"}
    assert all("is a zip inside the zip" in submission.problem for submission in by.values())


def test_the_same_member_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        by = found(pack(tmp_path / "twice.zip", "anna.ipynb", "anna.ipynb", "bob.ipynb", "BOB.ipynb"))
    assert "several" in by["anna"].problem
    assert len(by) == 3 and all("same id" in s.origin or "went to" in s.origin for s in by.values() if not s.problem)


# --- zips that mean ill ---


@pytest.mark.parametrize("name", ["../../x.ipynb", "/tmp/x.ipynb", "C:/x.ipynb", "C:x.ipynb", "..\\..\\x.ipynb", "a\\x.ipynb",
                                  "a/../x.ipynb", "//server/x.ipynb", "../submitted/bob/01_toy/exercises_01.ipynb", "x.ipynb\0.txt", ".."])
def test_paths_that_lead_out(tmp_path, monkeypatch, name):
    path = tmp_path / "deep/er/evil.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name  # past the checks that writing makes
        archive.writestr(info, NOTEBOOK)
        archive.writestr("fine.ipynb", NOTEBOOK)
    monkeypatch.chdir(path.parent)
    before = snapshot(tmp_path)
    by = found(path)
    assert by.pop("fine").content
    (submission,) = by.values()
    assert "could lead out of its folder" in submission.problem and not submission.content
    assert snapshot(tmp_path) == before and not Path("/tmp/x.ipynb").exists()


def test_a_path_that_leads_out_of_a_learners_folder(tmp_path):
    by = found(pack(tmp_path / "m.zip", "Eve_1_assignsubmission_file_/../Bob_2_assignsubmission_file_/exercises_01.ipynb",
                    "Bob_2_assignsubmission_file_/exercises_01.ipynb"))
    assert "lead out" in by["Eve_1"].problem and by["Bob_2"].content


def test_links_and_special_files_in_a_zip(tmp_path):
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in (("link.ipynb", stat.S_IFLNK), ("pipe.ipynb", stat.S_IFIFO), ("device.ipynb", stat.S_IFCHR),
                           ("bob/01_toy", stat.S_IFLNK), ("fine.ipynb", stat.S_IFREG)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    by = found(path)
    assert by.pop("fine").content
    assert "is a link" in by["link"].problem and "is a link" in by["bob"].problem
    assert "is not an ordinary file" in by["pipe"].problem and "is not an ordinary file" in by["device"].problem


def test_zip_bombs(tmp_path, monkeypatch):
    path = tmp_path / "bomb.zip"
    bomb = bytes(submissions.NOTEBOOK_BYTES + 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fine.ipynb", NOTEBOOK)
        archive.writestr("honest.ipynb", bomb, zipfile.ZIP_DEFLATED)
        archive.writestr("lying.ipynb", bomb, zipfile.ZIP_DEFLATED)
        archive.writestr("bzip2.ipynb", bomb, zipfile.ZIP_BZIP2)
        archive.writestr("lzma.ipynb", bomb, zipfile.ZIP_LZMA)
    lie(path, "lying.ipynb", 24, struct.pack("<L", 100))  # the size it declares
    by = found(path)
    assert by.pop("fine").content and set(by) == {"honest", "lying", "bzip2", "lzma"}
    assert "larger than 20 MB" in by["honest"].problem and "is damaged in the zip" in by["lying"].problem
    assert all("is packed in a way" in by[name].problem for name in ("bzip2", "lzma"))
    monkeypatch.setattr(submissions, "MEMBERS", 4)
    with pytest.raises(CourseError, match="more than 4 files"):
        find(path, LESSON)


def lie(path: Path, name: str, offset: int, value: bytes) -> None:
    """Overwrite a field of a member's entry in the directory of the zip."""
    content = bytearray(path.read_bytes())
    at = content.rindex(name.encode()) - 46 + offset
    assert content[at - offset:at - offset + 4] == b"PK\x01\x02"
    content[at:at + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize("offset, value, expected", [
    (8, b"\x01\x00", "is locked with a password"),
    (10, b"\x63\x00", "is packed in a way"),
    (16, b"\x00\x00\x00\x00", "is damaged"),
    (20, b"\x02\x00\x00\x00", "is damaged"),
    (42, b"\xff\xff\xff\x7f", "is damaged"),
    (42, b"\x03\x00\x00\x00", "is damaged"),
    (24, b"\xff\xff\xff\x7f", "larger than"),
])
def test_locked_and_damaged_members(tmp_path, offset, value, expected):
    path = pack(tmp_path / "bad.zip", "fine.ipynb", "x.ipynb")
    lie(path, "x.ipynb", offset, value)
    by = found(path)
    assert by["fine"].content and expected in by["x"].problem


def test_damaged_data_in_a_zip(tmp_path):
    path = pack(tmp_path / "bad.zip", "fine.ipynb", "x.ipynb", content=NOTEBOOK * 100)
    content = bytearray(path.read_bytes())
    at = content.index(b"x.ipynb") + len("x.ipynb")
    content[at:at + 8] = b"\xff" * 8
    path.write_bytes(content)
    by = found(path)
    assert by["fine"].content and "is damaged" in by["x"].problem


def test_torn_zips_never_crash(tmp_path):
    """Any single damaged byte ends in a problem, in a CourseError, or does no harm."""
    content = pack(tmp_path / "whole.zip", "jane_1_2_exercises_01.ipynb", "bob/01_toy/exercises_01.ipynb").read_bytes()
    torn = tmp_path / "torn.zip"
    for at in range(len(content)):
        torn.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:])
        try:
            find(torn, LESSON)
        except CourseError:
            pass


def test_names_that_macos_wrote(tmp_path):
    path = pack(tmp_path / "mac.zip", "Ren_e.ipynb")
    path.write_bytes(path.read_bytes().replace(b"Ren_e.", "René.".encode()))
    assert list(found(path)) == ["René"]


# --- ids ---


@pytest.mark.parametrize("name", ["anna", "Jane Doe_123", "doejane_12345", "o'brien-smith, jr", "a.b+c@uni.edu", "Jörg", "李雷",
                                  "नमस्ते", "x" * 100, "_x", "7"])
def test_plain_names_stay(name):
    assert safe_student(name) == name


ODD = [
    "", ".", "..", "-rf", "=cmd()", "+1", "@x", "a/b", "a\\b", "a\0b", "a\nb", "a\tb", "a\r", "ab\u202egpj", "a\u200bb", "\u2028", "😀",
    "a*", "a?", "[a]", '"a"', "'a'", "a ", " a", "a.", ".a", "$HOME", "`id`", "a;b", "a|b", "{a}", "<b>", "%00", "~root", "＝cmd",
    "x" * 101, "x" * 102, "😀" * 100, "李" * 90, "é" * 5000, "\udcff", "\ud800", "\u0301a", "\ufeffa",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_become_safe(name):
    student = safe_student(name)
    assert 1 <= len(student) <= 100 and len(student.encode()) <= 200
    assert student.isprintable() and not set(student) & set("/\\\0*?[]\"`$;|<>{}:%~=")
    assert student[0] == "_" or student[0].isalnum()
    assert student[-1] not in " ." and student not in (".", "..")
    assert student == safe_student(name) == safe_student(student)


def test_odd_names_stay_distinct():
    assert len({safe_student(name).casefold() for name in ODD}) == len(ODD)
    assert safe_student("Rene\u0301") == safe_student("Ren\u00e9")  # macOS and Linux write the same name in two ways
    assert safe_student("=cmd()") == "_cmd()-110f0787"  # ids must not change between releases


def test_odd_names_on_disk_and_in_a_zip(tmp_path):
    names = ["a\nb", "ab\u202egpj", "-rf", "=cmd()", "😀", '"a"', "a*", "[a]", "x" * 200, "Rene\u0301", "Ren\u00e9",
             "a\u2028b", "É", "é", "two  spaces "]
    for name in names:
        put(tmp_path / "folder" / f"{name}.ipynb", name.encode())
    with open(os.fsencode(tmp_path / "folder") + b"/\xff.ipynb", "wb") as file:
        file.write(b"x")
    by = found(tmp_path / "folder")
    assert {submission.content for submission in by.values()} == {name.encode() for name in names} | {b"x"}
    path = pack(tmp_path / "odd.zip", *(f"{name}.ipynb" for name in names), "y" * 5000 + ".ipynb")
    by = found(path)
    assert len(by) == len(names) + 1 and not any(submission.problem for submission in by.values())


def test_names_that_differ_only_in_case(tmp_path):
    path = pack(tmp_path / "case.zip", "bob.ipynb", "Bob.ipynb", "BOB.ipynb", "anna.ipynb")
    by = found(path)
    assert len(by) == 4 and "BOB" in by and all(submission.content for submission in by.values())
    assert "the same id: `Bob.ipynb`, `bob.ipynb`" in by["BOB"].origin
    assert sum("went to `BOB.ipynb`" in submission.origin for submission in by.values()) == 2
    assert found(path) == by


@pytest.mark.timeout(60)
def test_long_names_and_many_members_are_quick(tmp_path):
    start = time.monotonic()
    found(pack(tmp_path / "long.zip", "_1" * 30000 + ".ipynb", "a" + "_1_assignsubmission_" * 3000 + ".ipynb", "-1" * 30000 + ".ipynb",
               "jane_1_2_" + "-1" * 30000 + ".ipynb"))
    found(pack(tmp_path / "many.zip", *(f"s{number}_{number}_1_exercises_01.ipynb" for number in range(5000))))
    assert time.monotonic() - start < 40
