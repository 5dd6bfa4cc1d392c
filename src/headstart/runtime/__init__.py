"""The machine a run has: cores, precision, memory, cost, energy, progress, processes, seeds."""
