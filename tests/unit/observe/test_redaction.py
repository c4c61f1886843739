import pytest

from isolet.domain.invocations import Door, Invocation
from isolet.ids import FunctionId, InvocationId, ProjectId
from isolet.observe.redaction import Kept, Redaction

ROOT = "root-key-of-the-tests"


@pytest.fixture
def recording() -> Redaction:
    return Redaction(ROOT)


@pytest.mark.parametrize("after", [[], [(b"host", b"x"), (b"content-type", b"text/plain")]])
def test_of_headers_four_kilobytes_are_kept_whatever_comes_first(
    recording: Redaction, after: list[tuple[bytes, bytes]]
) -> None:
    assert recording.headers([(b"x-large", b"a" * 5_000), *after]) == b""
    assert recording.headers([(b"x-small", b"a"), (b"x-large", b"a" * 5_000), *after]) == b"x-small: a"


def test_a_path_is_recorded_as_every_database_can_hold_it(recording: Redaction) -> None:
    call = Invocation(
        id=InvocationId("i"),
        project_id=ProjectId("p"),
        function_id=FunctionId("f"),
        function_name="f",
        version=1,
        door=Door.ALTAIR,
        method="POST",
        path=f"/a\0b/{ROOT}",
        started_at_ms=0,
    )
    recording.fill(call, Kept(recording=recording, headers=[], query=b"", response=b"", redactor=None, whole=True))
    assert (call.path, call.request_redacted) == ("/a\ufffdb/[redacted]", True)
