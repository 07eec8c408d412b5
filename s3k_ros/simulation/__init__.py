"""The simulated cell: MuJoCo model, controllers, real-time loop and renderer."""

import os

# MuJoCo chooses its way to OpenGL when it is imported; without a display only EGL works.
os.environ.setdefault("MUJOCO_GL", "egl")
