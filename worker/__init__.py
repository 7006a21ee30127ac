"""The GPU (or CPU) process: the step-level engine, RQ glue, results out. `python -m worker`."""
