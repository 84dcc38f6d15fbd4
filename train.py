"""Trains a model: `python train.py`, with any choice of conf/ overridden on the command line."""

from galaxy.cli.train import main

if __name__ == "__main__":
    main()
