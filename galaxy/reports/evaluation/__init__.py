"""The report of one evaluation: how far predictions can be trusted, and where they fail."""
