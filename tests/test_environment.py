"""pyproject.toml, requirements.lock and environment.yml describe one environment."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from artifact.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
CUDA_LOCK = (ROOT / "requirements-cuda.lock").read_text()
SITE_LOCK = (ROOT / "docs" / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(lock=LOCK):
    """Every pinned requirement of the lock that applies here, by name."""
    lines = re.findall(r"^(\S+==[^\\\n]+)", lock, re.MULTILINE)
    pins = [Requirement(line.strip()) for line in lines]
    return {canonicalize_name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate()}


def assert_same_versions(these, others):
    for name in these.keys() & others.keys():
        assert str(these[name].specifier) == str(others[name].specifier)


def direct():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def test_the_lock_pins_every_direct_dependency_within_its_bounds():
    pins = locked()
    for requirement in direct():
        pin = pins[canonicalize_name(requirement.name)]
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert requirement.specifier.contains(specifier.version), requirement


def test_the_installed_versions_are_the_locked_ones():
    for requirement in direct():
        (specifier,) = locked()[canonicalize_name(requirement.name)].specifier
        assert version(requirement.name) == specifier.version


@pytest.mark.parametrize(
    ("lock", "least"), [(LOCK, 100), (SITE_LOCK, 50), (CUDA_LOCK, 10)], ids=["artifact", "site", "cuda"]
)
def test_every_pin_has_hashes_and_no_index_is_named(lock, least):
    blocks = re.split(r"^(?=\S+==)", lock, flags=re.MULTILINE)[1:]
    assert len(blocks) > least
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"https?://|file:|--index|--find-links|@ ", lock)


def test_what_makes_the_site_goes_with_the_rest_and_nobody_else_needs_it():
    site, others = locked(SITE_LOCK), locked()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["site"]
    assert {canonicalize_name(Requirement(line).name) for line in wanted} <= site.keys() - others.keys()
    assert len(site.keys() & others.keys()) > 30
    assert_same_versions(site, others)


def test_what_a_gpu_needs_goes_with_the_rest():
    cuda, others = locked(CUDA_LOCK), locked()
    assert {"jax", "jaxlib", "numpy"} <= cuda.keys() & others.keys()
    assert any(name.startswith("jax-cuda") for name in cuda.keys() - others.keys())
    assert_same_versions(cuda, others)


def test_conda_takes_python_and_tex_from_conda_forge_and_the_rest_from_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "rtrl"
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *conda, pip = environment["dependencies"]
    assert {"pip", "make", "tectonic"} < set(conda)
    (python,) = [line for line in conda if line.startswith("python=")]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python.removeprefix("python="))
    assert pip == {"pip": ["-r requirements.lock"]}


def test_this_python_is_new_enough():
    running = ".".join(map(str, sys.version_info[:2]))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(running)


def test_binder_and_the_container_make_the_same_environment():
    binder = ROOT / "binder"
    assert (binder / "requirements.txt").read_text().split() == ["-r", "../requirements.lock"]
    assert (binder / "runtime.txt").read_text().strip() == "python-3.11"
    assert "--no-deps --no-build-isolation -e ." in (binder / "postBuild").read_text()
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"] == "make env"


def test_xla_is_told_to_use_no_approximation_of_one_processor(tmp_path):
    """Else a division by a square root starts from the processor's own; XLA stops at what it takes for no flag."""
    (flags,) = re.findall(r"^export XLA_FLAGS \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    program = "import jax, numpy; jax.jit(lambda x: x / jax.numpy.sqrt(x))(numpy.ones(9, numpy.float32))"
    told = {"XLA_FLAGS": f"--xla_dump_to={tmp_path} {flags}", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    subprocess.run([sys.executable, "-c", program], env=os.environ | told, check=True)
    code = "".join(path.read_text() for path in tmp_path.glob("*.ll"))
    assert "llvm.sqrt" in code
    assert "llvm.x86" not in code
