"""Scores a trained model, or predicts galaxies without labels: `python evaluate.py run=DIR`."""

from galaxy.cli.evaluate import main

if __name__ == "__main__":
    main()
