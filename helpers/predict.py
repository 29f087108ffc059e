"""A multiple-choice prediction: the learner commits to an answer before the cell that shows it is run."""
from __future__ import annotations

import html
import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ipywidgets

BOX = "border-left:4px solid #0072b2;padding:2px 0 2px 14px"
# ipywidgets gives a radio button one line; a longer option would lie on top of the next.
WRAPPED = """<style>
.course-predict .widget-radio-box {height: auto; width: 100%}
.course-predict .widget-radio-box label {display: flex; height: auto; margin: 2px 0; line-height: 1.45; white-space: normal}
.course-predict .widget-radio-box input {order: -1; flex: none; float: none; height: auto; margin: 3px 8px auto 14px; line-height: 1.45}
</style>"""
RIGHT, WRONG = "#00694b", "#b34700"  # told apart by their words as well


def predict(question: str, options: list[str], answer: int, because: str) -> None:
    """Show a question with `options` to choose from; `answer` is the index of the right one, from 0. Returns None.

    After the learner commits, it says whether the choice was right and shows `because`. In a page that is not running (a stored
    notebook, a web page) the options are a list, and the answer is folded. `backticks` mark code; other markup is shown as it is.
    Raises ValueError when there are fewer than two options, two are equal, or `answer` is not one of them.
    """
    if len(set(options)) != len(options) or len(options) < 2:
        raise ValueError(f"options are {options}: give two or more, all different")
    if not 0 <= answer < len(options):
        raise ValueError(f"answer is {answer}: give the index of the right option, from 0 to {len(options) - 1}")
    from IPython.display import display

    box = _live(question, options, answer, because)
    # One bundle: a live notebook shows the widget, a static page the folded HTML. No text holds an object's address, so that the
    # stored output is the same after each run.
    bundle = {**box._repr_mimebundle_(), "text/html": _folded(question, options, answer, because), "text/plain": question}
    display(bundle, raw=True)


def _live(question: str, options: list[str], answer: int, because: str) -> ipywidgets.VBox:
    """The widget: a radio button per option, a button to commit, and room for the explanation."""
    import ipywidgets

    wide = ipywidgets.Layout(width="auto", max_width="100%")
    labels = [(f"({letter}) {option.replace('`', '')}", place) for place, (letter, option) in
              enumerate(zip(string.ascii_lowercase, options, strict=False))]
    choice = ipywidgets.RadioButtons(options=labels, value=None, layout=wide)
    commit = ipywidgets.Button(description="This is my prediction", button_style="primary", disabled=True,
                               layout=ipywidgets.Layout(width="auto", align_self="flex-start"))
    verdict = ipywidgets.HTML(layout=wide)

    def chosen(_change: object) -> None:
        commit.disabled = choice.value is None

    def committed(_button: object) -> None:
        choice.disabled = commit.disabled = True
        verdict.value = _verdict(choice.value, options, answer, because)

    choice.observe(chosen, "value")
    commit.on_click(committed)
    title = f'{WRAPPED}<div style="{BOX};line-height:1.5"><b>Predict</b> &nbsp;{_text(question)}</div>'
    box = ipywidgets.VBox([ipywidgets.HTML(title, layout=wide), choice, commit, verdict])
    box.add_class("course-predict")
    return box


def _verdict(chosen: int, options: list[str], answer: int, because: str) -> str:
    """HTML that says whether the choice was right, and why."""
    letter = string.ascii_lowercase[answer]
    if chosen == answer:
        head = f'<b style="color:{RIGHT}">✔ Right.</b>'
    else:
        said = string.ascii_lowercase[chosen]
        head = f'<b style="color:{WRONG}">✘ Not this time.</b> You said ({said}), it is ({letter}) {_text(options[answer])}.'
    return f'<div style="{BOX};line-height:1.5">{head} {_text(because)}</div>'


def _folded(question: str, options: list[str], answer: int, because: str) -> str:
    """HTML without scripts: the question, the options, and the answer folded away."""
    items = "".join(f"<div>({letter}) {_text(option)}</div>" for letter, option in
                    zip(string.ascii_lowercase, options, strict=False))
    return (f'<div style="{BOX}"><p><b>Predict</b> &nbsp;{_text(question)}</p>{items}'
            f"<details><summary>Answer</summary><p>({string.ascii_lowercase[answer]}) {_text(options[answer])}. "
            f"{_text(because)}</p></details></div>")


def _text(words: str) -> str:
    """Text as HTML, with `backticks` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(words, quote=False))
