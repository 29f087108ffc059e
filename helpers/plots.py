"""The few figures that return from lesson to lesson: colour-blind safe, readable at 600 pixels, with their spread."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Okabe & Ito (2008): distinguishable with every common colour vision deficiency.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<P"


def learning_curves(table: pd.DataFrame, title: str, x: str = "labels", by: str = "method", y: str = "accuracy") -> Axes:
    """Mean of `y` over the seeds against `x` (logarithmic), a line for each value of `by`, with a band of one standard deviation."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for number, (name, rows) in enumerate(table.groupby(by, sort=False)):
        cells = rows.groupby(x)[y].agg(["mean", "std"])
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axes.plot(cells.index, cells["mean"], label=name, **style)
        axes.fill_between(cells.index, cells["mean"] - cells["std"], cells["mean"] + cells["std"], color=style["color"], alpha=0.15)
    ticks = sorted(table[x].unique())
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="labels per class", ylabel=f"test {y} (band: ± 1 sd over seeds)", title=title)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    return axes


def bars(table: pd.DataFrame, title: str, by: str, y: str = "accuracy") -> Axes:
    """A horizontal bar for each value of `by`: the mean of `y` over the seeds, its standard deviation, and every seed as a dot."""
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(table[by]))
    figure, axes = plt.subplots(figsize=(6, 0.8 + 0.38 * len(names)), layout="constrained")
    for place, name in enumerate(names):
        values = table.loc[table[by] == name, y].to_numpy()
        spread = values.std(ddof=1) if len(values) > 1 else 0
        axes.barh(place, values.mean(), xerr=spread, color=COLOURS[0], alpha=0.6, capsize=3)
        axes.plot(values, np.full(len(values), place), "k.", markersize=4)
        axes.text(0.005, place, f" {values.mean():.3f}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=f"test {y} (line: ± 1 sd, dots: seeds)", title=title)
    axes.grid(alpha=0.3, axis="x")
    return axes


def image_grid(images: np.ndarray, titles: Sequence[str], columns: int = 10, title: str = "") -> None:
    """Images (n, h, w) grey or (n, h, w, 3), with a short title above each. Raises ValueError when the numbers differ."""
    import matplotlib.pyplot as plt

    if len(images) != len(titles):
        raise ValueError(f"{len(images)} images and {len(titles)} titles: pass one title for each image")
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7, 0.9 * rows * 7 / columns + 0.3), dpi=72, layout="constrained", squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for place, image, name in zip(axes.flat, images, titles, strict=False):
        place.imshow(image, cmap="gray")
        place.set_title(name, fontsize=7)
    figure.suptitle(title, fontsize=10)
