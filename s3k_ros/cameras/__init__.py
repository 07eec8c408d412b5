"""Several cameras as one instrument: synchronised sets of images with their exposure times."""
