"""Grasping at a keypoint: pose, kinematics, trajectories and the task's state machine."""
