"""ROCKET and MiniRocket on the spoken vowels: `pip install aeon`, then `python benchmarks/rocket.py`.

Dempster, Petitjean & Webb (2020), "ROCKET: exceptionally fast and accurate time series classification using random
convolutional kernels", Data Mining and Knowledge Discovery 34(5). `aeon` has them, but asks for an older numpy than the
rest of the artifact, so that this runs in an environment of its own and its result is kept in data/measured/.
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
    (train, speakers), (test, truth) = (utterances(table[table.iloc[:, 0] == name]) for name in ("train", "test"))
    rows = []
    for method, classifier in CLASSIFIERS.items():
        for seed in SEEDS:
            right = classifier(random_state=seed).fit(train, speakers).predict(test) == truth
            rows += [{"method": method, "seed": seed, "utterance": i, "right": int(r)} for i, r in enumerate(right)]
            print(method, seed, f"{100 * right.mean():.1f} % correct", flush=True)
    means = pd.DataFrame(rows).groupby(["method", "utterance"], sort=False)["right"].mean().reset_index()
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
