"""The slowest steps of cropping, compiled by Numba: OpenCV's answers to the last bit, in a third of the time.

Each file has one step, and no compiled function calls one of another file, whose changes Numba's store would
not notice. Compiling takes some seconds, once on a machine: Numba keeps the result beside these files, or in
the user's cache. Imported where images are cropped, for a run whose images are cached needs none of it.

Indices are unsigned where it counts: to signed ones Numba adds a test for those that count from the end.
"""
