"""The film reviews: read from a publisher's file on this machine (test_downloads.py has what can go wrong on the way)."""
import pytest
import tiny_hub

from helpers.data import sst2
from helpers.errors import CourseError

CONTENT = 'a "fine" film , c\u00f4t\u00e9 \u00e9motion\t1\nno\tyuks , not much of anything\t0\ngood fun\t1'.encode()


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    with tiny_hub.publisher(monkeypatch, tmp_path, "sst2", {"train.tsv": CONTENT, "dev.tsv": b"x\t0\n", "test.tsv": b""}) as server:
        yield server


def test_it_is_downloaded_once_and_read_with_quotes_and_tabs(publisher, capfd):
    for _ in range(2):
        reviews = sst2.load_sst2("train")
        assert reviews.texts[0] == 'a "fine" film , c\u00f4t\u00e9 \u00e9motion'
        assert reviews.texts[1:].tolist() == ["no\tyuks , not much of anything", "good fun"]
        assert reviews.labels.tolist() == [1, 0, 1] and reviews.class_names == ("negative", "positive")
        assert reviews.groups.tolist() == [0, 1, 2]
    assert sst2.load_sst2("dev").texts.tolist() == ["x"]
    assert publisher.asked == ["/train.tsv", "/dev.tsv", "/test.tsv"]
    assert capfd.readouterr() == ("", "")


def test_the_offline_profile_asks_nobody(publisher, monkeypatch):
    monkeypatch.delenv("COURSE_PROFILE")
    with pytest.raises(CourseError, match="sst2 .9,613 sentences.* offline profile: set COURSE_PROFILE=full"):
        sst2.load_sst2("train")
    with pytest.raises(ValueError, match="no split called 'validation': choose one of train, dev, test"):
        sst2.load_sst2("validation")
    assert publisher.asked == []
