"""The only doors to ROS types: conversions, parameters, QoS, diagnostics and the run of a node."""
