"""Streams with known answers."""

from rtrl.tasks._copy import copy_stream as copy_stream
from rtrl.tasks._delayed_sum import delayed_sum as delayed_sum
from rtrl.tasks._delayed_sum import delayed_sum_floor as delayed_sum_floor
from rtrl.tasks._drift import drifting_mimic as drifting_mimic
from rtrl.tasks._dynamics import DoubleWell as DoubleWell
from rtrl.tasks._dynamics import FitzHughNagumo as FitzHughNagumo
from rtrl.tasks._dynamics import InLogs as InLogs
from rtrl.tasks._dynamics import Lorenz as Lorenz
from rtrl.tasks._dynamics import LotkaVolterra as LotkaVolterra
from rtrl.tasks._dynamics import Pendulum as Pendulum
from rtrl.tasks._forecast import one_step_ahead as one_step_ahead
from rtrl.tasks._influence_balancing import InfluenceBalancingCell as InfluenceBalancingCell
from rtrl.tasks._influence_balancing import truncated_derivative as truncated_derivative
from rtrl.tasks._linear_filter import LinearFilter as LinearFilter
from rtrl.tasks._mimic import mimic as mimic
from rtrl.tasks._observed import observed as observed
from rtrl.tasks._observed import observed_error as observed_error
from rtrl.tasks._observed import simulated as simulated
from rtrl.tasks._order_book import OrderBook as OrderBook
from rtrl.tasks._pendulum import pushed_pendulum as pushed_pendulum
from rtrl.tasks._ring import ring_walk as ring_walk
