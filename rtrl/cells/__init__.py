"""Recurrent cells: next_state = cell(state, x)."""

from rtrl.cells._base import AbstractCell as AbstractCell
from rtrl.cells._base import recurrent_parameters as recurrent_parameters
from rtrl.cells._ctrnn import CTRNNCell as CTRNNCell
from rtrl.cells._elman import ElmanCell as ElmanCell
from rtrl.cells._elstm import ELSTMCell as ELSTMCell
from rtrl.cells._gated import AbstractGatedCell as AbstractGatedCell
from rtrl.cells._gated import Linearisation as Linearisation
from rtrl.cells._gated import weights_of as weights_of
from rtrl.cells._gated import with_weights as with_weights
from rtrl.cells._gru import GRUCell as GRUCell
from rtrl.cells._lru import LRUCell as LRUCell
from rtrl.cells._lstm import LSTMCell as LSTMCell
from rtrl.cells._rtu import RTUCell as RTUCell
from rtrl.cells._stacked import StackedCell as StackedCell
