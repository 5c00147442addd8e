"""Every figure, with its data and what it was made from."""

import json

from artifact import times
from artifact.paths import FIGURES, ROOT
from artifact.status import read

PAGE = "gallery.md"
HEAD = """# Figures

Every figure of the notebooks, with what lies inside its file: the digests of the code that made it (of what the code
means: comments count for nothing), of the notebook, of the locked environment and of the long studies it shows; the
seed; and how long its notebook ran, on one core, where it was last executed before this site was made.

<div class="gallery" markdown>

"""


def markdown() -> str:
    return HEAD + "\n\n".join(_figure(path.stem) for path in sorted((ROOT / FIGURES).glob("*.png"))) + "\n\n</div>\n"


def _figure(name: str) -> str:
    record = read(ROOT / FIGURES / f"{name}.png")
    notebook = record["notebook"]
    title = name.removeprefix(f"{notebook}_").replace("_", " ")
    digests = ", ".join(f"{kind} `{digest[:8]}`" for kind, digest in record["inputs"].items())
    seconds = times.duration(notebook)
    ran = "not executed here" if seconds is None else f"notebook ran {seconds:.0f} s"
    return f"""## {notebook[:2]}: {title} {{ #{name} }}

![{notebook}, {title}](figures/{name}.png){{ loading=lazy }}

[PDF](figures/{name}.pdf), [data](data/results/{name}.csv), [notebook](notebooks/{notebook}.ipynb); seed
{json.dumps(record["seed"])}, JAX {record["jax"]}, {ran}; {digests}"""
