"""Honest uncertainty: what `s3k calibrate` fits from held-out labels and from views' residuals."""
