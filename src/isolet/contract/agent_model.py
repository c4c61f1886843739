"""The chat endpoint that agents and decisions of a project ask."""

from __future__ import annotations

from pydantic import StrictBool

from isolet.contract.models import Body, Reply
from isolet.contract.operations import Mode, Resource, operation


class ModelSettings(Body):
    """`base_url` includes `/v1`. `api_key_secret` is the key itself, which is not shown again; none without it. `***`
    keeps the one that there is, for the same `base_url`.

    With `stream` replies are asked for as they come.
    """

    base_url: str
    model: str
    api_key_secret: str | None = None
    stream: StrictBool = False


class ModelSettingsReply(Reply):
    """Null where nothing is set. `api_key_secret` is `***` where there is one."""

    base_url: str | None
    model: str | None
    api_key_secret: str | None
    stream: bool


class AgentModel(Resource[Mode]):
    tag = "flows"

    @operation("PUT", "/projects/{slug}/model")
    def set(self, slug: str, body: ModelSettings) -> ModelSettingsReply:
        """Set the chat endpoint of the project's agents. The key is sealed, and shown to nobody."""

    @operation("GET", "/projects/{slug}/model")
    def get(self, slug: str) -> ModelSettingsReply:
        """The chat endpoint of the project's agents, with its key hidden."""
