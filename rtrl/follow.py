"""Learning from a stream that is longer than memory, and from one day to the next."""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from tqdm import tqdm

from rtrl._checkpoints import Checkpoints
from rtrl._learner_state import StepOutput
from rtrl._pieces import cut, known_steps, steps_of
from rtrl._sizes import check_sizes


@runtime_checkable
class Runs(Protocol):
    """`rtrl.Learner`, or what runs many of them side by side: `run(state, x, y[, reset, weight])`."""

    def run(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]: ...


def follow(
    learner: Runs,
    state: PyTree,
    stream: Iterable[Any],
    *,
    chunk: int = 1000,
    checkpoints: str | PathLike[str] | None = None,
    checkpoint_every: int = 10,
    keep: int = 3,
    progress: bool = True,
    total: int | None = None,
) -> Iterator[tuple[PyTree, StepOutput]]:
    r"""`learner.run` over a stream of any length, chunk by chunk: yields `(state, output)` after each.

    $$(s_{k+n}, o) = \mathrm{run}(s_k, x_{k+1 \ldots k+n}, y_{k+1 \ldots k+n}), \qquad n = \mathrm{chunk}$$

        for state, output in rtrl.follow(learner, state, stream, checkpoints="run1"):
            losses.append(np.asarray(output.loss))

    `stream` is any iterable of pieces `(x, y)`, `(x, y, reset)` or `(x, y, reset, weight)`: pytrees of arrays with a
    leading time axis, of any number of steps (`x`, `reset` and `weight` may be `None`). They are cut anew into chunks
    of `chunk` steps, so that `run` is compiled once, and once more for a shorter end. No more is held than a piece and
    a chunk, twice while it is put together from many pieces. Once a piece has brought `reset` or `weight`, pieces
    without it count as no reset and as weight 1.

    With a folder for `checkpoints`, the state is written there after every `checkpoint_every` chunks, before they are
    yielded, and at the end of the stream (about 50 ms and the time for its bytes); the last `keep` states stay. A
    process may be killed at any moment. Called again with the same arguments, `follow` goes on from the newest
    checkpoint: it passes over what was read of the stream, which is to begin anew, and gives the same bits as a run
    that was not interrupted. Of a stream that was read to its end, the final state comes once more, with an output of
    no steps and no prediction.

    The progress bar shows steps, steps per second and the mean loss of the last chunk (in the units of the user's
    loss), and the time left if `total`, the number of steps, is given or `stream` is a list of pieces.

    **Raises:** `ValueError` if `chunk`, `checkpoint_every` or `keep` is below 1; if the newest checkpoint is damaged,
    not ours, of another format or of another learner (nothing is written or deleted then); and, when that piece is
    read, if it is not made of numeric arrays with the same number of steps, differs from those before in structure,
    dtype or shape, or if the stream is empty or shorter than what was read of it. `ImportError` if there is no Orbax to
    write checkpoints with.
    """
    check_sizes(chunk=chunk, checkpoint_every=checkpoint_every, keep=keep)
    kept = None if checkpoints is None else Checkpoints(checkpoints, keep)
    state, steps = (state, 0) if kept is None else kept.restore(state)
    total = known_steps(stream) if total is None else total
    shown = progress and jax.process_index() == 0
    bar = tqdm(total=total, initial=steps, unit="step", unit_scale=True, disable=not shown)
    chunks = _chunks(learner, state, cut(stream, chunk, steps), bar, kept, checkpoint_every * chunk)
    return chunks if jax.process_count() == 1 else _together(chunks)


def _chunks(
    learner: Runs, state: PyTree, chunks: Iterator[dict[str, PyTree]], bar: tqdm, kept: Checkpoints | None, every: int
) -> Iterator[tuple[PyTree, StepOutput]]:
    """The loop itself; `every` counts steps."""
    begin = saved = read = int(bar.n)
    with bar:
        for piece in chunks:
            state, output = _run(learner, state, piece, read)
            read += steps_of(piece)
            if kept and read - saved >= every:
                kept.save(state, read)
                saved = read
            _show(bar, output, read)
            yield state, output
            del piece, output  # before the next ones are made
        if kept and read > saved:
            kept.save(state, read)
        if read == begin:
            yield state, StepOutput(jnp.zeros(0), None, jnp.zeros(0, bool))


def _together(chunks: Iterator[tuple[PyTree, StepOutput]]) -> Iterator[tuple[PyTree, StepOutput]]:
    """The chunks of one of several processes, which cannot go on without the others."""
    try:
        yield from chunks
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0][:200]
        raise RuntimeError(
            f"processes: expected all {jax.process_count()} to go on, got an error of one ({reason}); "
            f"start all of them again, with the same checkpoints"
        ) from None


def _run(learner: Runs, state: PyTree, piece: dict[str, PyTree], read: int) -> tuple[PyTree, StepOutput]:
    given = {name: part for name, part in piece.items() if name not in ("x", "y")}
    try:
        return learner.run(state, piece["x"], piece["y"], **given)
    except FloatingPointError as error:  # it counts from where the chunk begins
        error.add_note(f"in the chunk that begins after {read} steps of the stream")
        raise


def _show(bar: tqdm, output: StepOutput, read: int) -> None:
    if not bar.disable:
        bar.set_postfix(loss=f"{np.mean(output.loss):.4g}", refresh=False)
        bar.update(read - bar.n)
