"""Four bundled cases, written to disk as a learner would bring them: with the copies, wrong labels and broken files of real folders."""
from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helpers.data import faces, logs, photos, spoken_digits
from helpers.errors import CourseError

STRIPS, PER_STRIP = 5, 6  # of a photograph, and patches of each strip
GAP = 4  # pixels on both sides of a cut, so that strips do not share even an edge
PER_PACKAGE = 10  # log messages of one class from one package
COPIES, NEAR, CONFLICTS = 6, 4, 2
WALKS = Path(__file__).with_name("walks.json")


class Case(NamedTuple):
    """file: what is written. group: the argument of `read` that finds the groups (None: nobody knows them). about: one sentence."""

    file: str
    group: str | None
    about: str


CASES = {
    "photographs": Case("photographs", r"(.+)_\d+", "From which of 19 photographs is this piece? A group is a strip of a photograph."),
    "faces": Case("faces.zip", None, "Is this small grey picture a face? Nobody noted which pictures belong together."),
    "log messages": Case("log_messages.csv", "package", "How severe is this log message? A group is the package that it comes from."),
    "spoken digits": Case("spoken_digits.zip", r"(.+)_\d+", "Which word is this spectrogram? A group is a (synthetic) voice."),
}


class Planted(NamedTuple):
    """What was put in. copies and near: pairs (name of the original, name of its copy); conflicts: pairs with different labels; broken:
    files or rows that hold nothing. The names are those in `Project.names`."""

    copies: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    conflicts: tuple[tuple[str, str], ...]
    broken: tuple[str, ...]


def write_case(name: str, folder: str | Path) -> tuple[Path, Planted]:
    """Write the case into `folder` as an image folder, a table or a zip; returns its path, and what was planted in it.

    The same files each time. Raises CourseError for another case, ValueError when the file is there already.
    """
    if name not in CASES:
        raise CourseError(f"there is no case {name!r}: choose one of {', '.join(CASES)}, or read your own data with capstone.read")
    path = Path(folder) / CASES[name].file
    if path.exists():
        raise ValueError(f"{path.name} is there already: give an empty folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "log messages":
        return path, _write_logs(path)
    images, classes, groups = _images(name)
    root = path.with_suffix("")
    planted = _write_images(root, images, classes, groups)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(root.rglob("*.*")):
                archive.write(file, f"{root.name}/{file.relative_to(root).as_posix()}")
    return path, planted


def _images(name: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Images, the class of each, and the group of each ("" when it is not known)."""
    if name == "photographs":
        rng, images, classes, groups = np.random.default_rng(0), [], [], []
        for title in photos.names():
            photograph = photos.read_photograph(photos.photograph_path(title))
            for strip, columns in enumerate(np.array_split(np.arange(photograph.shape[1]), STRIPS)):
                part = photograph[:, columns[0] + GAP : columns[-1] + 1 - GAP]
                images.append(photos.cut_patches(part, PER_STRIP, None, rng))
                classes += [title] * PER_STRIP
                groups += [f"{title}-{'abcde'[strip]}"] * PER_STRIP
        return np.concatenate(images), classes, groups
    data = faces.load_faces() if name == "faces" else spoken_digits.load_spoken_digits()
    classes = [data.class_names[label].replace(" ", "_") for label in data.labels]
    if name == "faces":
        return data.images, classes, [""] * len(classes)
    return data.images, classes, [f"voice{group:02d}" for group in data.groups]


def _write_images(root: Path, images: np.ndarray, classes: list[str], groups: list[str]) -> Planted:
    """A folder for each class, in it <group>_<number>.png; and copies, altered copies, copies in a wrong class, and two broken files."""
    from PIL import Image

    rng = np.random.default_rng(1)
    names = [f"{kind}/{group or 'image'}_{number:03d}.png" for number, (kind, group) in enumerate(zip(classes, groups, strict=True))]
    for name, image in zip(names, images, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name)
    number, planted = len(images), {"copies": [], "near": [], "conflicts": []}
    originals = iter(rng.permutation(len(images)).tolist())
    for what, count in (("copies", COPIES), ("near", NEAR), ("conflicts", CONFLICTS)):
        for _ in range(count):
            place = next(originals)
            kind = classes[place]
            if what == "conflicts":
                kind = rng.choice(sorted(set(classes) - {kind}))
            # Somebody has filed the copy under another group of the class, so it may well land on the other side of a split.
            others = sorted({group for group, its in zip(groups, classes, strict=True) if its == kind and group != groups[place]})
            name, image = f"{kind}/{rng.choice(others) if others else 'image'}_{number:03d}.png", images[place]
            if what == "near":
                image = np.clip(image * 0.85 + 10 + rng.normal(0, 0.02 * image.std(), image.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / name)
            planted[what].append((names[place], name))
            number += 1
    broken = (f"{classes[0]}/{groups[0] or 'image'}_{number}.png", f"{classes[-1]}/{groups[-1] or 'image'}_{number + 1}.jpg")
    (root / broken[0]).write_bytes((root / names[0]).read_bytes()[:150])  # an upload that broke off
    (root / broken[1]).write_bytes(b"")
    return Planted(*(tuple(planted[what]) for what in planted), broken)


def _write_logs(path: Path) -> Planted:
    """A table with the columns text, label and package; and copies under another package, longer copies, wrong labels, empty rows."""
    data, rng = logs.load_messages("logs", PER_PACKAGE), np.random.default_rng(1)
    packages = [logs.PACKAGES[group] for group in data.groups]
    rows = [[text, data.class_names[label], package] for text, label, package in zip(data.texts, data.labels, packages, strict=True)]
    long = [place for place in rng.permutation(len(rows)).tolist() if len(rows[place][0].split()) > 8]
    originals, planted = iter(long), {"copies": [], "near": [], "conflicts": []}
    for what, count in (("copies", COPIES), ("near", NEAR), ("conflicts", CONFLICTS)):
        for _ in range(count):
            place = next(originals)
            text, label, package = rows[place]
            if what == "conflicts":
                label = str(rng.choice([name for name in data.class_names if name != label]))
            if what == "near":
                text = text.replace(".", "").upper()
            rows.append([text, label, str(rng.choice([name for name in sorted(set(packages)) if name != package]))])
            planted[what].append((f"row {place + 2}", f"row {len(rows) + 1}"))
    broken = [f"row {len(rows) + 2}", f"row {len(rows) + 3}"]
    rows += [["", "info", packages[0]], ["the disk is nearly full", "", packages[0]]]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "package"])
        writer.writerows(rows)
    return Planted(*(tuple(planted[what]) for what in planted), tuple(broken))


def another_device(items: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    """The same items as another device would give them: images dim, bluish and out of focus; of a text the first five words."""
    if kind == "texts":
        return np.array([" ".join(text.split()[:5]) for text in items], dtype=object)
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    soft = gaussian_filter(items.astype(np.float32), (0, 1.2, 1.2, 0))
    return np.clip(soft * (0.55, 0.6, 0.75) + rng.normal(0, 4, items.shape), 0, 255).astype(np.uint8)


def stored_walks() -> list[dict[str, Any]]:
    """What data_scripts/walk_capstone_cases.py wrote down: the decisions and results of lesson 22 for each of the `CASES`."""
    return json.loads(WALKS.read_text(encoding="utf-8"))["walks"]
