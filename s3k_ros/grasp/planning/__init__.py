"""From a keypoint to motions: candidates, postures, ways, and the plan of each task."""
