"""`python -m tests.bench [--only NAME]…`"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench import report
from tests.bench.registry import BENCHMARKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Isolet against bare workerd.")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="run this one; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="default: %(default)s")
    arguments = parser.parse_args()
    results, stolen = {}, {}
    for name in arguments.only or BENCHMARKS:
        print(f"Measuring {name} …", flush=True)
        steal = report.Steal()
        results[name] = BENCHMARKS[name]()
        stolen[name] = steal.percent
    report.show(results, stolen)
    report.write(results, stolen, arguments.output)
    print(f"Every round is in {arguments.output}")


main()
