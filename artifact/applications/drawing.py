"""Pictures: lines that carry their names, an order book."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression


def label_ends(ax: Axes, ends: Mapping[str, tuple[float, str]], apart: float, fontsize: float = 7) -> None:
    """Names, each in its colour, to the right of the axes at the heights where lines end, moved apart to be legible.

    `ends` has the height and colour of each line, `apart` the least distance in the axes' units.
    """
    names = sorted(ends, key=lambda name: ends[name][0])
    steps = apart * np.arange(len(names))
    heights = isotonic_regression(np.array([ends[name][0] for name in names]) - steps).x + steps
    for name, height in zip(names, heights, strict=True):
        ax.annotate(name, (1.01, height), xycoords=("axes fraction", "data"), color=ends[name][1], fontsize=fontsize,
                    va="center", annotation_clip=False)  # fmt: skip


def draw_book(
    ax: Axes, queues: Int[np.ndarray, "events 2"], chance: Float[np.ndarray, " events"], fontsize: float = 7
) -> None:
    """The queues of an order book, bid upwards and ask downwards, and above them the chance of a move up."""
    (bid, ask), events = queues.T, np.arange(len(queues))
    filled: dict[str, Any] = {"step": "post", "alpha": 0.6, "linewidth": 0}
    ax.fill_between(events, bid, color="#009E73", label="bid queue", **filled)
    ax.fill_between(events, -ask, color="#CC79A7", label="ask queue", **filled)
    ax.set(xlabel="event", ylabel="orders in the queue", ylim=(-7, 11))
    ax.set_yticks([-6, -3, 0, 3, 6], ["6", "3", "0", "3", "6"])
    other = ax.twinx()
    other.plot(chance, color="black", linewidth=1, label="chance of a move up, Bayes")
    other.set(ylim=(-1.7, 1.05), yticks=[0, 0.5, 1])
    other.grid(False)
    handles = [*ax.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
    names = [str(handle.get_label()) for handle in handles]
    ax.legend(handles, names, fontsize=fontsize, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
