"""The site: what it is made from, what it must never show, and how it behaves in a real browser without a network."""
from __future__ import annotations

import ast
import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import config
from helpers.errors import CourseError
from helpers.site import build, course_map, picture, reference, stage

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
PATIENCE = 60_000  # ms
LESSONS = course_map.lessons()
WIDTHS = (1280, 390)
in_a_browser = [pytest.mark.browser, pytest.mark.slow,
                pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: install it to test the site in a browser")]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The whole site, built once for this module."""
    folder = tmp_path_factory.mktemp("site") / "site"
    assert build.build(folder) == 0, "Sphinx has remarks: run `python3 -m helpers site` to see them"
    return folder


def pages(site: Path) -> list[str]:
    """Every page, as a path from the front page's folder."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def text_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


# What the site is made from


def test_every_lesson_has_one_place_in_the_side_bar_and_one_in_the_picture():
    numbers = [n for _, part in course_map.PARTS for n in part]
    assert Counter(numbers) == Counter(n for _, _, station in course_map.STATIONS for n in station) == Counter(range(len(numbers)))
    assert course_map.LATER not in dict(course_map.parts(LESSONS)), "give the newest lesson a place in helpers/site/course_map.py"


def test_a_lesson_without_a_place_is_shown_under_more():
    found = [*LESSONS, course_map.Lesson(Path("lessons/77_my_own_topic.ipynb"))]
    assert course_map.parts(found)[-1] == (course_map.LATER, found[-1:])
    assert 'aria-label="Lesson 77: My own topic"' in picture.picture(found) and course_map.part_of(found[-1]) == course_map.LATER
    assert [lesson.label for lesson in found[:2]] == ["00", "01"] and found[4].short == "Fine-tuning"


def test_the_picture_has_a_link_to_every_lesson_in_each_of_its_forms():
    made = picture.picture(LESSONS)
    for lesson in LESSONS:
        assert made.count(f'href="lessons/{lesson.name}.html"') == 3  # wide, narrow, in words
    assert "<script" not in made and "http" not in made


README = "# C\n\n## For the learner\n\nRead [it](lessons/00_a.ipynb).\n\n#### Deep\n\nx\n\n##### Deeper\n\n## Next\n\nno\n"


def test_a_section_of_the_readme_is_raised_and_its_links_work_from_any_page():
    found = stage.section(README, "For the learner")
    assert found == "Read [it](/lessons/00_a.ipynb).\n\n## Deep\n\nx\n\n### Deeper"
    with pytest.raises(CourseError, match="no section 'Gone'"):
        stage.section(README, "Gone")


def test_code_in_folded_answers_becomes_html():
    made = stage.FOLDED.sub(stage.unfolded_markup, "<details><summary>1. Why `x`?</summary>\nBecause *of* `a < b`.</details>\n\n`kept`")
    assert "<summary>1. Why <code>x</code>?</summary>" in made and "<em>of</em> <code>a &lt; b</code>." in made
    assert made.endswith("\n\n`kept`")


def test_references_become_links():
    text = "- A: *B*, ICML 2020. arXiv:2006.09994\n- C. doi:10.1109/5.771073. And [D](https://d.org), https://e.org/x."
    for pattern, link in stage.SOURCES:
        text = pattern.sub(link, text)
    assert text == ("- A: *B*, ICML 2020. [arXiv:2006.09994](https://arxiv.org/abs/2006.09994)\n- C. [doi:10.1109/5.771073]"
                    "(https://doi.org/10.1109/5.771073). And [D](https://d.org), <https://e.org/x>.")


def tiny_course(root: Path, *cells: nbformat.NotebookNode) -> Path:
    """A course with one lesson, 00_zero, of these cells below its title."""
    (root / "lessons").mkdir(parents=True)
    (root / "helpers").mkdir()
    (root / "helpers" / "one.py").write_text('"""One."""\n\ndef f(x: int = 1) -> int:\n    """F."""\n', encoding="utf-8")
    shutil.copy(config.ROOT / "LICENSE", root)
    (root / "README.md").write_text(README, encoding="utf-8")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Zero?\n\nText."), *cells]), root / "lessons" / "00_zero.ipynb")
    return root


@pytest.fixture
def one_page(tmp_path, monkeypatch) -> Path:
    """`pages/` with a front page that says little."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "index.md").write_text("# Zero\n\n[[contents]]\n", encoding="utf-8")
    monkeypatch.setattr(stage, "PAGES", folder)
    return folder


@pytest.mark.parametrize(("line", "said"), [
    ("[[nonsense]]", r"nothing stands for \[\[nonsense\]\]"), ("[[readme: Gone]]", "no section 'Gone'"),
    ("[[file: gone.txt]]", "gone.txt cannot be read"), ("[[figure: 00 gone]]", "lesson 00 has no cell 'gone'"),
])
def test_a_page_that_refers_to_nothing_is_an_error(tmp_path, one_page, line, said):
    (one_page / "index.md").write_text(f"# Zero\n\n{line}\n", encoding="utf-8")
    with pytest.raises(CourseError, match=said):
        stage.stage(tiny_course(tmp_path / "course"), tmp_path / "source", tmp_path / "extra")


def test_without_lessons_there_is_nothing_to_show(tmp_path):
    (tmp_path / "lessons").mkdir()
    with pytest.raises(CourseError, match="holds no lessons"):
        stage.stage(tmp_path, tmp_path / "source", tmp_path / "extra")


def test_somebody_s_answers_and_solutions_are_never_shown(tmp_path):
    root = tiny_course(tmp_path / "course")
    lesson = course_map.lessons(root)[0]
    folder = root / "lessons" / "exercises" / "00_zero"
    folder.mkdir(parents=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# E"), new_code_cell("my answer")]), folder / "exercises_00.ipynb")
    with pytest.raises(CourseError, match="holds somebody's answers"):
        stage.released(stage.Course(root), lesson)
    (folder / "exercises_00.ipynb").rename(folder / "exercises_00.2026-01-01-1000.ipynb")
    assert stage.released(stage.Course(root), lesson) == {}
    nbformat.write(new_notebook(cells=[new_code_cell("### BEGIN SOLUTION\nx = 1\n### END SOLUTION")]), folder / "rubric_00.ipynb")
    with pytest.raises(CourseError, match="holds solutions or hidden tests"):
        stage.released(stage.Course(root), lesson)


def test_the_reference_reads_the_source_and_imports_nothing(tmp_path):
    package = tmp_path / "helpers"
    (package / "data").mkdir(parents=True)
    (package / "_hidden.py").write_text("def f(): pass", encoding="utf-8")
    (package / "empty.py").write_text("X = 1", encoding="utf-8")
    (package / "data" / "faces.py").write_text('"""Faces. And more."""\ndef load(n: int) -> int:\n    """Load."""\n', encoding="utf-8")
    (package / "heavy.py").write_text(
        'raise ImportError\nclass Net:\n    """A *net* of `k * k`.\n\n        code\n    """\n    size: int = 3\n'
        '    def run(self, x: list[int], *, fast: bool = True) -> None:\n        """Run $5."""\n    def _private(self): pass\n',
        encoding="utf-8")
    (tmp_path / "out").mkdir()
    reference.write(package, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"index.md", "helpers.heavy.md", "helpers.data.md"}
    made = (tmp_path / "out" / "helpers.heavy.md").read_text(encoding="utf-8")
    for part in ("{py:class} Net", "`size: int = 3`", "{py:method} run(x: list[int], *, fast: bool=True) -> None", r"A \*net\* of `k * k`",
                 r"\$5"):
        assert part in made, part
    assert "_private" not in made
    listed = (tmp_path / "out" / "index.md").read_text(encoding="utf-8")
    assert "| [`helpers.data.faces`](helpers.data.md#helpersdatafaces) | Faces. |" in listed


def test_every_public_function_of_the_course_is_documented():
    missing = [f"{name}.{node.name}" for name, path in reference.modules(config.ROOT / "helpers").items()
               for node in reference.members(ast.parse(path.read_text(encoding="utf-8"))) if not ast.get_docstring(node)]
    assert len(missing) < 40, missing


# The command


def test_a_formula_becomes_mathml_and_a_warning_the_status_1(tmp_path, one_page, capsys):
    root = tiny_course(tmp_path / "course", new_markdown_cell(r"$$y = W x + \frac{\alpha}{r} B A x$$ and $d$"),
                       new_markdown_cell("[gone](99_gone.ipynb)"))
    to = tmp_path / "made"
    assert build.build(to, root) == 1
    said = capsys.readouterr()
    assert "99_gone.ipynb" in said.err and str(tmp_path / ".site") not in said.err and "open " in said.out
    page = text_of(to, "lessons/00_zero.html")
    assert page.count("<math ") == 2 and "<mfrac>" in page and "MathJax" not in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course", "made", "pages"], "something was left behind"

    (one_page / "index.md").write_text("# Zero\n\n[[nonsense]]\n", encoding="utf-8")
    before = (to / "index.html").read_bytes()
    with pytest.raises(CourseError):
        build.build(to, root)
    assert (to / "index.html").read_bytes() == before, "a failure must keep the older site"


def test_a_folder_that_is_no_site_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(CourseError, match="no site of this course.*--to"):
        build.build(tmp_path)
    with pytest.raises(CourseError, match="no site of this course"):
        build.build(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_a_full_disk_keeps_the_older_site(tmp_path, monkeypatch):
    def full(*_: object) -> list[str]:
        raise OSError(28, "No space left on device")

    (tmp_path / "made").mkdir()
    (tmp_path / "made" / build.MARKER).write_text("", encoding="utf-8")
    monkeypatch.setattr(build, "_sphinx", full)
    with pytest.raises(CourseError, match="No space left .* an older site was kept"):
        build.build(tmp_path / "made", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["made", build.MARKER]


# The whole site


def test_the_frameworks_are_not_loaded_and_nothing_is_executed(site):
    code = ("import sys; from helpers.site import build, stage, reference, picture; import myst_nb, sphinx.application\n"
            "print({'torch', 'tensorflow', 'transformers'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=config.ROOT)
    assert done.stdout.strip() == "set()", done.stderr


def test_every_lesson_its_figures_with_text_and_its_notebooks_are_there(site):
    for lesson in LESSONS:
        page = text_of(site, f"lessons/{lesson.name}.html")
        stored = nbformat.read(lesson.path, as_version=4)
        alts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt") for cell in stored.cells if cell.cell_type == "code"
                for out in cell.outputs if any(kind.startswith("image/") for kind in out.get("data", {}))]
        shown = re.findall(r"<img\b[^>]*>", page.partition("<article")[2].partition("</article>")[0])
        assert len(shown) == len(alts), f"{lesson.name}: {len(shown)} of {len(alts)} figures"
        assert all(re.search(r'alt="[^"]{10,}"', image) for image in shown), lesson.name
        assert page.count("<details") >= 3 and f"../downloads/{lesson.name}.ipynb" in page
        assert (site / "downloads" / lesson.path.name).read_bytes() == lesson.path.read_bytes()
        assert not re.search(r"\$\$|\\frac|\(\$", re.sub(r"<(pre|math)\b.*?</\1>", "", page, flags=re.DOTALL)), "a formula was not shown"


def test_nothing_secret_and_nothing_from_another_host_is_in_it(site):
    with zipfile.ZipFile(site / "downloads" / stage.BUNDLE) as bundle:
        names = bundle.namelist()
        texts = {name: bundle.read(name).decode() for name in names}
    assert len(names) == len(set(names)) == len(list((site / "downloads").glob("*.ipynb"))) >= 2 * len(LESSONS) - 1
    texts |= {page: text_of(site, page) for page in pages(site) if not page.startswith(("guides/", "reference/"))}
    for name, text in texts.items():
        assert not stage.SECRET.search(text), name
    for page in pages(site):
        text = text_of(site, page)
        asked = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(https?:|//)[^"]*"|<link\b[^>]*\bhref="(https?:|//)', text)
        assert not asked, (page, asked)
        assert str(config.ROOT) not in text and not re.search(r"/(tmp|home)/\w+", re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)), page


def test_every_link_inside_the_site_leads_somewhere(site):
    there = {path.relative_to(site).as_posix() for path in site.rglob("*")}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text_of(site, page))) for page in pages(site)}
    for page in pages(site):
        for link in set(re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text_of(site, page))):
            if re.match(r"(https?|mailto|javascript):", link):
                continue
            path, _, anchor = link.partition("#")
            target = (site / page).parent.joinpath(path).resolve().relative_to(site.resolve()).as_posix() if path else page
            assert target in there, f"{page} links to {link}"
            assert not anchor or anchor in anchors.get(target, {anchor}), f"{page} links to {link}, which has no such place"


# In a browser


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    """The site on a server of this machine."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `pip install playwright`")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        yield made
        made.close()


@pytest.fixture
def page(browser) -> Iterator:
    """A page of its own profile, which fails the test when a request fails or asks another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    tab, wrong = context.new_page(), []
    tab.set_default_timeout(PATIENCE)
    # A page that is left while it still loads gives up its requests, and says so with this word.
    tab.on("requestfailed", lambda request: "ERR_ABORTED" in str(request.failure) or wrong.append(f"failed: {request.url}"))
    tab.on("response", lambda answer: answer.status >= 400 and wrong.append(f"{answer.status}: {answer.url}"))
    here = re.compile(r"http://127\.0\.0\.1|data:|blob:")
    tab.on("request", lambda request: here.match(request.url) or wrong.append(f"away: {request.url}"))
    tab.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    yield tab
    context.close()
    assert wrong == []


OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const out = [...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  return wide > 0 ? [wide, ...out.slice(0, 3).map(e => e.outerHTML.slice(0, 150))] : [];
}"""
BROKEN = """() => [...document.images].filter(i => !(i.complete && i.naturalWidth > 0) || !i.hasAttribute('alt'))
                  .map(i => i.outerHTML.slice(0, 150))"""


def sample(site: Path) -> list[str]:
    """One page of each kind."""
    first = LESSONS[-1].name
    return ["index.html", f"lessons/{first}.html", "guides/instructor.html", "guides/glossary.html", "reference/helpers.features.html",
            *(page for page in pages(site) if page.startswith(f"lessons/exercises/{first}/"))][:6]


def everything_but_lists(site: Path) -> list[str]:
    return [page for page in pages(site) if not page.startswith(("genindex", "search", "py-modindex"))]


def shared_out(site: Path, scheme: str) -> list[str]:
    """The pages to look at in a colour scheme: one of each kind in both; half of the lessons and guides; some exercises and reference."""
    every = everything_but_lists(site)
    many = [page for page in every if page.startswith(("lessons/exercises/", "reference/helpers."))]
    few = [page for page in every if page not in many]
    return list(dict.fromkeys([*sample(site), *few[scheme == "dark"::2], *many[scheme == "dark"::10]]))


for_browser = [pytest.param(scheme, marks=in_a_browser) for scheme in ("light", "dark")]


@pytest.mark.parametrize("scheme", for_browser)
def test_no_page_fails_or_scrolls_sideways(site, address, page, scheme):
    page.emulate_media(color_scheme=scheme)
    for name in shared_out(site, scheme):
        page.goto(f"{address}/{name}", wait_until="load")
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(OVERFLOW) == [], (name, width)
        page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        page.wait_for_function("[...document.images].every(i => i.complete)")
        assert page.evaluate(BROKEN) == [], name


# Coloured code is thousands of elements, which take axe minutes. Only the rule about contrast looks at them: that one runs on one page of
# each kind, and on its start; for all other rules code is plain text.
RULES = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": False}}}
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
SHORTEN = """() => { let seen = 0; for (const e of document.querySelectorAll('article div.cell')) { if (++seen > 8) e.remove(); }
                     [...document.querySelectorAll('article dl.py')].slice(3).forEach(e => e.remove());
                     [...document.querySelectorAll('article dl.simple')].slice(2).forEach(e => e.remove()); }"""


PLAIN = "document.querySelectorAll('pre').forEach(code => { code.textContent = code.textContent; })"


def serious(page, options: dict) -> list[tuple]:
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [(rule["id"], rule["impact"], [node["html"][:150] for node in rule["nodes"][:3]]) for rule in found
            if rule["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", for_browser)
def test_axe_finds_no_serious_violation(site, address, page, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed").Axe().axe_script
    page.emulate_media(color_scheme=scheme)
    lessons = [f"lessons/{lesson.name}.html" for lesson in LESSONS[scheme == "dark"::2]]
    for place, name in enumerate(dict.fromkeys([*sample(site), *lessons, "guides/learner.html", "guides/contributor.html", "search.html"])):
        page.set_viewport_size({"width": WIDTHS[(place + (scheme == "dark")) % 2], "height": 900})
        page.goto(f"{address}/{name}", wait_until="load")
        page.evaluate(axe)
        if name in sample(site):
            page.evaluate(SHORTEN)
            assert serious(page, CONTRAST) == [], (name, scheme)
        page.evaluate(PLAIN)
        assert serious(page, RULES) == [], (name, scheme)


def rare_terms() -> dict[str, str]:
    """For each lesson, a word of its headings that no other lesson's headings hold, or the rarest."""
    words = {}
    for lesson in LESSONS:
        text = "\n".join(cell.source for cell in nbformat.read(lesson.path, as_version=4).cells if cell.cell_type == "markdown")
        words[lesson.name] = set(re.findall(r"[a-z]{5,}", " ".join(re.findall(r"^#+ (.*)$", text, re.MULTILINE)).lower()))
    count = Counter(word for found in words.values() for word in found)
    return {name: min(sorted(found), key=lambda word: (count[word], -len(word))) for name, found in words.items()}


@pytest.mark.parametrize("how", [pytest.param("served", marks=in_a_browser), pytest.param("from the disk", marks=in_a_browser)])
def test_the_search_finds_a_term_of_each_lesson(site, address, browser, how):
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    base = address if how == "served" else site.as_uri()
    terms = rare_terms() if how == "served" else dict([*rare_terms().items()][:2])
    for name, term in terms.items():
        page.goto(f"{base}/search.html?q={term}", wait_until="domcontentloaded")
        page.locator(f'#search-results a[href*="lessons/{name}.html"]').first.wait_for()
    page.context.close()


FOCUSED = """() => { const e = document.activeElement; return e === document.body ? null :
                     (e.getAttribute('href') || '') + '|' + (e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40)) }"""
REACHABLE = """() => [...document.querySelectorAll('a[href], button, summary, input')].filter(e =>
                     e.checkVisibility({checkVisibilityCSS: true}) && e.getClientRects().length && !e.disabled && e.tabIndex >= 0).map(e =>
                     (e.getAttribute('href') || '') + '|' + (e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40)))"""


@pytest.mark.parametrize(("name", "width"), [
    pytest.param("index.html", 1280, marks=in_a_browser), pytest.param("index.html", 390, marks=in_a_browser),
    pytest.param(f"lessons/{LESSONS[-1].name}.html", 1280, marks=in_a_browser),
])
def test_the_keyboard_alone_reaches_everything(address, page, name, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/{name}", wait_until="load")
    wanted, reached = set(page.evaluate(REACHABLE)), set()
    for _ in range(len(wanted) * 2 + 100):
        page.keyboard.press("Tab")
        if (focused := page.evaluate(FOCUSED)) is not None:
            reached.add(focused)
        if wanted <= reached:
            break
    assert wanted - reached == set()
    assert len(wanted) > 40


@pytest.mark.parametrize("width", [pytest.param(width, marks=in_a_browser) for width in WIDTHS])
def test_menu_search_theme_and_answers_work_by_keyboard(address, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/index.html", wait_until="load")
    if width == 390:  # the side bar opens as a dialogue, and a lesson can be reached in it
        page.locator(".primary-toggle:visible").first.focus()
        page.keyboard.press("Enter")
        link = page.locator(f'dialog[open] a[href="lessons/{LESSONS[0].name}.html"]').first
        link.wait_for(state="visible")
        link.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/lessons/{LESSONS[0].name}.html")
    page.goto(f"{address}/lessons/{LESSONS[3].name}.html", wait_until="load")
    page.locator("button.theme-switch-button:visible").first.focus()
    page.keyboard.press("Enter")
    for _ in range(4):  # as the system, light, dark
        page.keyboard.press("Tab")
        if "dark" in page.evaluate("document.activeElement.textContent").lower():
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    answer = page.locator("article details").last
    answer.locator("summary").focus()
    page.keyboard.press("Enter")
    assert answer.evaluate("e => e.open")
    page.keyboard.press("Control+k")
    page.keyboard.type("BatchNorm", delay=20)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=BatchNorm*")
    page.locator('#search-results a[href*="lessons/"]').first.wait_for()


def test_the_scheduled_workflow_and_the_guides_name_commands_that_exist(capsys):
    from helpers import __main__ as command_line

    guides = "\n".join(path.read_text(encoding="utf-8") for path in stage.PAGES.rglob("*.md"))
    named = set(re.findall(r"python3? -m helpers ([a-z]+)", guides))
    assert {"start", "check", "new", "site", "release", "run", "doctor"} <= named
    for command in named:
        with pytest.raises(SystemExit) as end:
            command_line.main([command, "--help"])
        assert end.value.code == 0, command
    capsys.readouterr()
