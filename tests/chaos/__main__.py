"""`python -m tests.chaos [--kills 100] [--seed N]`, or with `--due-times 50`, or with `--flow-steps 10`"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos import due_times
from tests.chaos.kills import run
from tests.support.flow_kills import WAYS, run_killed
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver


def _due_times(rounds: int) -> int:
    with tempfile.TemporaryDirectory(prefix="isolet-chaos-") as folder:
        (Path(folder) / "postgres").mkdir()
        Path(folder).chmod(0o755)
        with Postgres(Path(folder) / "postgres") as postgres, postgres.temporary() as url:
            dues, runs = due_times.run(Path(folder), url, rounds=rounds)
    wrong = [due for due, count in runs.items() if count != 1]
    print(f"{len(dues)} kills, {len(runs)} due times, {sum(runs.values())} runs, {len(wrong)} due times not run once")
    return 1 if wrong else 0


def _flow_steps(steps: int) -> int:
    names = [f"n{number}" for number in range(steps)]
    with tempfile.TemporaryDirectory(prefix="isolet-chaos-") as folder, Receiver() as receiver:
        execution, begun = run_killed(Path(folder), receiver, dict.fromkeys(names, WAYS))
    expected = [f"{execution['id']}:{name}:1" for name in names for _ in range(len(WAYS) + 1)]
    right = execution["execution_context"]["vars"] == {"path": names} and begun == expected
    print(f"{steps * len(WAYS)} kills, {len(begun)} tries of {steps} steps, the run is {execution['status']}")
    return 0 if right and execution["status"] == "ended" else 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--due-times", type=int, default=0, help="kill a server before so many due times instead")
    parser.add_argument("--flow-steps", type=int, default=0, help="kill a server twice at so many steps instead")
    arguments = parser.parse_args()
    if arguments.flow_steps:
        sys.exit(_flow_steps(arguments.flow_steps))
    if arguments.due_times:
        sys.exit(_due_times(arguments.due_times))
    print(f"Seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="isolet-chaos-") as folder:
        outcome = run(Path(folder), kills=arguments.kills, seed=arguments.seed)
    print(outcome)
    sys.exit(1 if outcome.lost or outcome.mismatched or outcome.not_succeeded else 0)


main()
