"""Embeddings of galaxies, the galaxies that are nearest to given ones, and the oddest galaxies."""
