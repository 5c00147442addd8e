"""What `pip install rtrl` gives: the package alone, with no need of what only the artifact uses."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement

from artifact.paths import ROOT

TRAINS = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
sys.path = [{wheel!r}, *(p for p in sys.path if p != {root!r})]
import equinox as eqx, jax, numpy as np, optax, rtrl
assert rtrl.__file__.startswith({wheel!r})
key = jax.random.key(0)
model = rtrl.Model(rtrl.GRUCell(2, 3, key=key), eqx.nn.Linear(3, 1, key=key))
learner = rtrl.Learner(lambda p, y: ((p - y) ** 2).sum(), rtrl.RTRL(), optax.adam(0.01))
xs = jax.random.normal(key, (20, 2))
state, _ = learner.run(learner.init(model), xs[:9], xs[:9, :1])
eqx.tree_serialise_leaves({saved!r}, state)
state, out = learner.run(state, xs[9:], xs[9:, :1])
again, out_again = learner.run(eqx.tree_deserialise_leaves({saved!r}, learner.init(model)), xs[9:], xs[9:, :1])
np.testing.assert_array_equal(out.loss, out_again.loss)
rtrl.cite(learner, model)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return built("wheel", folder)


def built(kind, folder):
    """What the release would be, as a file in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


def test_the_wheel_holds_the_package_and_nothing_of_the_artifact(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"rtrl/__init__.py", "rtrl/py.typed"} <= set(names)
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"rtrl"}


def test_the_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    told = archive.read(name).decode()
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    for line in (
        f"Version: {cited['version']}",
        f"License-Expression: {cited['license']}",
        "Classifier: Typing :: Typed",
    ):
        assert f"\n{line}\n" in told


def test_the_source_archive_holds_no_more_than_the_package_needs(tmp_path):
    with tarfile.open(built("sdist", tmp_path)) as archive:
        inside = {name.split("/")[1] for name in archive.getnames()}
    assert inside <= {"rtrl", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}


def test_with_the_core_dependencies_alone_a_cell_trains_is_saved_and_goes_on(wheel, tmp_path):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    missing = {Requirement(line).name.replace("-", "_") for line in (*extras["artifact"], *extras["test"])}
    script = TRAINS.format(
        missing=sorted(missing - {"scipy"}), wheel=str(wheel), root=str(ROOT), saved=str(tmp_path / "state.eqx")
    )  # jax itself needs scipy
    completed = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    assert "@article{williams1989," in completed.stdout
