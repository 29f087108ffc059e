"""Where each lesson belongs: the parts of the course, the places in its picture, and the questions that lead to a lesson."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from helpers import config

LATER = "More"  # where a lesson is put that nobody has placed yet
SPELLING = {"Fine tuning": "Fine-tuning", "Self supervised": "Self-supervised", "few shot": "few-shot", "cross modal": "cross-modal"}

# The side bar and the list of lessons: a title, and the numbers of the lessons.
PARTS = [
    ("Is it worth it?", range(0, 3)),
    ("Reuse a network", range(3, 7)),
    ("When the target differs", range(7, 10)),
    ("Without labels", range(10, 12)),
    ("Text", range(12, 16)),
    ("Places and movement", range(16, 19)),
    ("Making and hearing", range(19, 21)),
    ("Into the world", range(21, 23)),
]

# The picture: the column or row it stands in, what it says, and the numbers of the lessons.
STATIONS = [
    ("source", "is it worth it, can it hurt?", (0, 1)),
    ("source", "which one to take", (2,)),
    ("source", "made without any labels", (10,)),
    ("network", "keep it frozen", (3,)),
    ("network", "let layers move", (4, 5, 13)),
    ("network", "do not learn by heart", (6,)),
    ("target", "looks different", (7, 8, 9)),
    ("target", "has no labels at all", (11,)),
    ("target", "only describes its classes", (14,)),
    ("kinds", "text, languages", (12, 15)),
    ("kinds", "where, how many", (16, 17)),
    ("kinds", "things that move", (18,)),
    ("kinds", "new pictures", (19,)),
    ("kinds", "sound, captions", (20,)),
    ("kinds", "into the world", (21, 22)),
]

# "Find your lesson": a situation, and the numbers of the lessons for it, the first one first.
SITUATIONS = [
    ("I have twenty pictures of each kind and want a classifier by tonight.", (0, 3)),
    ("There are ten pretrained networks. Which one do I take?", (2,)),
    ("I fine-tuned, and it got worse.", (1, 4, 6)),
    ("It is perfect on my training images and poor on new ones.", (6,)),
    ("I work in Keras, and nothing complains, but something is wrong.", (5,)),
    ("It worked in the laboratory. In the field it does not.", (7, 8)),
    ("My labelled data come from several hospitals, sensors or shops.", (9,)),
    ("I have thousands of images, and nobody has labelled them.", (10, 11)),
    ("I sort texts, tickets or log messages.", (12, 13)),
    ("I have no labels, only the names of my classes.", (14, 12)),
    ("I translate, or turn one sequence into another.", (15,)),
    ("I must say where things are, or how many.", (16, 17)),
    ("I follow something through a video.", (18,)),
    ("I want more pictures like the fifty that I have.", (19,)),
    ("My signal is sound, or pictures come with words.", (20,)),
    ("The model works. How do I put it into service, and notice when it fails?", (21, 7)),
    ("I want to do it once with my own data, from beginning to end.", (22,)),
]


@dataclass(frozen=True)
class Lesson:
    """A lesson notebook. number: from 0. name: its file without suffix. short: a few words, from the name."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> int:
        return int(self.name.split("_")[0])

    @property
    def label(self) -> str:
        return self.name.split("_")[0]

    @property
    def short(self) -> str:
        words = self.name.split("_", 1)[1].replace("_", " ").capitalize()
        for plain, right in SPELLING.items():
            words = words.replace(plain, right)
        return words


def lessons(root: Path | None = None) -> list[Lesson]:
    """The lessons that are there, in order. root: the course's folder (None: this repository)."""
    return [Lesson(path) for path in sorted((Path(root or config.ROOT) / "lessons").glob("[0-9][0-9]_*.ipynb"))]


def parts(found: list[Lesson]) -> list[tuple[str, list[Lesson]]]:
    """The parts of the course that have lessons, each with its lessons; what has no place yet comes last, under `LATER`."""
    placed = [(title, [lesson for lesson in found if lesson.number in numbers]) for title, numbers in PARTS]
    rest = [lesson for lesson in found if not any(lesson in members for _, members in placed)]
    return [(title, members) for title, members in [*placed, (LATER, rest)] if members]


def part_of(lesson: Lesson) -> str:
    """The title of the part that a lesson belongs to."""
    return next((title for title, numbers in PARTS if lesson.number in numbers), LATER)


def stations(found: list[Lesson]) -> list[tuple[str, str, list[Lesson]]]:
    """The stations of the picture that have lessons: zone, words, lessons. What has no place yet stands under `LATER`."""
    by_number = {lesson.number: lesson for lesson in found}
    placed = [(zone, words, [by_number[n] for n in numbers if n in by_number]) for zone, words, numbers in STATIONS]
    known = {n for _, _, numbers in STATIONS for n in numbers}
    rest = [lesson for lesson in found if lesson.number not in known]
    return [station for station in [*placed, ("kinds", LATER.lower(), rest)] if station[2]]
