"""Training in a Trainer: its parts, checkpoints, seeds, the recording of a run, the weights that are chosen."""
