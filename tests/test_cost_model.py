"""The count of operations and bytes, by hand for small cells, and rates found again from times made with them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from artifact.cost.model import FORMS, Machine, calibrated, elman, modelled, predictions, seconds, work

MACHINE = Machine(2e-6, 1e11, 4e10, 1e10, 6e10, 2e-8)


def test_an_elman_cell_of_eight_units_is_counted_by_hand():
    """P = 8 (8 + 3 + 1) = 96, J of 8 x 96 numbers; the product D J has 8 x 8 x 96 multiplications and additions."""
    textbook = work("ElmanCell", "textbook", 8, 96, 96)
    assert textbook.operations == 2 * 8 * 8 * 96
    assert textbook.influence == 4 * 8 * 96
    assert textbook.streamed == 3 * textbook.influence
    assert textbook.elementary == 8
    block = work("ElmanCell", "block", 8, 96, 96)  # of two steps
    assert block.operations == 2 * 8 * 8 * 96 / 2 + 2 * 8 * 96 + 2 * 8 * 8 * 8
    assert block.streamed == 2 * block.influence
    immediate = work("ElmanCell", "immediate", 8, 96, 96)
    assert immediate.passed == 4 * 7 * 96
    assert work("LRUCell", "diagonal", 8, 96, 96).passed - immediate.passed == 4 * 3 * 2 * 96


def test_an_lstm_has_two_rows_a_unit_and_streams_count_one_by_one():
    one, many = (work("LSTMCell", "textbook", 8, 384, 384, batch) for batch in (1, 16))
    assert one.operations == 2 * 16 * 16 * 384
    assert (many.operations, many.influence) == (16 * one.operations, 16 * one.influence)
    assert many.passed == 4 * (4 + 3 * 16) * 384


def test_the_slower_of_products_and_streaming_counts():
    of = work(**elman(256, 32))
    fast = dataclasses.replace(MACHINE, operations=1e20)
    slow = dataclasses.replace(MACHINE, operations=1e6)
    rest = MACHINE.overhead + of.passed / MACHINE.small + of.elementary * MACHINE.elementary
    assert seconds(of, fast) == pytest.approx(rest + of.streamed / MACHINE.from_memory)
    assert seconds(of, slow) == pytest.approx(rest + of.operations / 1e6)
    assert seconds(of, dataclasses.replace(fast, cache=1e12)) == pytest.approx(rest + of.streamed / MACHINE.from_cache)


def test_rates_are_found_again_from_the_times_that_they_make():
    rows = [
        {"cell": cell, "form": form, "n": n, "batch": 1, "parameters": parts * n * (n + 33), "trained": n * (n + 99)}
        for cell, parts, forms in (("ElmanCell", 1, FORMS), ("LSTMCell", 4, FORMS[:3]), ("LRUCell", 2, FORMS[3:5]))
        for form in forms
        for n in (16, 64, 256, 512)
    ]
    known = modelled(pd.DataFrame([*rows, rows[0] | {"form": "OK(4)"}, rows[0] | {"n": np.nan}]))
    assert len(known) == len(rows)
    times = known.assign(us=[1e6 * seconds(of, MACHINE) for of in known["work"]])
    machine = calibrated(times)
    np.testing.assert_allclose(dataclasses.astuple(machine), dataclasses.astuple(MACHINE), rtol=0.02)
    np.testing.assert_allclose(predictions(times, machine)["ratio"], 1, rtol=1e-3)


def test_a_form_that_is_not_modelled_is_refused():
    with pytest.raises(ValueError, match=r"^form: expected one of textbook, .*, got 'OK\(4\)'$"):
        work("ElmanCell", "OK(4)", 8, 96, 96)
