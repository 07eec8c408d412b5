"""Writes docs/benchmarks.md from the results of `s3k bench NAME --json docs/benchmarks/FILE`.

Usage: .venv/bin/s3k-env python tools/bench_page.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from s3k_ros.results import Result

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "docs" / "benchmarks"

INTRODUCTION = """\
# Benchmarks

Each table is the result of one command on the machine that it names, written by
`tools/bench_page.py` from the JSON files in [benchmarks](benchmarks). A missed target stays in the
table. `make setup-bench` installs the peers; what a benchmark measures, and how, is the first
paragraph of its file in `s3k_ros/bench/`. Repeat one with its command, then write the page anew:
`.venv/bin/s3k-env python tools/bench_page.py`.
"""


def page() -> str:
    """The whole page."""
    files = sorted(RESULTS.glob("*.json"))
    return "\n".join([INTRODUCTION, *(line for path in files for line in _section(path))])


def _section(path: Path) -> Iterator[str]:
    result = Result.read(path)
    yield f"## {path.stem}\n"
    yield f"`{result.command}`, commit {result.commit}, {result.machine}.\n"
    if result.targets:
        yield "| target | measured | limit | |"
        yield "| --- | --- | --- | --- |"
        for target in result.targets:
            verdict = "met" if target.passed else "**missed**"
            measured, limit = f"{target.measured:.4g}", f"{target.limit:.4g} {target.unit}"
            yield f"| {target.name} | {measured} | {limit} | {verdict} |"
        yield ""
    yield "```"
    yield from Result.table(_without_targets(result)).splitlines()[1:]
    yield "```\n"


def _without_targets(result: Result) -> Result:
    return Result(**{**vars(result), "targets": ()})


def main() -> int:
    """Writes the page, or with --check only compares it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit code 1 if the page is old")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.relative_to(ROOT)} is old: python tools/bench_page.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
