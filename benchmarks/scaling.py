"""Time per step on one core and on all there are, and what a step sends: `python benchmarks/scaling.py`.

Strong scaling keeps the problem, weak scaling its share of a device. A virtual device computes on one core; all cores
share one memory bus, so a read of J that one core can already make the bus wait for gains little from a second.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

STREAM_STEPS, ROUNDS = 4, 7
FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
FIELDS = ["scaling", "axis", "form", "n", "batch", "devices", "us", "iqr_us", "sent", "sent_by_folds", "parameters"]


def cases(devices: int, unit: int) -> list[tuple]:
    """Scaling, axis, form, units, streams: for so many devices, from networks of `unit` units on one."""
    wider = round(unit * devices ** (1 / 3) / (8 * devices)) * 8 * devices  # J has about n³ numbers
    return [
        (scaling, "columns", form, n, 1)
        for form in ("textbook", "block")
        for scaling, n in (("strong", unit), ("weak", wider))
    ] + [
        (scaling, "streams", "block", unit // 2, batch)
        for scaling, batch in (("strong", 4 * devices_at_most()), ("weak", 4 * devices))
    ]


def devices_at_most() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measured(scaling: str, axis: str, form: str, n: int, batch: int) -> dict:
    """One case on all devices of this process."""
    import jax
    import numpy as np
    from cases import Case, compiled_run

    import rtrl
    from artifact.cost.messages import messages
    from artifact.notebook import timed

    case = Case("ElmanCell", form, n, batch)
    learner, steps = case.learner, STREAM_STEPS * case.period
    state = rtrl.shard(lambda: case.start(learner), jax.make_mesh((jax.device_count(),), (axis,)))
    stream = jax.tree.map(np.asarray, case.stream(steps))
    program = _program(learner, state, stream)
    run, _, _ = compiled_run(learner, state, *stream)
    times = 1e6 * np.asarray(timed(lambda: jax.block_until_ready(run(state)), repeats=ROUNDS)) / steps
    sent = messages(program)
    quarters = np.percentile(times, [25, 50, 75])
    values = scaling, axis, form, n, batch, jax.device_count(), quarters[1], quarters[2] - quarters[0]
    values += sum(k for k, folds in sent if not folds), sum(k for k, folds in sent if folds), case.parameters
    return dict(zip(FIELDS, values, strict=True))


def _program(learner, state, stream) -> str:
    from cases import run_whole_windows

    fixed = learner, (*stream, None, None), 0
    return run_whole_windows.lower(fixed, state).compile().compiled.as_text()


def on(devices: int, unit: int) -> list[dict]:
    """All cases in a process with so many devices."""
    flags = f"--xla_force_host_platform_device_count={devices} {FLAGS}"
    environment = os.environ | {"XLA_FLAGS": flags, "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, str(unit), str(devices)]
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(unit: int, keep: bool) -> None:
    import pandas as pd

    from artifact.measured import keep_table

    counts = sorted({1, *(2**k for k in range(1, 10) if 2**k <= devices_at_most())})
    table = pd.DataFrame([row for devices in counts for row in on(devices, unit)])
    alone = table[table["devices"] == 1].set_index(["scaling", "axis", "form"])["us"]
    table["time_over_one_device"] = [
        row["us"] / alone[row["scaling"], row["axis"], row["form"]] for _, row in table.iterrows()
    ]
    print(table.to_string(index=False, float_format="%.3g"))
    if keep:
        machine = f"{devices_at_most()} cores that share one memory bus; a virtual device computes on one thread"
        keep_table("12_scale_cores", "times", table, "python benchmarks/scaling.py", threads=machine)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
    if len(sys.argv) == 3:
        unit, devices = map(int, sys.argv[1:])
        print(json.dumps([measured(*case) for case in cases(devices, unit)]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) == 2 else 256, keep=len(sys.argv) == 1)
