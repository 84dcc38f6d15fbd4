"""The programs: what reads and rewrites a command line, and how a program ends."""
