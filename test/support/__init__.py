"""Helpers that several test folders share; needs no ROS."""
