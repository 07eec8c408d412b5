"""A training run: stages, the loop, checkpoints, devices, guards and what is shown."""
