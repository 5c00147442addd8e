"""Streams with known answers."""

from rtrl.tasks._influence_balancing import InfluenceBalancingCell as InfluenceBalancingCell
from rtrl.tasks._influence_balancing import truncated_derivative as truncated_derivative
