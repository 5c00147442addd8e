"""A learner's state over several devices and processes: the numbers of one, in their places, and what is refused."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiling import quick_flags

import rtrl
from rtrl import memory

TESTS = Path(__file__).parent
N, GATES, BLOCK = 16, 3, 4
WEIGHT = N * N
LARGEST = {  # numbers of the largest message, as the table in rtrl.shard's docstring has it
    "textbook": WEIGHT,
    "block": BLOCK * GATES * WEIGHT,
    "block of a batch": 2 * BLOCK * WEIGHT,  # a device has two streams
    "diagonal": 4 * N,  # with what is sent along
    "layered": BLOCK * GATES * WEIGHT,
    "arbitrary": WEIGHT,
    "SnAp-1": 2 * GATES * N,
    "SnAp-2": GATES * WEIGHT,
    "UORO": 2 * GATES * N,
}


def started(program, *arguments, devices):
    """A process with so many virtual devices, the compiler's other flags as they are here."""
    flags = quick_flags(f"--xla_force_host_platform_device_count={devices}")
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, TESTS / program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process, seconds=600):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What eight devices made of every case."""
    code, out, err = ended(started("sharded.py", tmp_path_factory.mktemp("run"), devices=8))
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("case", LARGEST)
def test_numbers_places_and_messages_of_eight_devices(found, case):
    case, largest = found["cases"][case], LARGEST[case]
    assert case["error"] < 1e-13
    assert case["moved"] == []
    assert case["divided"] > 0.6
    assert 0 < case["largest"] <= largest
    if case["J"] > N * WEIGHT / 2:  # the influence of a dense cell
        assert case["largest"] < case["J"] / 2


def test_a_sweep_over_the_mesh_from_one_call(found):
    assert found["sweep"]["error"] < 1e-13
    assert found["sweep"]["of a device"] == 1


def test_follow_keeps_every_array_in_its_place(found):
    follow = found["follow"]
    assert follow["first"] == follow["resumed"] == follow["step"] == []
    assert follow["error"] < 1e-13
    assert follow["error on one device"] < 1e-13


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The end of a stream that one process with four devices follows."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = ended(started("several.py", "none", 1, 0, folder / "run", folder / "end.npz", devices=4))
    assert code == 0, err
    return list(np.load(folder / "end.npz").values())


def together(processes, folder, stops=None):
    """So many processes on four devices that meet over the loopback; `stops` tells some to wait after a chunk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common, stops = (folder / "run", folder / "end.npz"), stops or {}
    arguments = [(address, processes, p, *common, *([stops[p]] if p in stops else [])) for p in range(processes)]
    return [started("several.py", *each, devices=4 // processes) for each in arguments]


def test_a_lost_process_ends_the_others_and_four_go_on_where_two_stopped(undisturbed, tmp_path):
    other, lost = together(2, tmp_path, {1: 3})
    while "chunk 3" not in (line := lost.stdout.readline()):
        assert line, lost.stderr.read()
    lost.kill()
    begin = time.monotonic()
    code, out, err = ended(other)
    assert time.monotonic() - begin < 60
    assert code != 0
    assert "chunk 4" not in out
    line = next(line for line in err.splitlines() if line.startswith("RuntimeError"))
    assert re.match(r"RuntimeError: processes: expected all 2 to go on, got an error of one \(.*\); start all", line)
    ended(lost)
    results = [ended(process) for process in together(4, tmp_path)]
    assert [code for code, _, _ in results] == [0] * 4, results[0][2]
    for _, out, _ in results:
        assert 1 <= out.count("chunk") < 6  # not from the beginning
        assert "divided streams None None None columns" in out
    for a, b in zip(undisturbed, np.load(tmp_path / "end.npz").values(), strict=True):
        np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=1e-12, atol=1e-13)


def learner(**options):
    return rtrl.Learner(lambda p, y: jnp.sum((p - y) ** 2), rtrl.RTRL(None), optax.sgd(1e-2), **options)


def begun(units=6, **options):
    return learner().init(rtrl.Model(rtrl.ElmanCell(6, units, key=jax.random.key(0)), lambda h: h), **options)


def mesh_of(count, name, monkeypatch):
    """A mesh of one device that says it has more along its axis: refusals come before anything is laid."""
    mesh = jax.make_mesh((1,), (name,))
    monkeypatch.setattr(jax.sharding.Mesh, "shape", property(lambda _: {name: count}))
    return mesh


def test_one_device_is_a_mesh_too():
    before, stream = begun(), (jnp.ones((3, 6)), jnp.ones((3, 6)))
    state = rtrl.shard(begun, jax.make_mesh((1,), ("columns",)))
    assert state.layout.mesh.shape == {"columns": 1}
    one, other = (learner().run(s, *stream)[1].loss for s in (before, state))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_what_is_no_mesh_or_no_state():
    with pytest.raises(TypeError, match=r"^mesh: expected jax.make_mesh.* of devices, of which there are 1, got 4$"):
        rtrl.shard(begun(), 4)
    with pytest.raises(TypeError, match=r"of which there are 1, got AbstractMesh"):
        rtrl.shard(begun(), jax.sharding.AbstractMesh((64,), ("columns",)))
    with pytest.raises(ValueError, match=r"^Number of devices 1 must be >= the product of mesh_shape \(64,\)$"):
        jax.make_mesh((64,), ("columns",))
    with pytest.raises(TypeError, match=r"^state: expected what learner.init gives, or a function .*, got 3$"):
        rtrl.shard(3, jax.make_mesh((1,), ("columns",)))
    with pytest.raises(TypeError, match=r"^state: expected a function that makes what learner.init gives, got 3"):
        rtrl.shard(lambda: 3, jax.make_mesh((1,), ("columns",)))


def test_a_mesh_without_the_axis():
    with pytest.raises(ValueError, match=r"^mesh: expected axes named 'columns'.* got \('x',\); columns=\.\.\."):
        rtrl.shard(begun(), jax.make_mesh((1,), ("x",)))
    assert rtrl.shard(begun(), jax.make_mesh((1,), ("x",)), columns="x").layout.columns == "x"


def test_sizes_that_an_axis_does_not_divide(monkeypatch):
    mesh = mesh_of(4, "columns", monkeypatch)
    with pytest.raises(ValueError, match=r"^columns: .* \(6, 1, 6, 6\); 1, 2, 3 devices do, or 4 or 8"):
        rtrl.shard(begun(), mesh)
    mesh = mesh_of(4, "streams", monkeypatch)
    with pytest.raises(ValueError, match=r"^streams: expected a number of streams .* 4 devices .* got 6; 4 or 8 would"):
        rtrl.shard(begun(batch_size=6), mesh)
    with pytest.raises(ValueError, match=r"^streams: .* got 1; 4 would do$"):
        rtrl.shard(begun(), mesh)


def test_an_influence_that_does_not_fit_on_a_device(monkeypatch):
    monkeypatch.setattr(memory, "_device_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"^mesh: .* fits into 512 KiB on every device, half .*, got 2 MiB on each$"):
        rtrl.shard(lambda: begun(units=64), jax.make_mesh((1,), ("columns",)))
