"""Real-time recurrent learning: exact online gradients for recurrent networks, in JAX."""

from rtrl._trained import Frozen as Frozen
from rtrl.cells import AbstractCell as AbstractCell
from rtrl.cells import AbstractGatedCell as AbstractGatedCell
from rtrl.cells import CTRNNCell as CTRNNCell
from rtrl.cells import ElmanCell as ElmanCell
from rtrl.cells import ELSTMCell as ELSTMCell
from rtrl.cells import GRUCell as GRUCell
from rtrl.cells import LRUCell as LRUCell
from rtrl.cells import LSTMCell as LSTMCell
from rtrl.cells import RTUCell as RTUCell
from rtrl.cells import StackedCell as StackedCell
from rtrl.estimators import BPTT as BPTT
from rtrl.estimators import RTRL as RTRL
from rtrl.estimators import TBPTT as TBPTT
from rtrl.estimators import AbstractEstimator as AbstractEstimator
from rtrl.estimators import LayerLocalRTRL as LayerLocalRTRL
from rtrl.gradient import sequence_gradient as sequence_gradient
from rtrl.learner import Learner as Learner
from rtrl.learner import NonFiniteError as NonFiniteError
from rtrl.model import Model as Model
