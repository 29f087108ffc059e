"""A learner's first minutes, in a real browser on the real server: run lesson 00, see its figure, solve an exercise, validate."""
from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from exercise_harness import Lesson
from nbformat import NotebookNode

from helpers import config, notebooks
from helpers.grading.course import Course, grade_id, read_notebook

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
# No first-run pages and no calls home; only the server under test can be reached.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
# The environment that runs the tests is taken as set up: a real set-up would install the copy into it.
START = """
import sys
from helpers import __main__, environment
environment.ensure = lambda argv, install=True: True
sys.exit(__main__.main(["start", "--no-browser", "--port", sys.argv[1]]))
"""
PATIENCE = 120_000  # ms, for a kernel to start and run cells on a busy machine
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "classroom", ".course", "__pycache__", ".*_cache", "*.egg-info")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: install it to test the course in a browser"),
]


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A copy of the repository: the learner's own notebooks are never touched."""
    root = tmp_path_factory.mktemp("browser") / "course"
    return shutil.copytree(config.ROOT, root, ignore=NOT_COPIED)


@pytest.fixture(scope="module")
def address(course) -> Iterator[str]:
    """The address that `start --no-browser` prints, with its token, while the server runs in the copy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"PYTHONPATH": str(course), "PYTHONUNBUFFERED": "1", "JUPYTER_CONFIG_DIR": str(course.parent / "jupyter")}
    log = course.parent / "server.log"
    with open(log, "w", encoding="utf-8") as stream:
        server = subprocess.Popen([sys.executable, "-c", START, str(port)], cwd=course, env={**os.environ, **own},
                                  stdout=stream, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            said = log.read_text(encoding="utf-8")
            if found := re.search(rf"http://127\.0\.0\.1:{port}/\S*", said):
                break
            assert server.poll() is None, f"the server ended: {said}"
            time.sleep(0.5)
        else:
            pytest.fail(f"the server printed no address: {said}")
        yield found[0]
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="module")
def page() -> Iterator:
    """A page of a headless chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `pip install playwright`")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(PATIENCE)
        yield tab
        browser.close()


def open_notebook(page, address: str, path: str) -> None:
    """Open a notebook in a JupyterLab workspace of its own, and wait for its kernel."""
    base, query = address.split("?")
    page.goto(f"{base}lab/workspaces/{uuid.uuid4().hex[:8]}/tree/{path}?{query}&reset", wait_until="domcontentloaded")
    shown(page).locator(".jp-Cell").first.wait_for()
    idle(page)


def leads_to_lesson_00(page, address: str) -> None:
    """Open the address that `start` prints, and wait until lesson 00 is in front."""
    page.goto(address)
    page.wait_for_function("document.title.startsWith('00_start')")  # JupyterLab shortens the name
    shown(page).locator(".jp-Cell").first.wait_for()


def shown(page):
    """The notebook that is in front."""
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def idle(page) -> None:
    """Wait until the kernel has nothing to do."""
    shown(page).locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()


def menu(page, name: str, entry: str) -> None:
    page.locator(f'.lm-MenuBar-itemLabel:text-is("{name}")').click()
    page.locator(f'.lm-Menu-itemLabel:text-is("{entry}")').click()


def type_answer(page, place: int, answer: str) -> None:
    """Replace the content of the cell at `place`."""
    cell = shown(page).locator(".jp-Cell").nth(place)
    cell.scroll_into_view_if_needed()
    cell.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(answer)


def validate(page) -> str:
    """Press Validate, close its dialog and return what it said."""
    shown(page).locator(".jp-Toolbar").get_by_text("Validate", exact=True).first.click()
    dialog = page.locator(".jp-Dialog-content").filter(has_text=re.compile("passed|passes|failed|Success|error", re.IGNORECASE))
    dialog.wait_for()
    said = dialog.inner_text()
    dialog.locator("button").last.click()
    dialog.wait_for(state="detached")
    return said


def without_markers(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if line.strip() not in ("### BEGIN SOLUTION", "### END SOLUTION"))


def wrong_answer(lesson: Lesson, name: str) -> tuple[str, str]:
    """A wrong answer to an exercise that its visible tests catch, and the beginning of what they say about it."""
    for answer in lesson.wrong[name].values():
        outcome = lesson.run(name, answer, hidden=False)
        for kind, message in outcome.failures:
            if kind == "AssertionError":
                return answer, " ".join(message.split())[:40]
    pytest.fail(f"no wrong answer of {name} fails a visible test")


def solve_others(notebook: NotebookNode, answers: dict[str, str], but: str) -> NotebookNode:
    """The released notebook with every exercise solved except `but`."""
    for cell in notebook.cells:
        if grade_id(cell) in answers and grade_id(cell) != but:
            cell.source = answers[grade_id(cell)]
    return notebook


def test_lesson_00_runs_and_shows_its_figure(page, address):
    lesson = notebooks.find_lesson("00")
    cells = nbformat.read(lesson, as_version=4).cells
    with_figure = next(place for place, cell in enumerate(cells) if cell.metadata.get("mystnb", {}).get("image"))
    leads_to_lesson_00(page, address)
    open_notebook(page, address, f"lessons/{lesson.name}")
    menu(page, "Edit", "Clear Outputs of All Cells")  # or a stored figure would be seen
    assert shown(page).locator(".jp-OutputArea-output").count() == 0
    shown(page).locator(".jp-Cell").first.click()
    for _ in range(with_figure + 1):
        page.keyboard.press("Shift+Enter")
    figure = shown(page).locator(".jp-Cell").nth(with_figure).locator(".jp-OutputArea img").first
    figure.wait_for()
    figure.scroll_into_view_if_needed()
    assert figure.evaluate("image => image.complete && image.naturalWidth") > 200
    idle(page)
    assert shown(page).locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0


def test_an_exercise_validates_when_right_and_says_why_when_wrong(page, address, course):
    name = Course(course).lessons()[0]
    lesson = Lesson(name, Course(course), course / "tests" / "exercises")
    first = lesson.exercises[0].name
    wrong, message = wrong_answer(lesson, first)
    answers = {grade_id(cell): without_markers(cell.source) for cell in lesson.source.cells if grade_id(cell) in lesson.wrong}
    path = Course(course).released(name)
    notebook = solve_others(read_notebook(path), answers, first)
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    place = [grade_id(cell) for cell in notebook.cells].index(first)

    open_notebook(page, address, path.relative_to(course).as_posix())
    type_answer(page, place, answers[first])
    assert "success" in validate(page).lower()
    type_answer(page, place, wrong)
    said = validate(page)
    assert "failed" in said.lower() and message in " ".join(said.split())


def test_the_address_leads_to_lesson_00_though_another_notebook_was_left_open(page, address, course):
    base, query = address.split("?")
    path = Course(course).released(Course(course).lessons()[1]).relative_to(course).as_posix()
    with page.expect_response(lambda response: response.request.method == "PUT" and "workspaces" in response.url
                              and path in (response.request.post_data or "")):
        page.goto(f"{base}lab/tree/{path}?{query}")
    assert list((course / ".course" / "workspaces").iterdir())
    leads_to_lesson_00(page, address)
    page.locator(".lm-DockPanel-tabBar").get_by_text(Path(path).name).wait_for()  # and the other one is still open
