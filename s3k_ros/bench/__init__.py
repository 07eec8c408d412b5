"""Benchmarks, one file each: `s3k bench NAME`.

Each has ``add_arguments(parser)`` and ``run(arguments) -> Result`` and is named in `cli.py`.
Nothing imports this package but the command line, so it may use every layer that speaks no ROS.
"""
