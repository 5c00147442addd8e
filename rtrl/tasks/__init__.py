"""Streams with known answers."""

from rtrl.tasks._delayed_sum import delayed_sum as delayed_sum
from rtrl.tasks._delayed_sum import delayed_sum_floor as delayed_sum_floor
from rtrl.tasks._influence_balancing import InfluenceBalancingCell as InfluenceBalancingCell
from rtrl.tasks._influence_balancing import truncated_derivative as truncated_derivative
