import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from isolet.api import dialects
from isolet.api.altair import errors as altair
from isolet.api.butterbase import errors as butterbase
from isolet.api.errors import ErrorReply, headers_of, public_error
from isolet.api.kapso import errors as kapso
from isolet.api.native import errors as native_errors
from isolet.errors import (
    BuildFailed,
    Conflict,
    Forbidden,
    FunctionCrashed,
    FunctionTimeout,
    HandlerFailed,
    InvalidInput,
    InvalidMember,
    IsoletError,
    MethodNotAllowed,
    NotDeployed,
    NotFound,
    RequestError,
    StoreError,
    StoreRefused,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    ValueRefused,
)

REFUSALS: list[tuple[IsoletError, int, int]] = [
    (RequestError("said so"), 400, 400),
    (InvalidInput("said so"), 422, 422),
    (Unauthenticated("said so"), 401, 401),
    (Forbidden("said so"), 403, 403),
    (NotFound("said so"), 404, 404),
    (MethodNotAllowed("said so", allowed=("POST",)), 405, 405),
    (Conflict("said so"), 409, 409),
    (NotDeployed("said so"), 422, 409),
    (TooLarge("said so"), 413, 413),
    (TooManyRequests("said so", retry_after_s=2), 429, 429),
    (BuildFailed("said so"), 422, 422),
    (Unavailable("said so"), 503, 503),
]


@pytest.mark.parametrize(("error", "kapso_status", "native_status"), REFUSALS, ids=lambda value: type(value).__name__)
def test_a_refusal_has_its_status_and_shape_in_each_dialect(
    error: IsoletError, kapso_status: int, native_status: int
) -> None:
    by_kapso, by_native = kapso.error_reply(error), native_errors.error_reply(error)

    assert (by_kapso.status, by_kapso.body) == (kapso_status, {"error": "said so"})
    assert by_native.status == native_status
    body = {"code": error.code, "message": "said so"}
    assert by_native.body == {"error": {**body, "details": dict(error.details)} if error.details else body}


@pytest.mark.parametrize(
    ("error", "native_status"),
    [(HandlerFailed("Error: no"), 500), (FunctionTimeout(timeout_ms=5), 504), (FunctionCrashed("killed"), 502)],
)
def test_a_failed_call_is_told_with_its_id(error: IsoletError, native_status: int) -> None:
    error.details = {"invocation_id": "the-id"}

    by_kapso, by_native = kapso.error_reply(error), native_errors.error_reply(error)

    assert by_kapso == ErrorReply(
        status=500,
        body={"error": "Function execution failed", "detail": error.message, "invocation_id": "the-id"},
        headers={"x-invocation-id": "the-id"},
    )
    assert by_native.status == native_status
    assert by_native.headers == {"x-invocation-id": "the-id"}


def test_the_detail_of_a_failed_call_is_cut() -> None:
    assert len(kapso.error_reply(HandlerFailed("m" * 600)).body["detail"]) == 512


def test_headers_say_what_to_do_next() -> None:
    assert headers_of(MethodNotAllowed("no", allowed=("GET", "PUT"))) == {"allow": "GET, PUT"}
    assert headers_of(TooManyRequests("no", retry_after_s=7)) == {"retry-after": "7"}
    assert headers_of(InvalidInput("no")) == {}


@pytest.mark.parametrize("fault", [StoreRefused("no /secret"), RuntimeError("at /secret"), KeyError("secret")])
def test_a_fault_of_our_own_is_told_as_an_id_that_stands_in_the_log(fault: Exception) -> None:
    with capture_logs() as logs:
        told = kapso.error_reply(fault)

    found = re.fullmatch(r"Internal server error \(([0-9a-f-]{36})\)", told.body["error"])
    assert told.status == 500
    assert found is not None
    assert [(entry["event"], entry["fault"], entry["exc_info"]) for entry in logs] == [
        ("request failed", found[1], fault)
    ]


@pytest.mark.parametrize("door", [kapso, native_errors, altair, butterbase])
def test_a_store_that_is_away_is_told_as_what_passes(door: Any) -> None:
    fault = StoreError("cannot read from the database: no disk at /secret", details={"invocation_id": "the-id"})
    with capture_logs() as logs:
        told = door.error_reply(fault)

    assert (told.status, told.headers) == (503, {"x-invocation-id": "the-id"})
    assert "The server cannot use its database now; try again later" in str(told.body)
    assert "/secret" not in str(told.body)
    (entry,) = logs
    assert (entry["event"], entry["exc_info"]) == ("request failed", fault)
    assert entry["fault"] in str(told.body)


def test_a_value_that_no_column_holds_is_the_callers() -> None:
    told = [door.error_reply(ValueRefused("at /secret")) for door in (kapso, native_errors, altair, butterbase)]
    assert [reply.status for reply in told] == [422, 422, 422, 400]
    assert all("cannot be stored" in str(reply.body) and "/secret" not in str(reply.body) for reply in told)


def test_a_refusal_is_not_logged() -> None:
    with capture_logs() as logs:
        error = NotFound("Function not found")
        assert public_error(error) is error
    assert logs == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/platform/v1/functions/x", {"error": "said so"}),
        ("/api/v1/functions", {"error": "said so"}),
        ("/isolet/v1/functions", {"error": {"code": "not_found", "message": "said so"}}),
        ("/platform/v2", {"error": {"code": "not_found", "message": "said so"}}),
        ("/", {"error": {"code": "not_found", "message": "said so"}}),
    ],
)
def test_an_error_speaks_the_dialect_of_its_path(path: str, body: object) -> None:
    assert dialects.error_reply(path, NotFound("said so")).body == body


@pytest.mark.parametrize(
    ("path", "member", "name"),
    [
        ("/platform/v1/functions", "response_mode", "invoke_response_mode"),
        ("/v1/app/functions", "environment", "envVars"),
        ("/spaces/space/functions", "environment", "env"),
        ("/isolet/v1/functions", "environment", "environment"),
    ],
)
def test_a_member_has_the_name_that_its_dialect_gives_it(path: str, member: str, name: str) -> None:
    reply = dialects.error_reply(path, InvalidMember(member, ".A: must be a string"))
    told = reply.body["error"]
    assert (told if isinstance(told, str) else told["message"]) == f"{name}.A: must be a string"
