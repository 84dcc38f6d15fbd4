"""Simulated galaxies, for whose answers the probabilities are known: population, crowd, picture, survey."""
