"""Short English texts with a topic, from two sets of libraries: what their functions and classes do, in the authors' words."""
from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.data.cache import cached
from helpers.errors import CourseError

# Each topic has a library to learn from, and the first four another one, by other authors, to be tested on.
SOURCE = {
    "neural nets": "torch/nn", "images": "skimage", "tables": "pandas/core", "the web": "tornado",
    "statistics": "scipy/stats", "signals": "scipy/signal", "graphs": "networkx", "plots": "matplotlib", "algebra": "sympy",
}  # fmt: skip
TARGET = {"neural nets": "keras/src/layers", "images": "PIL", "tables": "dask/dataframe", "the web": "requests"}
# Python's own parser would need five times as long for a library: definitions are found by their first line, and only what lies between
# a name and its docstring is looked at more closely.
DEFINITION = re.compile(r"^([ \t]*)(?:async[ \t]+def|def|class)[ \t]+(\w+)", re.M)
STRING = r"""(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
IN_SIGNATURE = re.compile(rf"#[^\n]*|[rRbBuUfF]{{0,2}}{STRING}|[()\[\]{{}}:]", re.S)
LITERAL = re.compile(rf"(?:\s|#[^\n]*\n)*(?:([rRuU]?{STRING})[ \t]*(?=[#;\n]|\Z)|\(\s*([rRuU]?{STRING}))", re.S)
WORDS = (5, 60)  # shorter ones say nothing, longer ones are not one paragraph


class TextSet(NamedTuple):
    """texts: (n,) strings. labels: (n,) int64. class_names: one for each label value. groups: (n,) int64, the file of each text."""

    texts: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray


def library(path: str) -> Path:
    """The folder of an installed package or part of it, such as "torch/nn", without importing it. Raises CourseError when missing."""
    package, _, inside = path.partition("/")
    found = importlib.util.find_spec(package)
    folder = Path(found.origin).parent / inside if found and found.origin else None
    if folder is None or not folder.is_dir():
        raise CourseError(f"the package {package} is not installed as expected ({path}): install what requirements.txt pins")
    return folder


def first_paragraph(docstring: str) -> str:
    """Its first paragraph without markup, on one line."""
    text = re.split(r"\n\s*\n", docstring.strip())[0]
    text = re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("`", "")
    return re.sub(r"\s+", " ", text).strip()


def end_of_signature(source: str, start: int) -> int:
    """The place after the colon that ends the signature of the definition whose name ends at `start`; `start` when there is none."""
    depth = 0
    for token in IN_SIGNATURE.finditer(source, start):
        if token[0] == ":" and not depth:
            return token.end()
        depth += (token[0] in "([{") - (token[0] in ")]}")
    return start


def paragraphs(file: Path) -> Iterator[str]:
    """The first paragraphs of the public functions, methods and classes in a Python file, which is read and not run.

    Outer definitions come before inner ones. A file that is not text gives nothing.
    """
    try:
        source = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    found, place = [], 0
    if of_module := LITERAL.match(source):
        place = of_module.end()
    while definition := DEFINITION.search(source, place):
        place = end_of_signature(source, definition.end())
        if literal := LITERAL.match(source, place):
            place = literal.end()  # an example in a docstring is no definition
            if not definition[2].startswith("_"):
                found.append((len(definition[1].expandtabs()), definition.start(), literal[1] or literal[2]))
    for _, _, literal in sorted(found):
        try:
            text = first_paragraph(ast.literal_eval(literal))
        except SyntaxError:  # an escape that Python does not know
            continue
        if WORDS[0] <= len(text.split()) <= WORDS[1]:
            yield text


@cached
def _read(libraries: tuple[str, ...], version: str) -> tuple[list[str], list[int], list[int]]:
    # `version` is not used: it is there so that other packages get a cache entry of their own.
    texts, labels, groups, seen, count = [], [], [], set(), 0
    for label, path in enumerate(libraries):
        folder = library(path)
        for file in sorted(folder.rglob("*.py")):
            if any("test" in part for part in file.relative_to(folder).parts):
                continue
            count += 1
            for text in paragraphs(file):
                if text.lower() not in seen:
                    seen.add(text.lower())
                    texts.append(text)
                    labels.append(label)
                    groups.append(count)
    return texts, labels, groups


def load_docstrings(domain: str, topics: Sequence[str] = tuple(TARGET)) -> TextSet:
    """The texts of the "source" or the "target" libraries about these topics, no text twice in a domain. Cached on disk.

    topics: keys of `SOURCE`; a label is a place among them. The target has texts about the first four topics of `SOURCE` alone, so with
    `topics=SOURCE` its label set is smaller than the source's. Split by `groups`, since the texts of one file resemble each other. What
    the packages say differs from version to version, so numbers do too, a little.
    Raises ValueError for another domain or topic, CourseError when a package is missing.
    """
    from importlib.metadata import version

    domains = {"source": SOURCE, "target": TARGET}
    if domain not in domains:
        raise ValueError(f"no domain called {domain!r}: choose source or target")
    topics = tuple(topics)
    unknown = [topic for topic in topics if topic not in SOURCE]
    if unknown or not topics or len(set(topics)) < len(topics):
        raise ValueError(f"topics are {topics}: choose each once among {', '.join(SOURCE)}")
    found = {topic: domains[domain][topic] for topic in topics if topic in domains[domain]}
    names = {"skimage": "scikit-image", "PIL": "pillow"}
    packages = [path.split("/")[0] for path in found.values()]
    texts, places, groups = _read(tuple(found.values()), " ".join(version(names.get(package, package)) for package in packages))
    labels = np.array([topics.index(topic) for topic in found], np.int64)[np.array(places, np.int64)]
    return TextSet(np.array(texts, dtype=object), labels, topics, np.array(groups, np.int64))


def verify() -> str:
    """One line about the data. Raises CourseError when a package is missing or holds far fewer texts than expected."""
    sets = [load_docstrings("source", tuple(SOURCE)), load_docstrings("target")]
    fewest = min(np.bincount(texts.labels).min() for texts in sets)
    if fewest < 50:
        raise CourseError(f"a library has only {fewest} documented functions: install the packages as requirements.txt pins them")
    return f"{sum(len(texts.texts) for texts in sets):,} short texts about {len(SOURCE)} topics (docstrings of installed packages)"
