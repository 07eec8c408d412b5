"""Velocity admittance control: wrench compensation, the law, limits, joint velocities."""
