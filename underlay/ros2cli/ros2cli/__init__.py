"""Stand-in for `ros2 launch` with XML files and for `ros2 run`."""
