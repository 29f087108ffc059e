"""The journal survives a kill at any byte, and says what it lost."""
import errno
import os

import pytest

from helpers.errors import CourseError
from helpers.grading.journal import Journal
from helpers.grading.outcome import GRADED, CellResult, Outcome


def outcome(student, score=1.0):
    return Outcome(student, "01_toy", f"{student}.ipynb", "d" * 64, GRADED, cells=[CellResult("t", score, 2.0, "näh")], notebook="{}")


def test_what_was_added_is_there_after_opening_again(tmp_path):
    path = tmp_path / "deep" / "journal.jsonl"
    journal = Journal(path, "01_toy", "release")
    secret = journal.secret
    journal.add(outcome("ada"))
    journal.add(outcome("bob"))
    journal.mark_recorded(["ada"])
    journal.add(outcome("bob", 2.0))
    journal.close()
    again = Journal(path, "01_toy", "release")
    assert again.continued and again.secret == secret and again.recorded == {"ada"} and again.torn == 0
    assert again.outcomes == {"ada": outcome("ada"), "bob": outcome("bob", 2.0)}
    again.add(outcome("ada", 0.0))  # graded again: it has to be recorded again
    assert again.recorded == set()
    again.close()


def test_cut_off_at_any_byte_it_keeps_every_whole_line_and_goes_on(tmp_path):
    whole = tmp_path / "whole.jsonl"
    journal = Journal(whole, "01_toy", "release", "seed")
    for name in ("ada", "bob"):
        journal.add(outcome(name))
    journal.close()
    content = whole.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(ends[0], len(content)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(content[:cut])
        journal = Journal(path, "01_toy", "release", "seed")
        assert len(journal.outcomes) == sum(cut >= end for end in ends[1:]) and journal.torn == (cut not in ends)
        journal.add(outcome("eve"))
        journal.close()
        last = Journal(path, "01_toy", "release", "seed")
        assert "eve" in last.outcomes and last.torn == 0
        last.close()
        path.unlink()


def test_a_damaged_line_in_the_middle_is_dropped_and_counted(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "01_toy", "release")
    journal.add(outcome("ada"))
    journal.add(outcome("bob"))
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"ada", b"eve") + lines[2])
    again = Journal(path, "01_toy", "release")
    assert set(again.outcomes) == {"bob"} and again.torn == 1
    again.close()


def test_other_exercises_begin_a_new_journal_and_keep_the_old_one(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "01_toy", "release")
    journal.add(outcome("ada"))
    journal.close()
    again = Journal(path, "01_toy", "another release")
    assert again.begun_anew and not again.outcomes and again.secret != journal.secret
    again.close()
    assert b"ada" in (tmp_path / "journal.1.jsonl").read_bytes()


def test_two_at_once_are_refused(tmp_path):
    pytest.importorskip("fcntl")
    journal = Journal(tmp_path / "journal.jsonl", "01_toy", "release")
    with pytest.raises(CourseError, match="another process is grading"):
        Journal(tmp_path / "journal.jsonl", "01_toy", "release")
    journal.close()


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "01_toy", "release")
    journal.add(outcome("ada"))

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(CourseError, match="No space left .* make room"):
        patch.setattr(os, "fsync", full)
        journal.add(outcome("bob"))
    journal.add(outcome("eve"))
    journal.close()
    assert set(Journal(path, "01_toy", "release").outcomes) == {"ada", "eve"}
