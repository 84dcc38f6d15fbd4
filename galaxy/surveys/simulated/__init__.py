"""Made-up galaxies whose answers' probabilities are known: population -> picture, crowd -> survey folder."""
