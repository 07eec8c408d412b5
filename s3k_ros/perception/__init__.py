"""Frames in, 3D keypoints out: NumPy, OpenCV and ONNX Runtime, no ROS and no PyTorch."""
