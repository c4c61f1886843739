import platform
import shutil
import struct
from pathlib import Path

import pytest

from isolet import toolchain
from isolet.runtime.elf import loader_of


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the loader has another name")
def test_the_loader_of_a_program_is_read_from_its_file() -> None:
    assert loader_of(toolchain.find().workerd) == "/lib64/ld-linux-x86-64.so.2"


def test_a_program_without_a_loader_has_none(tmp_path: Path) -> None:
    assert loader_of(toolchain.find().esbuild) is None
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert loader_of(script) is None


def test_a_file_that_ends_early_has_none(tmp_path: Path) -> None:
    whole = Path(shutil.which("true") or "").resolve().read_bytes()[:64]
    cut = tmp_path / "cut"
    for length in (3, 63, 64):
        cut.write_bytes(whole[:length])
        assert loader_of(cut) is None
    # It says that its table begins behind its end, and has as many rows as can be.
    cut.write_bytes(whole[:32] + struct.pack("<Q", 2**62) + whole[40:56] + b"\xff\xff" + whole[58:])
    assert loader_of(cut) is None
