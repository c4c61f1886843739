"""Which dialect speaks on which path."""

from __future__ import annotations

from collections.abc import Callable

from isolet.api.altair import calls as altair
from isolet.api.altair import errors as altair_errors
from isolet.api.butterbase import calls as butterbase_call
from isolet.api.butterbase import errors as butterbase_errors
from isolet.api.errors import ErrorReply
from isolet.api.kapso import calls as kapso
from isolet.api.kapso import errors as kapso_errors
from isolet.api.native import errors as native_errors

_DIALECTS: tuple[tuple[str, Callable[[Exception], ErrorReply]], ...] = (
    (kapso.PLATFORM, kapso_errors.error_reply),
    (kapso.OLDER, kapso_errors.error_reply),
    (butterbase_call.PREFIX, butterbase_errors.error_reply),
    (altair.PREFIX.rstrip("/"), altair_errors.error_reply),
    ("/oauth2", altair_errors.error_reply),
)


def error_reply(path: str, error: Exception) -> ErrorReply:
    """The error in the dialect of its path; the native one where no dialect claims it."""
    for prefix, render in _DIALECTS:
        if path.startswith(prefix + "/"):
            return render(error)
    return native_errors.error_reply(error)
