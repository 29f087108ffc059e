"""The film reviews: whole and verified files only, from a server on this machine."""
import hashlib

import pytest
import tiny_hub

from helpers import config
from helpers.data import sst2
from helpers.errors import CourseError

CONTENT = 'a "fine" film , c\u00f4t\u00e9 \u00e9motion\t1\nno\tyuks , not much of anything\t0\ngood fun\t1'.encode()


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A server with a small train.tsv in the place of the publisher's, and an empty cache."""
    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with tiny_hub.serve({"/train.tsv": CONTENT}) as server:
        monkeypatch.setattr(sst2, "URL", server.url + "/{split}.tsv")
        monkeypatch.setitem(sst2.SHA256, "train", hashlib.sha256(CONTENT).hexdigest())
        yield server


def files() -> list[str]:
    return sorted(path.name for path in config.cache_dir().rglob("*") if path.is_file())


def test_it_is_downloaded_once_and_read_with_quotes_and_tabs(publisher, capfd):
    for _ in range(2):
        reviews = sst2.load_sst2("train")
        assert reviews.texts[0] == 'a "fine" film , c\u00f4t\u00e9 \u00e9motion'
        assert reviews.texts[1:].tolist() == ["no\tyuks , not much of anything", "good fun"]
        assert reviews.labels.tolist() == [1, 0, 1] and reviews.class_names == ("negative", "positive")
        assert reviews.groups.tolist() == [0, 1, 2]
    assert publisher.asked == ["GET /train.tsv"] and files() == ["train.tsv"]
    assert capfd.readouterr() == ("", "")


def test_another_file_is_refused_and_not_kept(publisher):
    publisher.files["/train.tsv"] = CONTENT.replace(b"1", b"0")
    with pytest.raises(CourseError, match=r"\(train.tsv\) could not be downloaded: .*hash"):
        sst2.load_sst2("train")
    assert files() == []


def test_a_connection_that_breaks_off_leaves_nothing_and_the_next_call_succeeds(publisher):
    publisher.cut = "train.tsv"
    with pytest.raises(CourseError, match="is there a network connection"):
        sst2.load_sst2("train")
    assert files() == []
    publisher.cut = None
    assert len(sst2.load_sst2("train").texts) == 3


def test_a_file_that_was_damaged_later_is_replaced(publisher):
    sst2.load_sst2("train")
    (config.cache_dir() / "sst2" / "train.tsv").write_bytes(CONTENT[:20])
    assert len(sst2.load_sst2("train").texts) == 3 and len(publisher.asked) == 2


def test_nobody_there(publisher, monkeypatch):
    monkeypatch.setattr(sst2, "URL", "http://127.0.0.1:9/{split}.tsv")
    with pytest.raises(CourseError, match="is there a network connection"):
        sst2.load_sst2("train")


def test_the_offline_profile_asks_nobody(publisher, monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE")
    with pytest.raises(CourseError, match="offline profile: set COURSE_PROFILE=full"):
        sst2.load_sst2("train")
    with pytest.raises(ValueError, match="no split called 'validation': choose one of train, dev, test"):
        sst2.load_sst2("validation")
    assert publisher.asked == []
