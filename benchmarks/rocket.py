"""ROCKET and MiniRocket on the spoken vowels: `pip install aeon`, then `python benchmarks/rocket.py`.

Dempster, Petitjean & Webb (2020), "ROCKET: exceptionally fast and accurate time series classification using random
convolutional kernels", Data Mining and Knowledge Discovery 34(5); Dempster, Schmidt & Webb (2021), "MiniRocket: a very
fast (almost) deterministic transform for time series classification", KDD. `aeon` has them, but asks for an older numpy
than the rest of the artifact, so that this runs in an environment of its own and its result is kept in data/measured/.
"""

import datetime
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from aeon.classification.convolution_based import MiniRocketClassifier, RocketClassifier

ROOT = Path(__file__).resolve().parents[1]
STUDY = ROOT / "data/measured/10_applications_rocket"
SEEDS = range(10)
CLASSIFIERS = {"ROCKET": RocketClassifier, "MiniRocket": MiniRocketClassifier}


def utterances(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Frames (utterances, 12, 29), zeros past an utterance's end, and speakers."""
    frames = np.zeros((rows["utterance"].max() + 1, 12, 29))
    frames[rows["utterance"], :, rows["frame"]] = rows.iloc[:, 4:].to_numpy()
    return frames, rows.groupby("utterance")["speaker"].first().to_numpy()


def main() -> None:
    table = pd.read_csv(ROOT / "data/japanese_vowels.csv.gz")
    (train, speakers), (test, truth) = (utterances(table[table["set"] == name]) for name in ("train", "test"))
    tables = []
    for method, classifier in CLASSIFIERS.items():
        right = [classifier(random_state=seed).fit(train, speakers).predict(test) == truth for seed in SEEDS]
        print(method, [f"{100 * each.mean():.1f}" for each in right], "% correct", flush=True)
        of = {"method": method, "utterance": range(len(truth)), "right": np.mean(right, axis=0)}
        tables.append(pd.DataFrame(of))
    means = pd.concat(tables)
    means.to_csv(f"{STUDY}_utterances.csv", index=False, float_format="%.10g", lineterminator="\n")
    record = {
        "files": [f"{STUDY.name}_utterances.csv"],
        "command": "python benchmarks/rocket.py, in an environment of its own; make does not reproduce it",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {package: version(package) for package in ("aeon", "numpy", "scikit-learn")},
        "seeds": len(SEEDS),
    }
    Path(f"{STUDY}_provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
