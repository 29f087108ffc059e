"""The two pages that grading makes: what a learner gets back, and what an instructor wants to see of a class. No script, no network."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import mean, median

from jinja2 import Environment
from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from helpers.grading.course import Exercise, grade_id
from helpers.grading.feedback import ANSI
from helpers.grading.harmless import IMAGES
from helpers.grading.outcome import GRADED, PARTLY, REJECTED, Marks, Outcome, points_that_count, results_that_count, why
from helpers.grading.restore import visible

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; font-size: .85rem } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top } .n { text-align: right }
.lost { color: #8a3b00 } .note { background: #fff6d6; padding: .5rem .8rem } img { max-width: 100% }
.bars { display: flex; align-items: end; height: 6rem; gap: 2px } .bars div { flex: 1; background: #0072b2; min-height: 1px }
.axis { display: flex; justify-content: space-between; font-size: .8rem }
"""
TEMPLATES = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
FEEDBACK = TEMPLATES.from_string("""<!doctype html><html lang="en"><meta charset="utf-8"><title>{{ lesson }}: feedback</title>
<style>{{ style }}</style><h1>{{ lesson }}</h1>
{% if outcome.status == rejected %}<p class="note">This notebook was not graded: {{ outcome.reason }}. That is not
the same as 0 points: mend it and hand it in again, or ask your instructor.</p>
{% if marks %}<p>An earlier submission counts: {{ "%g" | format(marks.total()) }} points.</p>{% endif %}
{% else %}<p><strong>{{ "%g" | format(total) }} of {{ "%g" | format(most) }} points</strong>
{% if marks and marks.penalty %}(after {{ "%g" | format(marks.penalty) }} for handing in late){% endif %}</p>
{% if marks and marks.report %}<p>Of these, your report: {{ "%g" | format(marks.report[0]) }}
of {{ "%g" | format(marks.report[1]) }} points{% if marks.report[2] %} so far; {{ marks.report[2] }} of its answers are still to be graded
by your instructor{% endif %}.</p>{% endif %}
{% if outcome.reason %}<p class="note">Graded up to a cell only: {{ outcome.reason }}</p>{% endif %}{% endif %}
{% for note in outcome.notes %}<p class="note">{{ note }}</p>{% endfor %}
{% for comment in comments %}<p class="note">Your instructor writes: {{ comment }}</p>{% endfor %}
{% if results %}<table><tr><th>Exercise<th class="n">Points<th>What to look at</tr>
{% for exercise, result in results %}<tr><td>{{ exercise.title }}
<td class="n">{{ "%g" | format(result.score) }} of {{ "%g" | format(result.max_score) }}
<td class="lost">{% if result.name in by_hand %}points set by your instructor<br>{% endif %}
{% for line in result.message.splitlines() %}{{ line }}<br>{% endfor %}</tr>
{% endfor %}</table>{% endif %}
{% if cells %}<h2>Your notebook</h2>{% endif %}
{% for cell in cells %}<pre>{{ cell.source }}</pre>{% for kind, content in cell.outputs %}
{% if kind == "image" %}<img alt="A figure that this cell drew" src="data:{{ content[0] }};base64,{{ content[1] }}">
{% else %}<pre>{{ content }}</pre>{% endif %}{% endfor %}{% endfor %}
</html>""")
SUMMARY = TEMPLATES.from_string("""<!doctype html><html lang="en"><meta charset="utf-8"><title>{{ lesson }}: the class</title>
<style>{{ style }}</style><h1>{{ lesson }}: the class</h1>
<p>{{ outcomes | length }} submissions: <strong>{{ counts[graded] }} graded</strong>, {{ counts[partly] }} graded up to some cell,
{{ counts[rejected] }} rejected.{% if scores %} Points: mean {{ "%.1f" | format(mean) }}, median {{ "%g" | format(median) }},
of {{ "%g" | format(most) }}.{% endif %}</p>
{% for remark in remarks %}<p class="note">{{ remark }}</p>{% endfor %}
{% if missing %}<p class="note">Protections that were missing while learners' code ran: {{ missing | join(", ") }}.</p>{% endif %}
{% if open %}<h2>To look at by hand</h2><table><tr><th>Student<th>Status<th>Why</tr>
{% for outcome, reason in open %}<tr><td>{{ outcome.student }}<td>{{ outcome.status }}<td>{{ reason }}</tr>{% endfor %}</table>{% endif %}
<h2>Points for each exercise</h2>
{% for exercise, bars, average in histograms %}
<h3>{{ exercise.title }}: {{ "%.2f" | format(average) }} of {{ "%g" | format(exercise.max_score) }}</h3>
<div class="bars" role="img" aria-label="{% for bar in bars %}{{ bar.label }} points: {{ bar.count }}; {% endfor %}">
{% for bar in bars %}<div style="height: {{ bar.height }}%" title="{{ bar.label }} points: {{ bar.count }}"></div>{% endfor %}</div>
<div class="axis">{% for bar in bars %}<span>{{ bar.label }} ({{ bar.count }})</span>{% endfor %}</div>{% endfor %}
<h2>What failed most often</h2><table><tr><th class="n">Learners<th>Exercise<th>Message</tr>
{% for count, title, message in failing %}<tr><td class="n">{{ count }} ({{ "%.0f" | format(100 * count / scores | length) }} %)
<td>{{ title }}<td>{{ message }}</tr>
{% endfor %}</table></html>""")


def feedback_page(
    outcome: Outcome, exercises: list[Exercise], master: NotebookNode, notebook: NotebookNode | None, marks: Marks | None
) -> str:  # fmt: skip
    """HTML for the learner: points, what failed, and the own cells with their outputs. Hidden tests and expected values are not in it.

    master: the notebook with all tests; of its test cells the released part is shown, of other cells of the course nothing. notebook:
    the executed one as `harmless` leaves it, None when rejected. marks: what the gradebook holds, which may differ from the outcome.
    """
    results = results_that_count(outcome, exercises, marks)
    by_hand = {exercise.name for exercise in exercises if marks and marks.by_hand.intersection(exercise.tests)}
    cells = []
    if notebook is not None:
        released = {grade_id(cell): visible(cell) for cell in master.cells if is_grade(cell)}
        theirs = {cell.source for cell in master.cells}
        for cell in notebook.cells:
            if grade_id(cell) in released:
                cells.append({"source": released[grade_id(cell)], "outputs": []})
            elif cell.source.strip() and (cell.source not in theirs or is_solution(cell)):
                cells.append({"source": cell.source, "outputs": [plain(output) for output in cell.get("outputs", [])]})
    return FEEDBACK.render(
        style=STYLE, lesson=outcome.lesson, outcome=outcome, rejected=REJECTED, cells=cells,
        results=list(zip(exercises, results, strict=False)), marks=marks, by_hand=by_hand,
        total=marks.total() if marks else outcome.score(),
        most=outcome.max_score() + (marks.report[1] if marks and marks.report else 0),
        comments=marks.comments if marks and outcome.status != REJECTED else [],
    )  # fmt: skip


def plain(output: NotebookNode) -> tuple[str, object]:
    """A harmless output as ("image", (type, base64)) or ("text", text)."""
    if output.output_type == "stream":
        return "text", re.sub(r"[^\n]*\r(?!\n)", "", ANSI.sub("", output.text))  # of a progress bar its last state
    if output.output_type == "error":
        return "text", ANSI.sub("", f"{output.ename}: {output.evalue}")
    image = next((kind for kind in IMAGES if kind in output.data), None)
    return ("image", (image, output.data[image])) if image else ("text", ANSI.sub("", output.data["text/plain"]))


def summary_page(
    outcomes: list[Outcome], exercises: list[Exercise], marks: dict[str, Marks], most: float, lesson: str, missing: list[str],
    remarks: Sequence[str] = (),
) -> str:  # fmt: skip
    """HTML for the instructor: counts, who to look at, a histogram for each exercise, the messages that came most often.

    marks: what the gradebook holds, by student. most: the points that a learner can reach. remarks: sentences about the whole class.
    """
    graded = [outcome for outcome in outcomes if outcome.status != REJECTED]
    results = [{result.name: result for result in results_that_count(found, exercises, marks.get(found.student))} for found in graded]
    scores = [points_that_count(outcome, marks.get(outcome.student)) for outcome in graded]
    histograms, failing = [], Counter()
    for exercise in exercises:
        points = [found[exercise.name].score for found in results]
        histograms.append((exercise, bars(points, exercise.max_score), mean(points) if points else 0.0))
        for found in results:
            if found[exercise.name].score < exercise.max_score:
                failing.update((exercise.title, line) for line in set(found[exercise.name].message.splitlines()))
    common = [(count, title, message) for (title, message), count in failing.most_common(12)]
    return SUMMARY.render(
        style=STYLE, lesson=lesson, outcomes=outcomes, counts=Counter(outcome.status for outcome in outcomes), graded=GRADED, partly=PARTLY,
        rejected=REJECTED, scores=scores, mean=mean(scores) if scores else 0, median=median(scores) if scores else 0,
        most=most, remarks=remarks, missing=missing,
        open=[(found, why(found, marks.get(found.student))) for found in outcomes if found.status != GRADED],
        histograms=histograms, failing=common,
    )  # fmt: skip


def bars(points: list[float], most: float) -> list[dict[str, object]]:
    """How many learners have 0, 1, 2 … points (parts of a point are rounded down); the height is in per cent of the tallest."""
    counts = Counter(max(0, min(int(point), int(most))) for point in points)
    tallest = max(counts.values(), default=1)
    return [{"label": f"{n}", "count": counts[n], "height": round(100 * counts[n] / tallest)} for n in range(int(most) + 1)]
