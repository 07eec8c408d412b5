"""The arm and what is around it: kinematics, trajectories, collisions, the scene file."""
