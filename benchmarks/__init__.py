"""What produces every number in the README. Each is a module: `python -m benchmarks.batching`."""
