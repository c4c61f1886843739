"""The use cases of calls that were made: find, show, cancel, replay and redeliver them. Knows no HTTP."""

from isolet.invocations.service import AsyncInvocation, Invocations, Page, RecordedInvocation

__all__ = ["AsyncInvocation", "Invocations", "Page", "RecordedInvocation"]
