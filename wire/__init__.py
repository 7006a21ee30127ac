"""What app and worker say to each other: schemas, Redis keys and scripts, the queue's name."""
