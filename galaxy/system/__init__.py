"""What everything stands on: errors, whole-or-absent files, the machine, signals and the terminal."""
