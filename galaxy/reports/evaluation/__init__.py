"""The report of one evaluation: how sure predictions are, and where they fail."""
