"""Real-time recurrent learning: exact online gradients for recurrent networks, in JAX."""

from rtrl.cells import AbstractCell as AbstractCell
from rtrl.cells import AbstractGatedCell as AbstractGatedCell
from rtrl.cells import ElmanCell as ElmanCell
from rtrl.cells import GRUCell as GRUCell
from rtrl.estimators import BPTT as BPTT
from rtrl.estimators import RTRL as RTRL
from rtrl.estimators import TBPTT as TBPTT
from rtrl.estimators import AbstractEstimator as AbstractEstimator
from rtrl.gradient import sequence_gradient as sequence_gradient
from rtrl.learner import Learner as Learner
from rtrl.model import Model as Model
