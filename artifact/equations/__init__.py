"""Differential equations that are learned or identified while they run."""
