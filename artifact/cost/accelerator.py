"""Exact RTRL on an accelerator: `python -m artifact.cost.accelerator [PART …]`; on a CPU the sizes are small.

Every row is a time per step, or that of one streaming read of an array as large as the influence.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

import rtrl
from artifact.cost.parallel_scan import chunked_bptt
from artifact.errors import run
from artifact.parts import keep_parts
from artifact.timing import timed

INPUTS, CHUNK = 32, 128
TEXTBOOK = 512
"""Units up to which the textbook form is timed, too."""
STACKS = {10**7: (1408, 1), 10**8: (2236, 4)}
STREAMS = 1, 16, 64, 256
PRECISIONS = "float32", "tensorfloat32"


def on_accelerator() -> bool:
    return jax.default_backend() != "cpu"


def device_bytes() -> float:
    """What a device can hold."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 4e9)


def squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.sum((prediction - target) ** 2)


@dataclasses.dataclass(frozen=True)
class Case:
    """A learner of a cell: so many steps, so many of them between updates, so many streams, products in a precision."""

    cell: rtrl.AbstractCell
    estimator: Any
    steps: int
    update_every: int = 1
    streams: int = 1
    precision: str = "float32"

    def times(self, repeats: int) -> np.ndarray:
        """Microseconds per step of each repeat."""
        batch = self.streams if self.streams > 1 else None
        with jax.default_matmul_precision(self.precision):
            learner = rtrl.Learner(
                squared_error, self.estimator, optax.sgd(1e-5), update_every=self.update_every, donate=True
            )
            state = learner.init(model_of(self.cell), batch_size=batch)
            xs, ys = stream(self.cell, self.steps, () if batch is None else (batch,))

            def go() -> Any:
                nonlocal state
                state, outputs = learner.run(state, xs, ys)
                return outputs.loss

            return 1e6 * timed(go, repeats) / self.steps


def model_of(cell: Any) -> rtrl.Model:
    width = jax.eval_shape(lambda: cell.output(cell.initial_state(), cell.example_input())).size
    return rtrl.Model(cell, eqx.nn.Linear(width, 1, key=jax.random.key(1)))


def stream(cell: Any, steps: int, streams: tuple[int, ...] = ()) -> tuple[jax.Array, jax.Array]:
    width = cell.example_input().size
    return jax.random.normal(jax.random.key(2), (steps, *streams, width)), jnp.zeros((steps, *streams, 1))


def row(times: np.ndarray, **of: Any) -> pd.DataFrame:
    low, median, high = np.percentile(times, [25, 50, 75])
    table = pd.DataFrame([{**of, "us": median, "iqr_us": high - low}])
    print(table.to_string(index=False, header=False, float_format="%.4g"), flush=True)
    return table


def reading(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Two streaming reads of an array: its sum, and its product with a vector."""
    J, v = jnp.ones(shape, jnp.float32), jnp.ones(shape[0], jnp.float32)
    add, multiply = jax.jit(jnp.sum), jax.jit(lambda v, J: jnp.matmul(v, J, precision="float32"))
    return {"sum": lambda: add(J), "product with a vector": lambda: multiply(v, J)}


def bandwidth() -> Iterator[pd.DataFrame]:
    """What the device reads and writes in a second: a copy (bytes in and out) and two reads."""
    for numbers in (n for n in (2**24, 2**28, 2**31) if 10 * n < device_bytes()):
        array = jnp.ones(numbers, jnp.float32)
        copy = jax.jit(jnp.negative)
        yield row(1e6 * timed(lambda: copy(array), 9), what="copy", bytes=8 * numbers)  # noqa: B023
        del array
        for what, read in reading((1024, numbers // 1024)).items():
            yield row(1e6 * timed(read, 9), what=what, bytes=4 * numbers)


def elman() -> Iterator[pd.DataFrame]:
    """Elman networks in block form, an update at every step, by the steps between folds; a read of J beside it."""
    for n in (512, 1024, 2048) if on_accelerator() else (64,):
        yield from _dense("ElmanCell", n)


def gru() -> Iterator[pd.DataFrame]:
    """The same of GRUs, whose influence is three times as large."""
    for n in (512, 1024) if on_accelerator() else (64,):
        yield from _dense("GRUCell", n)


def _dense(name: str, n: int) -> Iterator[pd.DataFrame]:
    cell = getattr(rtrl, name)(INPUTS, n, key=jax.random.key(0))
    J = rtrl.influence_bytes(rtrl.RTRL(None), model_of(cell))
    parameters = sum(a.size for a in jax.tree.leaves(eqx.filter(cell, eqx.is_array)))
    of = {"cell": name, "n": n, "parameters": parameters, "J_bytes": J}
    if device_bytes() < 1.1 * J:
        return
    read = min((timed(call) for call in reading((n, parameters)).values()), key=np.median)
    yield row(1e6 * read, **of, form="one read of J", block=0, precision="")
    for precision in PRECISIONS:
        for block in blocks(n):
            if J + 2.2 * 4 * block * (parameters // n) * n <= 0.97 * device_bytes():
                case = Case(cell, rtrl.RTRL(block), block * (2 if n < 2048 else 1), precision=precision)
                yield row(case.times(5 if n < 2048 else 3), **of, form="block", block=block, precision=precision)
        if n <= TEXTBOOK:
            times = Case(cell, rtrl.RTRL(None), 16, precision=precision).times(5)
            yield row(times, **of, form="textbook", block=0, precision=precision)


def blocks(n: int) -> tuple[int, ...]:
    """The steps between folds that are tried."""
    return (32, 64) if n < 1024 else (64, 128) if n < 2048 else (128, 192, 256)


def stacks() -> Iterator[pd.DataFrame]:
    """Stacks of diagonal cells, exact within each layer, and the immediate gradient of the same."""
    for parameters, (width, layers) in STACKS.items() if on_accelerator() else ((10**4, (32, 2)),):
        keys = jax.random.split(jax.random.key(0), layers)
        cell = rtrl.StackedCell([rtrl.LRUCell(width, width, key=key) for key in keys])
        for streams, every in ((1, 1), (16, 1), (16, CHUNK)):
            for name, estimator in (("layer-local", rtrl.LayerLocalRTRL()), ("TBPTT(1)", rtrl.TBPTT(1))):
                times = Case(cell, estimator, 2 * CHUNK, every, streams).times(3)
                of = {"form": name, "width": width, "layers": layers, "streams": streams, "update_every": every}
                yield row(times, parameters=parameters, **of)


def lru() -> Iterator[pd.DataFrame]:
    """An LRU of 1024 units over many streams: exact, and chunks of BPTT through a parallel scan."""
    cell = rtrl.LRUCell(INPUTS, 1024 if on_accelerator() else 32, key=jax.random.key(0))
    for streams in STREAMS if on_accelerator() else (4,):
        for every in (1, CHUNK):
            times = Case(cell, rtrl.RTRL(), 4 * CHUNK, every, streams).times(5)
            yield row(times, form="RTRL", streams=streams, update_every=every)
        yield row(_chunks(cell, streams), form="chunks, parallel scan", streams=streams, update_every=CHUNK)


def _chunks(cell: rtrl.LRUCell, streams: int) -> np.ndarray:
    model, optimizer = model_of(cell), optax.sgd(1e-5)
    update = chunked_bptt(squared_error, optimizer)
    xs, ys = (jnp.moveaxis(a.reshape(4, CHUNK, streams, -1), 2, 1) for a in stream(cell, 4 * CHUNK, (streams,)))
    parts, static = eqx.partition(model, eqx.is_array)

    @jax.jit
    def go(carry: Any) -> Any:
        def chunk(carry: Any, given: Any) -> Any:
            parts, optimizing, h = carry
            model, optimizing, h, losses = update(eqx.combine(parts, static), optimizing, h, *given)
            return (eqx.filter(model, eqx.is_array), optimizing, h), losses

        return jax.lax.scan(chunk, carry, (xs, ys))

    with jax.default_matmul_precision("float32"):
        h = jnp.zeros((streams, cell.hidden_size), complex)
        carry = parts, optimizer.init(eqx.filter(model, eqx.is_inexact_array)), h
        return 1e6 * timed(lambda: go(carry)) / (4 * CHUNK)


def accuracy() -> Iterator[pd.DataFrame]:
    """How far gradients of a thousand steps are from those in double precision, by the precision of products."""
    n, steps = (256, 1000) if on_accelerator() else (32, 100)
    with jax.enable_x64(True):
        truth, _ = _gradients(n, steps, jnp.float64, "float32")
        truth = [np.asarray(leaf) for leaf in jax.tree.leaves(truth)]
    for precision in PRECISIONS:
        for form, gradient in zip(("BPTT", "RTRL"), _gradients(n, steps, jnp.float32, precision), strict=True):
            off = [
                np.asarray(leaf, float) - exact for leaf, exact in zip(jax.tree.leaves(gradient), truth, strict=True)
            ]
            error = np.sqrt(sum((o**2).sum() for o in off) / sum((t**2).sum() for t in truth))
            yield row(np.array([np.nan]), form=form, precision=precision, n=n, steps=steps, relative_error=error)


def _gradients(n: int, steps: int, dtype: Any, precision: str) -> tuple[Any, Any]:
    """Of the loss summed over a stream, through an Elman network: by a plain loop, and exact, carried forward."""
    with jax.default_matmul_precision(precision):
        cell = rtrl.ElmanCell(INPUTS, n, key=jax.random.key(0), dtype=jnp.float32)
        cell = jax.tree.map(lambda a: a.astype(dtype) if eqx.is_array(a) else a, cell)
        xs = jax.random.normal(jax.random.key(2), (steps, INPUTS), jnp.float32).astype(dtype)

        def loss(cell: Any) -> jax.Array:
            def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
                h = jnp.tanh(cell.weight_hh[0] @ h + cell.weight_ih[0] @ x + cell.bias)
                return h, jnp.sum(h[:8] ** 2)

            return jax.lax.scan(step, jnp.zeros(n, dtype), xs)[1].sum()

        model = rtrl.Model(cell, lambda h: h[:8])
        start = rtrl.start(rtrl.RTRL(), model)

        def one(carry: Any, x: jax.Array) -> tuple[Any, None]:
            stream, total = carry
            stream, now = rtrl.step_gradient(rtrl.RTRL(), model, squared_error, stream, x, jnp.zeros(8, dtype))
            return (stream, jax.tree.map(jnp.add, total, now.gradient)), None

        zero = jax.tree.map(jnp.zeros_like, eqx.filter(model, eqx.is_inexact_array))
        (_, total), _ = jax.jit(lambda carry: jax.lax.scan(one, carry, xs))((start, zero))
        return jax.jit(jax.grad(loss))(cell), total.cell


PARTS = bandwidth, accuracy, lru, stacks, elman, gru


def main() -> None:
    device = jax.devices()[0].device_kind
    if on_accelerator():
        return keep_parts("artifact.cost.accelerator", f"12_scale_{_slug(device)}", "times", PARTS, __doc__)
    print(f"no accelerator, but {device}: small sizes, and nothing is kept; `make env CUDA=1` is for NVIDIA GPUs")
    for part in PARTS:
        print(part.__doc__)
        for _ in part():
            pass


def _slug(kind: str) -> str:
    return "_".join(word for word in kind.lower().replace("nvidia", "").split() if word not in ("hbm3", "hbm3e"))


if __name__ == "__main__":
    run(main)
