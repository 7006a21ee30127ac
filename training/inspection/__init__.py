"""What one wants to see before and while training; the commands of `python -m training inspect`."""
