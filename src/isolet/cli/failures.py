"""The errors of commands: a text that says what to do next, and an exit code that stays the same.

0  done
1  failed: the server refused or could not do it, or a call failed
2  wrong usage of the command
3  refused, because something cannot be mapped
4  not found
5  not allowed: no key, a wrong one, or one without the role
6  no server answered at the address
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from enum import IntEnum

import typer

from isolet.cli import shown
from isolet.errors import IsoletError, NotFound

_LISTS = {
    "function": "isolet functions list shows what there is.",
    "project": "isolet projects list shows what there is.",
    "space": "isolet projects list shows what there is.",
    "key": "isolet kv list shows what there is.",
    "schedule": "isolet schedules list shows what there is.",
    "invocation": "isolet invocations shows what there is.",
}


# As shells say it of a program that an interrupt from the terminal ended.
INTERRUPTED = 130


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    UNMAPPED = 3
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    NO_SERVER = 6


class Usage(IsoletError):
    """What was given makes no sense together."""

    code = "usage"


@contextlib.contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """Raises typer's Exit for every error that has been told on standard error."""
    try:
        yield
    except IsoletError as exc:
        tell(exc, as_json=as_json)
        raise typer.Exit(exit_code(exc)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever reads has read enough. Python would complain when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.FAILED) from None


def tell(error: IsoletError, *, as_json: bool = False) -> None:
    if as_json:
        told = {"code": _code(error), "message": _text(error), "details": dict(error.details), "hint": hint(error)}
        sys.stderr.write(shown.as_json({"error": told}) + "\n")
    else:
        following = hint(error)
        sys.stderr.write(f"isolet: {shown.lines(_text(error))}\n" + (f"{following}\n" if following else ""))


def exit_code(error: IsoletError) -> ExitCode:
    from isolet.client import errors

    if isinstance(error, Usage):
        return ExitCode.USAGE
    if error.code == "unmapped":
        return ExitCode.UNMAPPED
    if isinstance(error, NotFound | errors.NotFound) or error.code == "not_found":
        return ExitCode.NOT_FOUND
    if isinstance(error, errors.Unauthenticated | errors.Forbidden):
        return ExitCode.NOT_ALLOWED
    if isinstance(error, errors.Unreachable | errors.UnexpectedReply):
        return ExitCode.NO_SERVER
    return ExitCode.FAILED


def hint(error: IsoletError) -> str:
    """The command that helps; empty where there is none."""
    from isolet.client import errors

    if isinstance(error, errors.Unauthenticated):
        return "Run isolet login, or give a key with ISOLET_API_KEY or --api-key."
    if isinstance(error, errors.Forbidden):
        return (
            "The key's role does not allow it: isolet keys create NAME --role deploy makes another, with an admin key."
        )
    if isinstance(error, errors.Unreachable):
        return "Start a server with isolet serve, or say where it is with --url. isolet doctor checks this machine."
    if isinstance(error, errors.UnexpectedReply):
        return (
            "Is that the address of an Isolet server, of this version? --url says where it is, isolet --version which."
        )
    if isinstance(error, errors.TooManyRequests):
        return "Try again" + (f" in {error.retry_after_s} s." if error.retry_after_s is not None else " later.")
    if isinstance(error, errors.NotDeployed):
        return "Run isolet deploy first."
    if isinstance(error, errors.NotFound):
        return next((then for thing, then in _LISTS.items() if thing in error.text.lower()), "")
    return ""


def _text(error: IsoletError) -> str:
    return str(getattr(error, "text", error.message))


def _code(error: IsoletError) -> str:
    return error.code
