"""Targets: what a model is asked to predict. A target turns a catalog into a catalog; one module for each."""
