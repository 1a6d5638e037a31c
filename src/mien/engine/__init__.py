"""Task, trainer, checkpoints, run folders, export, weights."""
