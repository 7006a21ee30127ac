"""The training job and what belongs to a trained model. Run it as `python -m training`."""
