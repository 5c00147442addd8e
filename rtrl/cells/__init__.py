"""Recurrent cells: next_state = cell(state, x)."""

from rtrl.cells._base import AbstractCell as AbstractCell
from rtrl.cells._elman import ElmanCell as ElmanCell
from rtrl.cells._gated import AbstractGatedCell as AbstractGatedCell
from rtrl.cells._gru import GRUCell as GRUCell
