"""What is in a survey: counts, correlations, pictures, crops and copies, on one page."""
