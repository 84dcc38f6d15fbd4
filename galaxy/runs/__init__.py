"""One run and its folder: train, evaluate, predict and sweep."""
