"""Benchmarks, one file each: `s3k bench NAME`.

Each has ``add_arguments(parser)`` and ``run(arguments) -> Result`` and is named in `cli.py`.
Nothing imports this package but the command line, so it may use every layer. What speaks ROS lies
in files of its own, ``ros_NAME.py``, which a benchmark imports inside its functions or starts as
processes (``python -m s3k_ros.bench.ros_NAME``).
"""
