"""One look for every figure: colour-blind-safe, readable in print."""

import matplotlib as mpl
import pandas as pd
import seaborn as sns

WIDTH = 6.8
"""The width of the paper's text, in inches; figures are drawn at the size they are printed."""

COLOURS = {
    "RTRL": "#0072B2",
    "BPTT": "#000000",
    "TBPTT(1)": "#E69F00",
    "TBPTT(10)": "#D55E00",
    "TBPTT(100)": "#CC79A7",
}
"""The colour of each estimator, the same in every figure (Okabe & Ito's colour-blind-safe palette)."""


def apply() -> None:
    """Sets seaborn's theme, matplotlib's defaults and plain-text data frames for this process."""
    sns.set_theme(context="paper", style="whitegrid", palette="colorblind", font_scale=1.0)
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 2.8),
            "figure.constrained_layout.use": True,
            "figure.dpi": 130,
            "savefig.dpi": 200,
            "font.size": 9,
            "axes.labelsize": 9,
            "axes.titlesize": 9,
            "legend.fontsize": 8,
            "legend.frameon": True,
            "legend.framealpha": 0.9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "lines.linewidth": 1.4,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": "0.9",
            "grid.linewidth": 0.6,
            "pdf.fonttype": 42,
        }
    )
    pd.set_option("display.notebook_repr_html", False)
    pd.set_option("display.width", 110)
    pd.set_option("display.max_columns", 20)
