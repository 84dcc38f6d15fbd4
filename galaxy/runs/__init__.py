"""One run and its folder: train, evaluate and predict."""
