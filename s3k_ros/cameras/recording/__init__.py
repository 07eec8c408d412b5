"""MCAP recordings of ROS 2 messages, written and read without ROS: images to sets and back."""
