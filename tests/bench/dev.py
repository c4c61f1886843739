"""`isolet dev`: from a save to the answer of the new code, also after many lines were printed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.report import Figure, single
from tests.support.dev import Dev
from tests.support.on_disk import write_files

_SAVES = 21
_LINES_A_CALL = 100
_CALLS = 100
_POLL_S = 0.003
_PAUSE_S = 0.4
_CODE = """
import { part } from "./part";
export default {
  fetch(request: Request): Response {
    for (let n = 0; n < Number(new URL(request.url).searchParams.get("lines")); n++) console.log("line", n);
    return new Response(part);
  },
};
"""


def run() -> Sequence[Figure]:
    with tempfile.TemporaryDirectory(prefix="isolet-bench-dev-") as temporary:
        folder = Path(temporary) / "project"
        write_files(
            folder,
            {
                "isolet.toml": '[functions.hello]\nentry = "hello.ts"\n',
                "hello.ts": _CODE,
                "part.ts": 'export const part = "first";',
            },
        )
        with Dev(folder, data_dir=Path(temporary) / "data") as dev:
            dev.answers("hello", "first")
            fresh = [_save_ms(dev, folder, f"fresh {number}") for number in range(_SAVES)]
            for _ in range(_CALLS):
                assert dev.client.get(f"{dev.url('hello')}?lines={_LINES_A_CALL}").status_code == 200
            late = [_save_ms(dev, folder, f"late {number}") for number in range(_SAVES)]
    lines = f"{_CALLS * _LINES_A_CALL:,}"
    return [single("save to new code answering", "ms", fresh), single(f"the same after {lines} lines", "ms", late)]


def _save_ms(dev: Dev, folder: Path, text: str) -> float:
    """After a pause, so that it is one save of somebody who types."""
    time.sleep(_PAUSE_S)
    url = dev.url("hello")
    began = time.perf_counter()
    (folder / "part.ts").write_text(f'export const part = "{text}";')
    while dev.client.get(url).text != text:
        time.sleep(_POLL_S)
    return (time.perf_counter() - began) * 1000
