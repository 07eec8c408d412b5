"""Makes `test/support` importable from every test, as `support.<module>`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

# Before anything imports MuJoCo: it chooses its way to OpenGL at that moment.
os.environ.setdefault("MUJOCO_GL", "egl")
sys.path.insert(0, str(Path(__file__).parent))
# A job in a shell's background ignores Ctrl-C and hands that on to all that it starts: tests of
# Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
