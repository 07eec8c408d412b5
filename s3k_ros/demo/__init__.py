"""The demo: an ordinary client of the public interfaces that grasps, measures and reports."""
