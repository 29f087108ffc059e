"""The picture on the front page: a source, a network and a target, and at each place the lessons that are about it."""
from __future__ import annotations

from html import escape

from helpers.site.course_map import Lesson, stations

BARS = (58, 92, 76, 92, 58)  # heights of the layers that are carried over
ROW = 42


def picture(found: list[Lesson]) -> str:
    """The figure as HTML: an inline SVG for wide windows and one for narrow ones, of which the style sheet shows one.

    Its text alternative is the list of the same places, folded below it.
    """
    rows = []
    places = {}
    for zone, words, members in stations(found):
        places.setdefault(zone, []).append((words, members))
        links = ", ".join(f'<a href="lessons/{lesson.name}.html">{lesson.label} {escape(lesson.short)}</a>' for lesson in members)
        rows.append(f"<li>{TITLES[zone]} – {escape(words)}: {links}</li>")
    wide = _wide(places)
    narrow = _narrow(places)
    return (f'<figure class="course-picture">\n{wide}\n{narrow}\n'
            f"<details><summary>The picture in words</summary>\n<p>{ALTERNATIVE}</p>\n<ul>{''.join(rows)}</ul></details>\n</figure>")


TITLES = {"source": "The source", "network": "The network", "target": "Your target", "kinds": "The same ideas elsewhere"}
ALTERNATIVE = ("Somebody else has trained a network on plenty of labelled pictures, the source. You carry its layers over, put a new last "
               "layer on top, and use it for your own few pictures, the target. Numbered circles lead to the lessons about each place.")


def _wide(places: dict) -> str:
    kinds = places.get("kinds", [])
    step = 960 / max(1, len(kinds))
    body = [
        _cards(70, 48, plenty=True), _text(125, 172, "SOURCE", "head"), _text(125, 192, "plenty of data, labelled by others", "note"),
        _arrow(222, 96, 330), _text(276, 84, "trained on", "note"),
        _network(350, 96), _text(426, 172, "carried over", "old"), _text(556, 172, "new", "new"),
        _text(470, 192, "layers of the network", "note"),
        _arrow(610, 96, 716), _text(663, 84, "used for", "note"),
        _cards(768, 48, plenty=False), _text(850, 172, "TARGET", "head"), _text(850, 192, "your data, few labels or none", "note"),
    ]
    for zone, left in (("source", 14), ("network", 346), ("target", 690)):
        body += [_station(left, 226 + place * ROW, words, members) for place, (words, members) in enumerate(places.get(zone, []))]
    body.append('<path class="rule" d="M14 372H966"/>')
    body.append(_text(490, 377, "the same ideas on other data, and in service", "note over"))
    for place, (words, members) in enumerate(kinds):
        middle = 10 + step * (place + 0.5)
        body += [_icon(words, middle, 424), _text(middle, 474, words, "words"), _circles(middle - 17 * len(members) + 17, 500, members)]
    return _svg("wide", 980, 528, body)


def _narrow(places: dict) -> str:
    body = [_cards(36, 30, plenty=True), _text(84, 148, "SOURCE", "head"), _text(84, 166, "plenty of data,", "note"),
            _text(84, 182, "labelled by others", "note"), _arrow(158, 74, 196), _network(206, 74, scale=0.72),
            _text(264, 148, "carried over", "old"), _text(348, 148, "new", "new")]
    top = 240
    for zone in ("source", "network"):
        body.append(_text(14, top - 22, f"about {TITLES[zone].lower()}", "note left"))
        for words, members in places.get(zone, []):
            body.append(_station(14, top + 6, words, members))
            top += ROW
        top += 30
    top -= 24
    body += [f'<path class="rule" d="M14 {top - 8}H366"/>', _cards(18, top + 18, plenty=False), _text(284, top + 52, "TARGET", "head"),
             _text(284, top + 72, "your data,", "note"), _text(284, top + 88, "few labels or none", "note")]
    top += 158
    for words, members in places.get("target", []):
        body.append(_station(14, top, words, members))
        top += ROW
    body += [f'<path class="rule" d="M14 {top}H366"/>', _text(190, top + 5, "on other data, and in service", "note over")]
    top += 44
    for words, members in places.get("kinds", []):
        body += [_icon(words, 40, top), _station(84, top, words, members)]
        top += 54
    return _svg("narrow", 380, top - 14, body)


def _svg(kind: str, width: int, height: float, body: list[str]) -> str:
    return (f'<svg class="course-{kind}" viewBox="0 0 {width} {height:g}" role="group" aria-label="Map of the course">'
            + "".join(body) + "</svg>")


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def _arrow(x: float, y: float, to: float) -> str:
    return f'<path class="arrow" d="M{x} {y}H{to - 4}"/><path class="tip" d="M{to} {y}l-11 -6v12z"/>'


def _station(x: float, y: float, words: str, members: list[Lesson]) -> str:
    """Circles with the lessons' numbers, and the words on their right. x, y: the left end, and the middle of the line."""
    return _circles(x + 17, y, members) + _text(x + 34 * len(members) + 10, y + 5, words, "words left")


def _circles(x: float, y: float, members: list[Lesson]) -> str:
    """A linked circle for each lesson, the first one with its centre at x, y."""
    return "".join(
        f'<a href="lessons/{lesson.name}.html" aria-label="Lesson {lesson.label}: {escape(lesson.short, quote=True)}">'
        f"<title>{lesson.label} {escape(lesson.short)}</title>"
        f'<circle cx="{x + 34 * place:g}" cy="{y:g}" r="15"/>{_text(x + 34 * place, y + 5, lesson.label, "number")}</a>'
        for place, lesson in enumerate(members))


def _cards(x: float, y: float, plenty: bool) -> str:
    """A pile of photographs (the source), or two drawings and one that nobody has named (the target)."""
    if plenty:
        cards = "".join(f'<rect class="sheet" x="{x + 8 * n}" y="{y - 6 * n}" width="84" height="84" rx="6"/>' for n in (3, 2, 1, 0))
        return (f'{cards}<path class="old" d="M{x + 8} {y + 70}l22 -34 17 22 10 -12 19 24z"/>'
                f'<circle class="old" cx="{x + 60}" cy="{y + 24}" r="9"/>')
    seven, two = f"M{x + 12} {y + 30}h24l-15 34", f"M{x + 67} {y + 37}q4 -10 13 -8q12 4 6 16q-6 10 -19 19h25"
    drawn = (seven, two, f"M{x + 128} {y + 38}q1 -10 11 -9q11 2 9 11q-2 7 -10 11v5m0 8v1")
    sheets = "".join(f'<rect class="sheet" x="{x + 57 * n}" y="{y + 12}" width="50" height="68" rx="6"/>' for n in range(3))
    return sheets + "".join(f'<path class="{"drawn" if n < 2 else "icon"}" d="{shape}"/>' for n, shape in enumerate(drawn))


def _network(x: float, y: float, scale: float = 1.0) -> str:
    """Five layers that are carried over and a new last one. x: the left end, y: the middle."""
    step, bars = 30 * scale, []
    for place, height in enumerate(BARS):
        high = height * scale
        bars.append(f'<rect class="old" x="{x + place * step:g}" y="{y - high / 2:g}" width="{18 * scale:g}" height="{high:g}" rx="4"/>')
    left, high = x + 6.4 * step, 76 * scale
    bars.append(f'<rect class="new" x="{left:g}" y="{y - high / 2:g}" width="{24 * scale:g}" height="{high:g}" rx="4"/>')
    return "".join(bars) + f'<path class="arrow" d="M{x + 5 * step - 6 * scale:g} {y}H{left - 6 * scale:g}"/>'


def _icon(words: str, x: float, y: float) -> str:
    """A drawing for a kind of data, with its middle at x, y; a plain dot for words that have none."""
    shapes = {
        "text, languages": "M-20 -12h40M-20 -2h40M-20 8h26",
        "where, how many": "M-20 -16h17v15h-17zM4 -6h16v20h-16zM-14 8h8v8h-8z",
        "things that move": "M-22 8q14 -28 30 -8M8 0l10 2M8 0l2 -11M-22 8l0 0",
        "new pictures": "M-18 -16h36v32h-36zM-12 10l9 -13 7 8 4 -4 8 9M10 -10v8M6 -6h8",
        "sound, captions": "M-20 -4v8M-12 -12v24M-4 -18v36M4 -8v16M12 -14v28M20 -5v10",
        "into the world": "M-20 -14h40v10h-40zM-20 4h40v10h-40zM-14 -9h2M-14 9h2",
    }
    return f'<path class="icon" transform="translate({x:g} {y:g})" d="{shapes.get(words, "M-2 0h4M-2 1h4")}"/>'
