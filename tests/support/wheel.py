"""The wheel that `make wheel` builds, installed where there is Python and nothing else."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """Not compressed, which takes the most time of it; the path of the wheel."""
    command = [sys.executable, str(ROOT / "scripts/wheel"), "--stored", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with the wheel in it, and the folder of its programs.

    It sees what the wheel depends on where the tests' own environment has it, but not the sources that this one runs:
    they are named in a file that only an environment's own folder is searched for.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], timeout=60, check=True)
    python = folder / "bin/python"
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    command += ["--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run(command, timeout=120, check=True)
    return folder / "bin"
