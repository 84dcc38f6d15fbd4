"""The page of a comparison: one HTML file that needs neither a server nor anything else."""
