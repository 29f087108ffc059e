"""What programs tell people: log messages with their severity, and warnings with their category, from the source of installed packages.

The source is parsed and not run. Labels are what the authors chose when they wrote the message, so nobody had to label anything.
"""
from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from helpers.data.cache import cached
from helpers.data.docstrings import TextSet
from helpers.errors import CourseError

# Packages that requirements.txt installs, itself or because another one needs them, and that have much to say.
PACKAGES = (
    "IPython", "PIL", "accelerate", "alembic", "dask", "distributed", "fontTools", "fsspec", "huggingface_hub", "imageio", "ipykernel",
    "joblib", "jupyter_client", "jupyter_lsp", "jupyter_server", "jupyterlab", "matplotlib", "nbconvert", "nbgrader", "networkx", "numpy",
    "pandas", "peft", "scipy", "sentence_transformers", "setuptools", "sklearn", "sqlalchemy", "tifffile", "tornado", "traitlets",
    "transformers", "zmq",
)  # fmt: skip
CLASSES = {
    "logs": ("debug", "info", "warning", "error"),
    "warnings": ("UserWarning", "DeprecationWarning", "FutureWarning", "RuntimeWarning"),
}
# Methods of a logger that have another name than the severity which they write.
METHODS = {
    **{name: name for name in CLASSES["logs"]},
    "info_once": "info", "warn": "warning", "warning_once": "warning", "exception": "error", "critical": "error", "fatal": "error",
}  # fmt: skip
WORDS = (4, 60)
SKIPPED = ("test", "_vendor", "vendored", "models")  # parts of paths; the many models of transformers all say the same
METHOD = re.compile(r"\.(?:" + "|".join(METHODS) + r")\(")
# What stands before the method: "self.log", "logging.getLogger(name)", "warnings".
CALLER = re.compile(r"(?<![\w.>])[\w.]+(?:\([^()]*\))?$")
PLACEHOLDER = re.compile(r"(%%)|%(\(\w+\))?[-+#0]?\d*(\.\d+)?[a-zA-Z]|\{[^{}]*\}")
MOST_BRACKETS = 40  # closing brackets looked at for the end of a call
FEWEST = 40  # messages of each class


def text_of(node: ast.expr) -> str | None:
    """The text that an expression writes, "..." standing for what is known only when it runs; None when it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return text_of(node.left)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = text_of(node.left), text_of(node.right)
        return None if parts == (None, None) else "".join("..." if part is None else part for part in parts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return text_of(node.func.value)
    return None


def name_of(node: ast.expr) -> str:
    """The last part of a name such as `self.log` or `logging.getLogger()`, or ""."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def calls(source: str) -> Iterator[ast.Call]:
    """Every call of a logger's method or of `warnings.warn` in a Python source. Each is parsed by itself: files are long, and few speak."""
    for match in METHOD.finditer(source):
        line = source.rfind("\n", 0, match.start()) + 1
        caller = CALLER.search(source[line : match.start()])
        if caller is None or "#" in source[line : match.start()] or not ("log" in caller[0].lower() or caller[0] == "warnings"):
            continue
        end = match.end()
        for _ in range(MOST_BRACKETS):
            end = source.find(")", end) + 1
            if not end:
                break
            try:
                node = ast.parse(source[line + caller.start() : end], mode="eval").body
            except (SyntaxError, ValueError):
                continue  # this bracket closes another one, or stands in a text
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                yield node
            break


def messages(source: str) -> Iterator[tuple[str, str]]:
    """(message, class) of every log call and `warnings.warn` in a Python source, on one line, "..." standing for what is filled in.

    Nothing is yielded for a message that is not written out in the call, or is shorter or longer than `WORDS` allows.
    """
    for node in calls(source):
        method, caller = node.func.attr, name_of(node.func.value)
        if caller == "warnings" and method == "warn":
            category = node.args[1] if len(node.args) > 1 else next((k.value for k in node.keywords if k.arg == "category"), None)
            kind = "UserWarning" if category is None else name_of(category)
        elif method in METHODS and "log" in caller.lower():
            kind = METHODS[method]
        else:
            continue
        text = PLACEHOLDER.sub(lambda match: "%" if match[1] else "...", text_of(node.args[0]) or "")
        text = re.sub(r"\s+", " ", text.replace("`", "")).strip()
        if WORDS[0] <= len(text.split()) <= WORDS[1]:
            yield text, kind


@cached
def _read(packages: tuple[str, ...], versions: str) -> list[tuple[str, str, int]]:
    # `versions` is not used: it is there so that other packages get a cache entry of their own.
    found, seen = [], set()
    for number, package in enumerate(packages):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.origin:
            continue
        folder = Path(spec.origin).parent
        for file in sorted(folder.rglob("*.py")):
            if any(skipped in part for part in file.relative_to(folder).parts for skipped in SKIPPED):
                continue
            for text, kind in messages(file.read_text(encoding="utf-8", errors="replace")):
                if text.lower() not in seen:
                    seen.add(text.lower())
                    found.append((text, kind, number))
    return found


def load_messages(kind: str, per_package: int = 40, seed: int = 0) -> TextSet:
    """The "logs", with their severity, or the "warnings", with their category, of `PACKAGES`. No text twice. Cached on disk.

    `groups` are places in `PACKAGES`: split by them, since a package has its own words and habits. per_package: at most so many messages
    of one class from a package, drawn with `seed`, so that none dominates. What packages say differs from version to version, so
    numbers do too, a little; a package that is not installed is left out.
    Raises ValueError for another kind or per_package < 1, CourseError when the packages that are installed say far too little.
    """
    from importlib import metadata

    if kind not in CLASSES:
        raise ValueError(f"no kind of message called {kind!r}: choose one of {', '.join(CLASSES)}")
    if per_package < 1:
        raise ValueError(f"per_package is {per_package}: draw 1 message or more")
    names = metadata.packages_distributions()
    versions = [f"{name} {metadata.version(names[name][0])}" for name in PACKAGES if name in names]
    found = _read(PACKAGES, " ".join(versions))
    rows = [(text, CLASSES[kind].index(label), group) for text, label, group in found if label in CLASSES[kind]]
    texts = np.array([row[0] for row in rows], dtype=object)
    labels, groups = (np.array([row[column] for row in rows], np.int64) for column in (1, 2))
    rng = np.random.default_rng(seed)
    kept = []
    for group in np.unique(groups):
        for label in range(len(CLASSES[kind])):
            kept.append(rng.permutation(np.flatnonzero((groups == group) & (labels == label)))[:per_package])
    chosen = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
    counts = np.bincount(labels[chosen], minlength=len(CLASSES[kind]))
    if counts.min() < FEWEST:
        raise CourseError(
            f"the installed packages hold only {counts.min()} messages of class {CLASSES[kind][counts.argmin()]}: "
            "install the packages as requirements.txt pins them"
        )
    return TextSet(texts[chosen], labels[chosen], CLASSES[kind], groups[chosen])


def verify() -> str:
    """One line about the data. Raises CourseError when the installed packages say too little."""
    sets = [load_messages(kind) for kind in CLASSES]
    packages = len(np.unique(np.concatenate([texts.groups for texts in sets])))
    return f"{sum(len(texts.texts) for texts in sets):,} log messages and warnings of {packages} installed packages"
