"""What is asked of a galaxy: trees of questions, their answers and what fractions of them mean."""
