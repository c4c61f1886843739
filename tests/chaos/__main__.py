"""`python -m tests.chaos [--kills 100] [--seed N]`"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.kills import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    print(f"Seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="isolet-chaos-") as folder:
        outcome = run(Path(folder), kills=arguments.kills, seed=arguments.seed)
    print(outcome)
    sys.exit(1 if outcome.lost or outcome.mismatched or outcome.not_succeeded else 0)


main()
