"""Calibration of the rig: its file."""
