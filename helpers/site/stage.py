"""Lay out what Sphinx reads: lessons, released exercises, guides and reference. The course's own files are only read."""
from __future__ import annotations

import base64
import re
import shutil
import zipfile
from collections.abc import Callable
from html import escape
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from nbformat import NotebookNode

from helpers.errors import CourseError
from helpers.grading.course import Course, read_notebook
from helpers.grading.release import expected, holds_work
from helpers.site import course_map, reference
from helpers.site.course_map import Lesson
from helpers.site.picture import picture
from helpers.times import BEGIN, END

PAGES = Path(__file__).parent / "pages"
BUNDLE = "transfer-learning-notebooks.zip"
SECRET = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)")
PLACEHOLDER = re.compile(r"^\[\[(?P<what>[a-z ]+)(?:: (?P<which>.+))?\]\]$", re.MULTILINE)
FOLDED = re.compile(r"(<details>\s*<summary>)(.*?)(</summary>)(.*?)(</details>)", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#|/)([^)#\s]+)")
SOURCES = (  # what references are written as in the lessons, and where it leads
    (re.compile(r"(?<![\w/\[(])arXiv:(\d{4}\.\d{4,5})"), r"[arXiv:\1](https://arxiv.org/abs/\1)"),
    (re.compile(r"(?<![\w/\[(])doi:(10\.\d{4,9}/\S*[^\s.,;)])"), r"[doi:\1](https://doi.org/\1)"),
    (re.compile(r"(?<![\w\[(<`\"])(https?://\S*[^\s.,;)>`\"])"), r"<\1>"),
)
MEMORY_OF_BINDER_GB = 2.0


def stage(root: Path, source: Path, extra: Path) -> None:
    """Write Sphinx's source into `source`, and what the site offers as it is (the notebooks to download) into `extra`/downloads.

    root: the course's folder. Raises CourseError when a page refers to something that is not there, or a notebook cannot be read.
    """
    found = course_map.lessons(root)
    if not found:
        raise CourseError(f"there is nothing to show: {root / 'lessons'} holds no lessons")
    downloads = extra / "downloads"
    for folder in (source / "lessons", source / "reference", downloads):
        folder.mkdir(parents=True)
    course = Course(root)
    exercises = {lesson.name: released(course, lesson) for lesson in found}
    for lesson in found:
        show_lesson(lesson, exercises[lesson.name], root, source)
        for name, text in exercises[lesson.name].items():
            show_exercises(lesson, name, text, source)
    offer(found, exercises, downloads)
    show_pages(found, root, source)
    reference.write(root / "helpers", source / "reference")


def released(course: Course, lesson: Lesson) -> dict[str, str]:
    """The released notebooks of a lesson as text, by file name, without anybody's answers. Raises CourseError when one holds a solution."""
    folder = course.root / "lessons" / "exercises" / lesson.name
    found = {}
    for path in sorted(folder.glob(f"*_{lesson.label}.ipynb")):
        text = path.read_text(encoding="utf-8")
        if path == course.released(lesson.name) and holds_work(path):
            if not course.source(lesson.name).is_file():
                raise CourseError(f"{path.name} holds somebody's answers, and without solutions/ it cannot be made again: bring the "
                                  "released notebook back, then build the site")
            text = expected(lesson.name, course.root)
        if SECRET.search(text):
            raise CourseError(f"{path} holds solutions or hidden tests: make it again with `python3 -m helpers release {lesson.label}`")
        found[path.name] = text
    return found


def show_lesson(lesson: Lesson, exercises: dict[str, str], root: Path, source: Path) -> None:
    """Write a lesson for the site: with links to its notebooks, and without the source of predictions, which holds the answer."""
    nb = read_notebook(lesson.path)
    about = f"<span>Lesson {lesson.label} · {escape(course_map.part_of(lesson))}</span>"
    files = [(f"{lesson.name}.ipynb", "Download this notebook"), *((name, f"Download its {name.split('_')[0]}") for name in exercises)]
    put_below_title(nb, about, files, "../downloads/")
    for cell in nb.cells:
        if "hide-input" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = ["remove-input"]
        if cell.cell_type == "markdown":
            cell.source = FOLDED.sub(unfolded_markup, cell.source)
            if "## References" in cell.source:
                for pattern, link in SOURCES:
                    cell.source = pattern.sub(link, cell.source)
            carry_files(cell.source, lesson.path.parent, root, source)
    nbformat.write(nb, source / "lessons" / lesson.path.name)


def show_exercises(lesson: Lesson, name: str, text: str, source: Path) -> None:
    """Write a released notebook for the site."""
    nb = nbformat.reads(text, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"^### ", "## ", FOLDED.sub(unfolded_markup, cell.source), flags=re.MULTILINE)
    back = f'<a href="../../{lesson.name}.html">Back to lesson {lesson.label}</a>'
    put_below_title(nb, back, [(name, "Download this notebook")], "../../../downloads/")
    nb.metadata["orphan"] = True  # its lesson leads to it; in the side bar of every page it would cost time and attention
    target = source / "lessons" / "exercises" / lesson.name / name
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, target)


def put_below_title(nb: NotebookNode, about: str, files: list[tuple[str, str]], folder: str) -> None:
    """Put a line with the notebook's place (HTML) and its downloads (file, words) below the title in the first cell."""
    title, _, rest = nb.cells[0].source.partition("\n")
    links = " ".join(f'<a href="{folder}{escape(name)}" download>{escape(words)}</a>' for name, words in files)
    nb.cells[0].source = f'{title}\n\n<p class="course-about">{about} {links}</p>\n\n{rest.lstrip()}'


def unfolded_markup(found: re.Match) -> str:
    """A folded answer whose `code` and *emphasis* are HTML, as Markdown leaves them alone inside HTML."""
    inline = MarkdownIt().renderInline
    head, summary, middle, answer, end = found.groups()
    return f"{head}{inline(summary)}{middle}\n<p>{inline(answer.strip())}</p>\n{end}"


def carry_files(text: str, folder: Path, root: Path, source: Path) -> None:
    """Copy files of the course that a text links to, such as a script, so that the site can offer them."""
    for link in LINK.findall(text):
        path = (folder / link).resolve()
        if path.suffix != ".ipynb" and path.is_file() and path.is_relative_to(root.resolve()):
            target = source / path.relative_to(root.resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def offer(found: list[Lesson], exercises: dict[str, dict[str, str]], folder: Path) -> None:
    """Put every lesson as it is stored, every released notebook, and a zip of all of them into `folder`."""
    with zipfile.ZipFile(folder / BUNDLE, "w", zipfile.ZIP_DEFLATED) as bundle:
        for lesson in found:
            text = lesson.path.read_text(encoding="utf-8")
            files = [(lesson.path.name, f"lessons/{lesson.path.name}", text)]
            files += [(name, f"lessons/exercises/{lesson.name}/{name}", text) for name, text in exercises[lesson.name].items()]
            for name, place, content in files:
                (folder / name).write_text(content, encoding="utf-8", newline="\n")
                bundle.writestr(zipfile.ZipInfo(place, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def show_pages(found: list[Lesson], root: Path, source: Path) -> None:
    """Write the pages of `pages/`, with what their placeholders stand for, and the figure of the front page."""
    try:
        readme = (root / "README.md").read_text(encoding="utf-8")
    except OSError as error:
        raise CourseError(f"README.md cannot be read ({error.strerror}): the guides take a part of their text from it") from None
    makers: dict[str, Callable[[str | None], str]] = {
        "picture": lambda _: picture(found),
        "lessons": lambda _: lesson_lists(found, readme),
        "situations": lambda _: situations(found),
        "contents": lambda _: contents(found),
        "figure": lambda which: figure(found, which or "", source),
        "readme": lambda which: section(readme, which or ""),
        "small lessons": lambda _: small_lessons(found, readme),
        "file": lambda which: included(root, which or ""),
    }

    def replaced(match: re.Match) -> str:
        if match["what"] not in makers:
            raise CourseError(f"helpers/site/pages: nothing stands for {match[0]}: use one of {', '.join(makers)}")
        return makers[match["what"]](match["which"])

    for page in sorted(PAGES.rglob("*.md")):
        target = source / page.relative_to(PAGES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(PLACEHOLDER.sub(replaced, page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.copyfile(root / "LICENSE", source / "LICENSE")


def contents(found: list[Lesson]) -> str:
    """The side bar: every part of the course with its lessons."""
    trees = []
    for title, members in course_map.parts(found):
        entries = "\n".join(f"{lesson.label} {lesson.short} <lessons/{lesson.name}>" for lesson in members)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```")
    return "\n\n".join(trees)


def lesson_lists(found: list[Lesson], readme: str) -> str:
    """For each part of the course, its lessons with their questions and measured times."""
    times = measured(readme)
    blocks = []
    for title, members in course_map.parts(found):
        rows = "".join(
            f'<li><a href="lessons/{lesson.name}.html"><span class="course-number">{lesson.label}</span> {escape(question(lesson))}</a>'
            f' <span class="course-time">{escape(times.get(lesson.label, ("",))[0])}</span></li>' for lesson in members)
        blocks.append(f'<section class="course-part"><h3>{escape(title)}</h3><ul>{rows}</ul></section>')
    return f'<div class="course-parts">\n{"".join(blocks)}\n</div>'


def question(lesson: Lesson) -> str:
    """The title of a lesson, which is a question."""
    return read_notebook(lesson.path).cells[0].source.strip().splitlines()[0].lstrip("# ")


def situations(found: list[Lesson]) -> str:
    """The table "Find your lesson", without lessons that are not there."""
    by_number = {lesson.number: lesson for lesson in found}
    rows = []
    for words, numbers in course_map.SITUATIONS:
        links = [f'<a href="lessons/{by_number[n].name}.html">{by_number[n].label} {escape(by_number[n].short)}</a>'
                 for n in numbers if n in by_number]
        if links and numbers[0] in by_number:
            rows.append(f"<li><span>{escape(words)}</span> <span>{' · '.join(links)}</span></li>")
    return f'<ul class="course-situations">\n{"".join(rows)}\n</ul>'


def figure(found: list[Lesson], which: str, source: Path) -> str:
    """A stored figure, `which` being "LESSON CELL" such as "00 curve", with its text alternative. Raises CourseError when it is gone."""
    label, _, cell_id = which.partition(" ")
    for lesson in found:
        for cell in read_notebook(lesson.path).cells if lesson.label == label else ():
            images = [out.data["image/png"] for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
            if cell.id == cell_id and images:
                name = f"figure-{label}-{cell_id}.png"
                (source / name).write_bytes(base64.b64decode(images[0]))
                return f"```{{image}} {name}\n:alt: {cell.metadata.get('mystnb', {}).get('image', {}).get('alt', '')}\n:width: 620px\n```"
    raise CourseError(f"lesson {label} has no cell {cell_id!r} with a stored figure: name another one in helpers/site/pages/index.md")


def section(readme: str, heading: str) -> str:
    """The text below a heading of README.md, its headings raised so that the highest has two signs, its links made absolute."""
    found = re.search(rf"^(#+) {re.escape(heading)} *$", readme, re.MULTILINE)
    if not found:
        raise CourseError(f"README.md has no section {heading!r}, which a page of helpers/site/pages takes its text from: name "
                          "another one there")
    text = re.split(rf"^#{{1,{len(found[1])}}} ", readme[found.end():], maxsplit=1, flags=re.MULTILINE)[0]
    levels = [len(signs) for signs in re.findall(r"^(#+) ", text, re.MULTILINE)]
    if levels:
        text = re.sub(r"^#+(?= )", lambda signs: "#" * (len(signs[0]) - min(levels) + 2), text, flags=re.MULTILINE)
    return re.sub(r"\]\((?=lessons/|LICENSE)", "](/", text).strip()


def measured(readme: str) -> dict[str, tuple[str, str]]:
    """The time and the memory of each lesson, by its two digits, from the table in README.md."""
    table = readme.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "](lessons/" in line]
    return {row[0][1:3]: (row[2], row[3]) for row in rows}


def small_lessons(found: list[Lesson], readme: str) -> str:
    """Which lessons fit into the memory that Binder gives, by the measured table."""
    table = measured(readme)
    fits = [lesson for lesson in found if lesson.label in table and float(table[lesson.label][1].split()[0]) < MEMORY_OF_BINDER_GB - 0.2]
    return ", ".join(f"[{lesson.label}](/lessons/{lesson.path.name})" for lesson in fits) + "."


def included(root: Path, name: str) -> str:
    """A file of the course as a block of code."""
    try:
        text = (root / name).read_text(encoding="utf-8").rstrip()
    except OSError as error:
        raise CourseError(f"{name} cannot be read ({error.strerror}), which a page of helpers/site/pages shows: name another file "
                          "there") from None
    kind = {".yml": "yaml", ".py": "python", ".json": "json"}.get(Path(name).suffix, "text")
    return f"````{kind}\n{text}\n````"
