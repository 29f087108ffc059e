"""Log messages and warnings: what is read out of a source, and the sets that come of it."""
import ast

import numpy as np
import pytest

from helpers.data import logs
from helpers.errors import CourseError

SOURCE = '''
import logging, warnings
logger = logging.getLogger(__name__)
# logger.error("this is only a comment, not a call")
def run(self, name):
    logger.debug("reading %s of %5.2f files (100%% done)", name, 3)
    self.log.warning(f"the file {name!r} is {name:>3} days old")
    logging.getLogger("x").exception("a text " "in two parts (with brackets)")
    if name: logger.info("opened {} of the\\n   {} files now".format(1, 2))
    log.critical("added up, " + name + " and more words")
    logger.warning_once(
        "a long call that ends) only on "
        "the third line", stacklevel=2
    )
    warnings.warn("plain warnings have no category at all")
    warnings.warn("this will go away in a release", DeprecationWarning, stacklevel=2)
    warnings.warn("this will mean something else soon", category=np.exceptions.VisibleDeprecationWarning)
    logger.error("too short")
    logger.error(name)
    catalogue.debug()
    parser.error("not a logger, but it has the method")
    warnings.error("no such function, and no message")
    logger.info("never closed, so it is no call at all"
'''


def test_messages_are_read_with_their_class_and_without_what_is_filled_in():
    assert list(logs.messages(SOURCE)) == [
        ("reading ... of ... files (100% done)", "debug"),
        ("the file ... is ... days old", "warning"),
        ("a text in two parts (with brackets)", "error"),
        ("opened ... of the ... files now", "info"),
        ("added up, ... and more words", "error"),
        ("a long call that ends) only on the third line", "warning"),
        ("plain warnings have no category at all", "UserWarning"),
        ("this will go away in a release", "DeprecationWarning"),
        ("this will mean something else soon", "VisibleDeprecationWarning"),
    ]


def test_they_equal_those_of_the_whole_syntax_tree():
    # The slow way: parse the whole file and walk through it.
    source = SOURCE.rsplit("    logger.info", 1)[0]
    whole = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            caller = logs.name_of(node.func.value)
            if ("log" in caller.lower() and node.func.attr in logs.METHODS) or (caller == "warnings" and node.func.attr == "warn"):
                whole.append(ast.dump(node))
    fast = [ast.dump(node) for node in logs.calls(source) if logs.name_of(node.func.value) != "warnings" or node.func.attr == "warn"]
    assert sorted(whole) == sorted(fast) and len(whole) == 11


def test_what_is_no_text_is_none():
    for expression in ("3", "name", "f(x)", "a + b", "a - 'text'", "['text']"):
        assert logs.text_of(ast.parse(expression, mode="eval").body) is None
    assert list(logs.messages("")) == [] and list(logs.messages("logger.info(")) == []


@pytest.mark.parametrize("kind", logs.CLASSES)
def test_the_sets_hold_every_class_and_no_package_dominates(kind):
    data = logs.load_messages(kind)
    assert data.class_names == logs.CLASSES[kind] and len(data.texts) == len(data.labels) == len(data.groups)
    assert np.bincount(data.labels).min() >= logs.FEWEST and len(np.unique(data.groups)) >= 15
    assert len({text.lower() for text in data.texts}) == len(data.texts)
    counts = np.zeros((len(logs.PACKAGES), len(data.class_names)), int)
    np.add.at(counts, (data.groups, data.labels), 1)
    assert counts.max() <= 40
    again = logs.load_messages(kind)
    assert np.array_equal(data.texts, again.texts) and np.array_equal(data.groups, again.groups)
    fewer = logs.load_messages(kind, per_package=20)
    assert len(fewer.texts) < len(data.texts) and set(fewer.texts) < set(logs.load_messages(kind, per_package=10**6).texts)


def test_a_message_stands_in_its_package():
    import tornado

    data = logs.load_messages("logs", per_package=10**6)
    of_tornado = data.texts[data.groups == logs.PACKAGES.index("tornado")]
    assert len(of_tornado) > 10 and tornado.__file__
    assert not any(text.startswith((" ", "`")) or "\n" in text for text in data.texts)


def test_unusable_arguments_and_missing_packages_are_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="choose one of logs, warnings"):
        logs.load_messages("prints")
    with pytest.raises(ValueError, match="per_package is 0"):
        logs.load_messages("logs", per_package=0)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    # Packages that are not installed are left out; when too little remains, an error says what to do.
    monkeypatch.setattr(logs, "PACKAGES", ("no_such_package", "traitlets"))
    with pytest.raises(CourseError, match="only .* messages of class .*: install the packages"):
        logs.load_messages("logs")
    monkeypatch.setattr(logs, "PACKAGES", ("no_such_package",))
    with pytest.raises(CourseError, match="only 0 messages"):
        logs.load_messages("logs")


def test_one_line_about_the_data():
    assert "log messages and warnings of" in logs.verify()
