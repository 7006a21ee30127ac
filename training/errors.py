"""What a person can get wrong when training: one clear line, exit code 2, no traceback."""


class TrainingError(Exception):
    """Raised for bad configuration, data or arguments; the message says what to do."""


class NoTestPictures(TrainingError):
    """Raised where all of the data is trained on, so that there is nothing to judge by."""
