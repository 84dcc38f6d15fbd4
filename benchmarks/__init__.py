"""Programs that measure speed and print a table: `python -m benchmarks.bench_cache`."""
