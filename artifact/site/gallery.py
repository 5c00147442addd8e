"""Every figure, with its data and what it was made from."""

from artifact import times
from artifact.paths import FIGURES, ROOT
from artifact.status import read

PAGE = "gallery.md"
HEAD = """# Figures

Every figure of the notebooks, with what lies inside its file: the digests of the code that made it (of what the code
means: comments count for nothing), of the notebook, of the locked environment and of the long studies it shows; and
the seed.{times}

<div class="gallery" markdown>

"""
TIMES = " The run time is that of the figure's notebook, on one core of {machine}, {date}."


def markdown() -> str:
    seconds, record = times.kept()
    figures = (_figure(path.stem, seconds) for path in sorted((ROOT / FIGURES).glob("*.png")))
    return HEAD.format(times=TIMES.format(**record) if record else "") + "\n\n".join(figures) + "\n\n</div>\n"


def _figure(name: str, seconds: dict[str, float]) -> str:
    record = read(ROOT / FIGURES / f"{name}.png")
    notebook = record["notebook"]
    title = name.removeprefix(f"{notebook}_").replace("_", " ")
    digests = ", ".join(f"{kind} `{digest[:8]}`" for kind, digest in record["inputs"].items())
    ran = f"; run time {seconds[notebook]:.0f} s" if notebook in seconds else ""
    return f"""## {notebook[:2]}: {title} {{ #{name} }}

![{notebook}, {title}](figures/{name}.png){{ loading=lazy }}

[PDF](figures/{name}.pdf), [data](data/results/{name}.csv), [notebook](notebooks/{notebook}.ipynb); seed
{record["seed"]}; JAX {record["jax"]}{ran}; digests: {digests}"""
