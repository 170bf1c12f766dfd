"""Errors of the simulated bank: SimulationError < ValueError."""


class SimulationError(ValueError):
    """What was asked of the simulated bank cannot be done; one line with the remedy."""
