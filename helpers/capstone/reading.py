"""Read what a learner brings: a folder of images, a table of texts, a zip of either, or a Kaggle data set."""
from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from helpers.capstone.archive import fetch_kaggle, unpack
from helpers.data.photos import FORMATS, read_photograph
from helpers.errors import CourseError

if TYPE_CHECKING:
    import pandas as pd

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TABLES = (".csv", ".tsv", ".jsonl")
PARTS = ("train", "training", "val", "valid", "validation", "test", "testing")  # of a split: folders of these names are no classes
MOST_PIXELS = 100_000_000  # of one image; more is a mistake or an attack
MOST_UNREADABLE = 0.5  # share; beyond it the whole is not what it seems
NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?", re.ASCII)


class Project(NamedTuple):
    """A labelled data set. kind: "images" or "texts". items: (n, side, side, 3) uint8, or (n,) strings. labels: (n,) int64, places in
    class_names. groups: (n,) int64, what must not stand on both sides of a split (all different: nothing known). group_names: one for
    each group. names: (n,) the file or row of each item. skipped: a sentence about each file or row that was left out."""

    kind: str
    items: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    groups: np.ndarray
    group_names: tuple[str, ...]
    names: np.ndarray
    skipped: tuple[str, ...] = ()

    def take(self, places: np.ndarray) -> Project:
        """The project with only the items at these places (indices or bool)."""
        return self._replace(items=self.items[places], labels=self.labels[places], groups=self.groups[places], names=self.names[places])


def read(source: str | Path, *, text: str = "text", label: str = "label", group: str | None = None, side: int = 64) -> Project:
    """Read a folder, a table (.csv, .tsv, .jsonl), a zip of either, or "kaggle:owner/name". Hidden files are ignored.

    group: of images, a regular expression whose first bracket finds the group in a file's path; of a table, the name of a column. The
    others as in `read_images` and `read_table`. Raises CourseError with what to do when the data cannot be used.
    """
    if str(source).startswith("kaggle:"):
        path = fetch_kaggle(str(source).removeprefix("kaggle:"))
    else:
        path = Path(source).expanduser().absolute()
        if not path.exists():
            raise CourseError(f"there is nothing at {path}: check the path of the folder, the table or the zip")
    name, beside = path.name, []
    if path.is_file() and path.suffix.lower() == ".zip":
        path = unpack(path)
    if path.is_dir():
        _refuse_zips(path, name)
        path, beside = _inner(path)
    if path.is_dir() or path.suffix.lower() in TABLES:
        project = read_images(path, group, side) if path.is_dir() else read_table(path, text, label, group)
        return project._replace(skipped=(*map(_printable, beside), *project.skipped))
    raise CourseError(f"{path.name} is neither a folder nor a table ({', '.join(TABLES)}) nor a zip: store it as one of these")


def _visible(path: Path, folder: Path) -> bool:
    """False for what a system or an editor has put below the folder, such as .DS_Store, .ipynb_checkpoints and __MACOSX."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)


def _refuse_zips(folder: Path, name: str) -> None:
    """Raise CourseError when the folder (that the learner calls `name`) holds zips, and nothing else that is read."""
    files = sorted(path for path in folder.rglob("*") if _visible(path, folder))
    zips = [path for path in files if path.suffix.lower() == ".zip" and path.is_file()]
    if zips and not any(path.suffix.lower() in IMAGES + TABLES for path in files):
        raise CourseError(f"{name} holds a zip ({zips[0].name}) and no other data: unpack it yourself and give the path of what is in it")


def _left_out(files: list[Path], folder: Path, why: str) -> list[str]:
    """A sentence about each file; about all together where a folder holds several of one ending."""
    together = {}
    for path in files:
        together.setdefault((path.parent, path.suffix.lower()), []).append(path)
    return [f"{_shown(paths[0], folder)}: {why}" if len(paths) == 1
            else f"{_shown(parent / f'*{ending}', folder)}: {len(paths)} files, {why}" for (parent, ending), paths in together.items()]


def _inner(folder: Path) -> tuple[Path, list[str]]:
    """The folder that holds the classes, or the only table, and a sentence about what lies beside it: zips often hold one folder, and
    that another. Raises CourseError for several tables."""
    beside, why = [], "beside the data, not read"
    while True:
        entries = sorted(entry for entry in folder.iterdir() if _visible(entry, folder))
        folders = [entry for entry in entries if entry.is_dir()]
        tables = [entry for entry in entries if entry.suffix.lower() in TABLES]
        if len(tables) == 1 and not folders:
            return tables[0], beside + _left_out([entry for entry in entries if entry != tables[0]], folder, why)
        if len(tables) > 1 and not folders:
            raise CourseError(f"there are {len(tables)} tables ({', '.join(entry.name for entry in tables[:4])}): give the path of one")
        if len(folders) == 1 and not any(entry.suffix.lower() in IMAGES for entry in entries) and any(
                entry.is_dir() or entry.suffix.lower() in TABLES for entry in folders[0].iterdir() if _visible(entry, folder)):
            beside += _left_out([entry for entry in entries if entry != folders[0]], folder, why)
            folder = folders[0]
            continue
        return folder, beside


def read_images(folder: str | Path, group: str | None = None, side: int = 64) -> Project:
    """A folder with a folder of images for each class. Each image is resized to side x side pixels, in colour.

    group: a regular expression whose first bracket finds the group in the file's path below the folder of its class, such as
    r"(.+)_\\d+" for cat/anna_3.jpg and r"(.+)/" for cat/anna/3.jpg (it is tried without the ending first); None: each image is a group of
    its own. Files that cannot be read and folders without images are left out and named in `skipped`; hidden ones are ignored.
    Raises CourseError when there are no images, fewer than two classes, the folders are the parts of a split, more than half of the files
    are unreadable, or a file's path has no group; ValueError when side is not 64 or more.
    """
    from PIL import Image

    if side < 64:
        raise ValueError(f"side is {side}: the network needs images of 64 pixels or more, smaller ones are enlarged")
    folder, pattern = Path(folder), _pattern(group)
    _refuse_split(folder)
    found = sorted(path for path in (*folder.iterdir(), *folder.glob("*/**/*")) if path.is_file() and _visible(path, folder))
    others = [path for path in found if path.suffix.lower() not in IMAGES]
    loose = [path for path in found if path.suffix.lower() in IMAGES and path.parent == folder]
    files = [path for path in found if path.suffix.lower() in IMAGES and path.parent != folder]
    if not files:
        hint = f"{len(loose)} images lie side by side in {folder.name}" if loose else f"{folder.name} holds no images ({', '.join(IMAGES)})"
        raise CourseError(f"{hint}: make a folder for each class and put its images there, such as {folder.name}/cat/1.jpg")
    rows, broken = [], []
    for path in files:
        try:
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise CourseError(f"{path.name} has {image.width} x {image.height} pixels: make it smaller")
            picture = Image.fromarray(read_photograph(path))
        except CourseError as error:
            broken.append(f"{_shown(path, folder)}: {error}")
            continue
        except Exception as error:  # Pillow raises many kinds, SyntaxError and its own DecompressionBombError among them
            broken.append(f"{_shown(path, folder)}: cannot be read as an image ({type(error).__name__})")
            continue
        kind, *inside = path.relative_to(folder).parts
        below = "/".join(inside)
        match = (pattern.search(below.removesuffix(path.suffix)) or pattern.search(below)) if pattern else None
        if pattern and not match:
            raise CourseError(f"the name {below} has no group by the pattern {group!r}: correct the pattern, rename the file, or leave "
                              "group out")
        small = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0))
        name = _shown(path, folder)
        rows.append((small, kind, match[1] if match else name, name))
    kinds = {row[1] for row in rows}
    empty = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and _visible(entry, folder) and entry.name not in kinds)
    if len(kinds) == 1:
        why = f", because no image in {', '.join(empty)} can be read" if empty else ""
        raise CourseError(f"the folder {folder.name} has one class only ({rows[0][1]!r}){why}: a classifier needs two or more, and one "
                          f"folder of images is expected for each, such as {folder.name}/cat/1.jpg")
    if len(rows) < (1 - MOST_UNREADABLE) * len(files):
        raise CourseError(f"{len(files) - len(rows)} of {len(files)} images cannot be read (the first: {broken[0]}): save them "
                          "as PNG or JPEG")
    items, classes, groups, names = zip(*rows, strict=True)
    skipped = [*(f"{path.name}: in no class folder" for path in loose), *broken,
               *_left_out(others, folder, "of a kind that is not read (save images as PNG or JPEG)"),
               *(f"{name}: a folder without an image that can be read" for name in empty)]
    return _project("images", np.stack(items), classes, groups, names, skipped, f"the folder {folder.name}")


def _refuse_split(folder: Path) -> None:
    """Raise CourseError when folders named like the parts of a split hold folders: those would be the classes."""
    parts = [entry for name in PARTS for entry in sorted(folder.iterdir()) if entry.name.lower() == name and entry.is_dir()]
    if len(parts) > 1 and any(entry.is_dir() and _visible(entry, folder) for part in parts for entry in part.iterdir()):
        raise CourseError(f"the folders {', '.join(part.name for part in parts)} look like a split, not like classes: put them together, "
                          f"or give the path of {parts[0].name}")


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _printable(text: str) -> str:
    """The text with what would steer a terminal (escapes, ends of lines) written out, such as \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _pattern(group: str | None) -> re.Pattern | None:
    try:
        pattern = re.compile(group) if group else None
    except re.error as error:
        raise CourseError(f"the pattern of the group {group!r} is no regular expression ({error}): r'(.+)_' takes what is before the "
                          "last _") from None
    if pattern and not pattern.groups:
        raise CourseError(f"the pattern of the group {group!r} has no bracket: put ( ) around the part of the name that is the group")
    return pattern


def read_table(path: str | Path, text: str = "text", label: str = "label", group: str | None = None) -> Project:
    """A table with a column of texts and one of labels (.csv, .tsv; .jsonl with one object a line), UTF-8. A .csv without a comma in its
    head may have semicolons or tabs.

    group: the name of a column with what must not stand on both sides of a split (author, customer, document); None: each row its own.
    Rows without a text or a label are left out and counted in `skipped`.
    Raises CourseError when the table cannot be read, is empty, lacks a column, has fewer than two classes, the texts are numbers, or the
    labels are numbers here and words there, or as many as there are rows, or most texts hold no word.
    """
    path = Path(path)
    table = _load(path)
    for column, what in ((text, "text"), (label, "label"), (group, "group")):
        if column is not None and column not in table.columns:
            there = ", ".join(map(repr, table.columns[:12]))
            raise CourseError(f"{path.name} has no column {column!r} for the {what}: choose one of {there}")
    if not len(table):
        raise CourseError(f"{path.name} has a head and no rows: was it saved before it was filled?")
    # Only what is needed: a table of features can have many thousand columns.
    table = table[list(dict.fromkeys(column for column in (text, label, group) if column is not None))]
    table = table.apply(lambda column: column.str.strip())
    filled = (table != "").all(axis=1)
    skipped = [f"row {place + 2}: no text, label or group" for place in np.flatnonzero(~filled)]
    if not filled.any():
        raise CourseError(f"no row of {path.name} has a text and a label: look at the columns {text!r} and {label!r}")
    kept = table[filled]
    _check_columns(kept, text, label, path.name)
    names = [f"row {place + 2}" for place in np.flatnonzero(filled)]  # row 1 is the head
    groups = kept[group].tolist() if group else names
    items = np.array(kept[text].tolist(), dtype=object)
    return _project("texts", items, kept[label].tolist(), groups, names, skipped, path.name)


def _load(path: Path) -> pd.DataFrame:
    """All columns as strings, "" where there is nothing. Raises CourseError with the reason when it cannot be read."""
    import pandas as pd

    try:
        if path.suffix.lower() == ".jsonl":
            table = pd.read_json(path, lines=True, dtype=False)
            odd = [column for column in table for value in table[column] if isinstance(value, dict | list)][:1]
            if odd:
                raise CourseError(f"the column {odd[0]!r} of {path.name} holds lists or objects: give each row plain texts")
            return table.map(lambda value: "" if value is None or value != value else str(value)).rename(columns=str)
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        # A head without a comma would be one column, and two are needed.
        separator = "\t" if path.suffix.lower() == ".tsv" else next((sign for sign in ",;\t" if sign in head), ",")
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        if not isinstance(table.index, pd.RangeIndex):  # pandas takes the surplus field for a name of the row and shifts the columns
            raise ValueError("the rows have more fields than the head")
        return table.fillna("")
    except pd.errors.EmptyDataError:
        raise CourseError(f"{path.name} is empty: save the table again, with a head and its rows") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path.name} is not UTF-8: save it again as 'CSV UTF-8'") from None
    except (pd.errors.ParserError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise CourseError(f"{path.name} cannot be read as a table ({reason}): does every row have as many fields as the head, and are "
                          "texts with commas in quotes?") from None
    except OSError as error:
        raise CourseError(f"{path.name} cannot be read ({error.strerror}): check the path and its permissions") from None


def _check_columns(table: pd.DataFrame, text: str, label: str, name: str) -> None:
    """Raise CourseError for texts that are numbers or hold no word, and for labels of mixed kinds or without end."""
    if table[text].map(lambda value: bool(NUMBER.fullmatch(value))).mean() > 0.5:
        raise CourseError(f"the column {text!r} of {name} holds numbers (such as {table[text].iloc[0]!r}): is it the right column?")
    wordless = table[text][~table[text].str.contains(r"\w")]
    if len(wordless) > MOST_UNREADABLE * len(table):
        raise CourseError(f"{len(wordless)} of {len(table)} texts of {name} hold no word (such as {wordless.iloc[0]!r}): is {text!r} the "
                          "right column, or can signs be written as words?")
    numeric = table[label].map(lambda value: bool(NUMBER.fullmatch(value)))
    if 0 < numeric.mean() < 1:
        example, word = table[label][numeric].iloc[0], table[label][~numeric].iloc[0]
        row = int(table.index[numeric][0] if numeric.mean() < 0.5 else table.index[~numeric][0]) + 2
        raise CourseError(f"the column {label!r} of {name} mixes numbers and words ({example!r} and {word!r}; look at row {row}): a comma "
                          "that is not in quotes shifts a row; mend these rows, or write all labels as words")
    distinct = table[label].nunique()
    if distinct > max(20, 0.5 * len(table)):
        raise CourseError(f"the column {label!r} of {name} has {distinct} different labels in {len(table)} rows: a classifier needs many "
                          "rows of each class; is it the right column, or a quantity (then put it into classes)?")


def _project(
    kind: str, items: np.ndarray, classes: list[str], groups: list[str], names: list[str], skipped: list[str], where: str
) -> Project:
    """Number classes and groups. Raises CourseError for fewer than two classes, a class with one item, or two classes that differ only in
    case or spaces."""
    counts, plain = Counter(classes), {}
    for name in sorted(counts):
        other = plain.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise CourseError(f"{where}: the classes {other!r} and {name!r} differ only in case or spaces: write them the same way, or "
                              "give them clearly different names")
    if len(counts) < 2:
        raise CourseError(f"{where} has one class only ({next(iter(counts))!r}): a classifier needs two or more")
    if min(counts.values()) < 2:
        rare = [name for name, count in counts.items() if count < 2]
        raise CourseError(f"{where}: the class {rare[0]!r} has one item ({len(rare)} such classes): add more of it, or leave it out")
    class_names, group_names = (tuple(sorted(set(values))) for values in (classes, groups))
    labels, numbers = _places(class_names, classes), _places(group_names, groups)
    return Project(kind, items, labels, class_names, numbers, group_names, np.array(names), tuple(map(_printable, skipped)))


def _places(values: tuple[str, ...], of: list[str]) -> np.ndarray:
    place = {value: number for number, value in enumerate(values)}
    return np.array([place[value] for value in of], np.int64)
