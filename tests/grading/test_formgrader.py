"""An instructor opens what the class grader wrote in the real formgrader, changes a score and comments, and grades again."""
from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from test_gradebook import HOSTILE, executed, hostile_cells, outcome, page_of
from toy_course import LESSON, REPOSITORY, SOLVED

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_browser import CHROMIUM, page  # noqa: E402, F401 (page is a fixture)

from helpers.grading.course import Course  # noqa: E402
from helpers.grading.gradebook import Records  # noqa: E402

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: install it to test formgrader in a browser"),
]


@pytest.fixture
def server(course) -> Iterator[tuple[str, str]]:
    """The address of a Jupyter server in the toy course with formgrader, and its token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, log = "0123456789abcdef", course.parent / "server.log"
    surroundings = {**os.environ, "PYTHONPATH": str(REPOSITORY), "JUPYTER_TOKEN": token,
                    "JUPYTER_CONFIG_DIR": str(course.parent / "config")}
    command = [sys.executable, "-m", "jupyter_server", "--ServerApp.open_browser=False", "--ServerApp.ip=127.0.0.1", "--allow-root",
               f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={course}",
               "--ServerApp.jpserver_extensions=nbgrader.server_extensions.formgrader=True"]
    with open(log, "w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, cwd=course, env=surroundings, stdout=stream, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            if "is running at" in log.read_text(encoding="utf-8"):
                break
            assert process.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.5)
        else:
            pytest.fail(f"the server did not start: {log.read_text(encoding='utf-8')}")
        yield f"http://127.0.0.1:{port}", token
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def test_scores_are_shown_and_what_an_instructor_enters_survives_grading_again(course, server, page):  # noqa: F811
    toy = Course(course)
    page.set_default_timeout(20_000)
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    outcomes = [outcome(toy, "ada", (2, 1, 1.5, 0), messages={"test_square": "2 of 4 squares are right"}), outcome(toy, "bob"),
                outcome(toy, "mallory", (0, 0, 0, 1), notebook=executed(toy, SOLVED, hostile_cells))]
    with Records(toy, LESSON) as records:
        records.write(outcomes)
        base, token = server

        page.goto(f"{base}/lab?token={token}")  # as the address that a server prints: it leaves a cookie
        page.goto(f"{base}/formgrader/gradebook/{LESSON}/exercises_01")
        page.locator("td.score").first.wait_for()
        shown = {row.locator("td.name a.name-shown").text_content(): row.locator("td.score").text_content()
                 for row in page.locator("tbody tr").all()}
        assert shown == {"ada": "4.5 / 7", "bob": "7 / 7", "mallory": "1 / 7"}

        with Gradebook(toy.settings().CourseDirectory.db_url) as gradebook:
            numbers = {name: gradebook.find_submission_notebook("exercises_01", LESSON, name).id for name in ("ada", "mallory")}
        with page.expect_response(lambda response: "/api/comments" in response.url):
            page.goto(f"{base}/formgrader/submissions/{numbers['ada']}/")
        assert "return number * number" in page.locator("body").inner_text()
        page.wait_for_function("document.querySelector('input#test_square').placeholder === '1.5'")
        enter(page, "input#test_square", "2.5", "/api/grade/")
        enter(page, "textarea#square-comment", "closer than the tests say", "/api/comment/")

        records.write([outcome(toy, "ada", (2, 1, 0, 1)), *outcomes[1:]])
        page.reload()
        page.wait_for_function("document.querySelector('input#test_square').value === '2.5'")
        page.wait_for_function("document.querySelector('textarea#square-comment').value === 'closer than the tests say'")
        with Gradebook(toy.settings().CourseDirectory.db_url) as gradebook:
            grade = gradebook.find_grade("test_square", "exercises_01", LESSON, "ada")
            assert (grade.manual_score, grade.auto_score) == (2.5, 0)
            assert gradebook.find_comment("square", "exercises_01", LESSON, "ada").manual_comment == "closer than the tests say"
            assert gradebook.find_submission(LESSON, "ada").score == 6.5
        assert "closer than the tests say" in page_of(toy, "ada") and "6.5 of 7 points" in page_of(toy, "ada")

        with page.expect_response(lambda response: "/api/comments" in response.url):
            page.goto(f"{base}/formgrader/submissions/{numbers['mallory']}/")
        assert HOSTILE in page.locator("body").inner_text(), "a learner's HTML is shown as text"
        page.wait_for_timeout(500)
        assert dialogs == [] and page.locator("img[src=x]").count() == 0


def enter(page, selector: str, text: str, address: str) -> None:  # noqa: F811
    """Type into a field of formgrader and leave it with Tab, which saves it."""
    page.locator(selector).fill(text)
    with page.expect_response(lambda response: re.search(address, response.url) and response.request.method == "PUT") as saved:
        page.keyboard.press("Tab")
    assert saved.value.ok
