"""Training: datasets, networks, losses, the loop, export, calibration and evaluation."""
