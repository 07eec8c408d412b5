"""The verdict of a finished demo as an exit code: ``python -m s3k_ros.demo.verdict REPORT``.

``ros2 launch`` does not return the exit code of the client, so whoever started it removes the old
report, launches, and asks here. Needs no ROS.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PASSED, FAILED = "passed", "failed"


def verdict(path: Path) -> tuple[bool, str]:
    """Reads the verdict of a report.

    Args:
        path: ``report.json``.

    Returns:
        Whether the demo passed, and one line about it. A report that is missing, unreadable or
        without a verdict is a failure.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        passed = report["verdict"] == PASSED
        return passed, f"demo {report['verdict']}: {report['reason']} (report: {path})"
    except FileNotFoundError:
        return False, f"demo failed: no report at {path}, so the demo did not reach its end"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return False, f"demo failed: {path} is no report ({type(error).__name__}: {error})"


def main(arguments: list[str] | None = None) -> int:
    """Prints the verdict and returns 0 when the demo passed, 1 when not, 2 on wrong usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m s3k_ros.demo.verdict out/demo/report.json", file=sys.stderr)
        return 2
    passed, line = verdict(Path(arguments[0]))
    print(line, flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
