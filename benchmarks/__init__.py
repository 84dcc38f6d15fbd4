"""Programs that measure speed and print a table, such as `python -m benchmarks.bench_cache`."""
