"""Names beside the ends of lines, in place of a legend over the data."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

SIZE = 7
"""Points, the smallest text in a figure."""


def label_ends(ax: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Writes each line's name to the right of its end (x, y), moved up or down so far that no two names overlap.

    To be called when scales and limits of the axes are set.
    """
    height = ax.get_position().height * ax.get_figure(root=True).get_figheight() * 72  # pyright: ignore
    to_axes = ax.transData + ax.transAxes.inverted()
    at = {name: to_axes.transform(end) for name, end in ends.items() if np.isfinite(end).all()}
    names = sorted(at, key=lambda name: at[name][1])
    places = _apart([at[name][1] for name in names], 1.25 * SIZE / height)
    for name, place in zip(names, places, strict=True):
        ax.annotate(name, (at[name][0], at[name][1]), (at[name][0] + 0.03, place), xycoords="axes fraction",
                    color=colours[name], fontsize=SIZE, va="center", annotation_clip=False)  # fmt: skip


def _apart(wanted: list[float], gap: float) -> list[float]:
    """The places nearest to those wanted, in their order and at least `gap` apart: neighbours share what they yield."""
    groups: list[list[float]] = []
    for place in wanted:
        groups.append([place])
        while len(groups) > 1 and _lowest(groups[-1], gap) - _lowest(groups[-2], gap) < gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_lowest(group, gap) + gap * k for group in groups for k in range(len(group))]


def _lowest(group: list[float], gap: float) -> float:
    """The lowest place of a group of names that touch each other, its middle where they wanted to be on average."""
    return float(np.mean(group)) - gap * (len(group) - 1) / 2
