"""Makes `test/support` importable from every test, as `support.<module>`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before anything imports MuJoCo: it chooses its way to OpenGL at that moment.
os.environ.setdefault("MUJOCO_GL", "egl")
sys.path.insert(0, str(Path(__file__).parent))
