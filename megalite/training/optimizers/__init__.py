"""Optimizers and the state that each of them keeps for a parameter."""
