"""Rigid motions, calibrated cameras and triangulation; knows nothing else of the package."""
