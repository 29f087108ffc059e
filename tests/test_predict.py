"""The multiple-choice prediction: what a static page gets, and what happens when a learner commits."""
from __future__ import annotations

from collections.abc import Callable

import ipywidgets
import pytest

from helpers.predict import _live, predict

QUESTION = "Is `x < 1`?", ["yes", "no, `x` is 2"], 1, "`x` was set to 2 & kept."


@pytest.fixture
def bundle(monkeypatch) -> Callable[[], dict]:
    """Ask the question and return what a notebook was given to show."""
    def ask() -> dict:
        shown = []
        monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data) if raw else None)
        assert predict(*QUESTION) is None
        (data,) = shown
        return data

    return ask


def test_one_bundle_serves_the_live_notebook_and_the_static_page(bundle):
    data = bundle()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= set(data)
    assert data["text/plain"] == "Is `x < 1`?"


def test_the_static_page_folds_the_answer_and_escapes_the_text(bundle):
    page = bundle()["text/html"]
    shown, folded = page.split("<details>")
    assert "Is <code>x &lt; 1</code>?" in shown and "(a) yes" in shown and "(b) no, <code>x</code> is 2" in shown
    assert "was set to" not in shown and "<code>x</code> was set to 2 &amp; kept." in folded
    assert "<script" not in page


def test_the_stored_text_is_the_same_each_time(bundle):
    first, second = bundle(), bundle()
    assert [first[kind] for kind in ("text/html", "text/plain")] == [second[kind] for kind in ("text/html", "text/plain")]


@pytest.mark.parametrize(("chosen", "words"), [(1, "Right."), (0, "Not this time.")])
def test_committing_shows_the_verdict_and_the_reason_once(chosen, words):
    title, choice, commit, verdict = _live(*QUESTION).children
    assert isinstance(choice, ipywidgets.RadioButtons) and choice.value is None and commit.disabled and verdict.value == ""
    choice.value = chosen
    assert not commit.disabled and verdict.value == ""
    commit.click()
    assert words in verdict.value and "was set to 2" in verdict.value
    assert ("You said (a), it is (b)" in verdict.value) == (chosen == 0)
    assert choice.disabled and commit.disabled


@pytest.mark.parametrize(("options", "answer", "message"), [
    (["only"], 0, "two or more"), (["a", "a"], 0, "all different"),
    (["a", "b"], 2, "from 0 to 1"), (["a", "b"], -1, "from 0 to 1"),
])
def test_a_question_that_makes_no_sense_is_refused(options, answer, message):
    with pytest.raises(ValueError, match=message):
        predict("?", options, answer, "")
