import json

import pytest

from isolet.api.altair.errors import failure
from isolet.errors import HandlerFailed

FOREIGN = "    at D1DatabaseSessionAlwaysPrimary._send (cloudflare-internal:d1-api:191:19)"


@pytest.mark.parametrize(
    ("stack", "line"),
    [
        (f"Error: no\n{FOREIGN}\n    at async handler (function.js:25:94)", 25),
        ("Error: at function.js:7:1\n    at function.js:3:9\n    at handler (function.js:25:94)", 3),
        (f"Error: no\n{FOREIGN}\n    at async Promise.all (index 0)\n    at handler (src/my file.ts:25:94)", 25),
        ("Error: no\n    at src/a.ts:7:1", 7),
        (f"Error: no\n{FOREIGN}", None),
        (f"Error: no\n{FOREIGN}\n    at Object.fetch (src/my index.ts:12:3)\n    at async function.js:25:94", 12),
        ("Error: no\n    at f (node_modules/left/index.js:3:9)\n    at src/index.ts:8:1", 8),
        ("Error: no\n    at f (node_modules/left/index.js:3:9)\n    at new Promise (<anonymous>)", 3),
        ("Error: no\n    at async Promise.all (index 0)\n    at node:assert:1:2\n    at x (node:fs:1:2)", None),
        (None, None),
    ],
)
def test_the_line_is_the_first_of_the_author(stack: str | None, line: int | None) -> None:
    status, body = failure(HandlerFailed("Error: no", stack=stack))
    told = json.loads(body)["error"]
    assert (status, told["details"]["exception_line_number"]) == (500, line)
    assert told["message"] == ("Error: no" if line is None else f"Error at line {line}: no")


def test_the_type_of_an_error_may_have_a_code_behind_it() -> None:
    told = json.loads(failure(HandlerFailed("TypeError [ERR_INVALID_ARG_TYPE]: no"))[1])["error"]
    assert (told["details"]["exception_type"], told["message"]) == ("TypeError", "TypeError: no")
