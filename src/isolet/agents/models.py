"""The model of each project: the chat endpoint that its agents and decisions ask, and the key for it, sealed."""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from isolet.agents.addresses import OutgoingAddresses
from isolet.database import agent_models as stored
from isolet.database.agent_models import StoredModel
from isolet.database.connection import Database
from isolet.domain.agent_models import KEY_SHOWN, AgentModel, check_key, check_model
from isolet.errors import InvalidInput, NotFound
from isolet.functions.vault import Vault
from isolet.ids import ProjectId

_MISSING = "The project has no model for agents"


class OpenedModel(Struct, frozen=True, kw_only=True):
    """With its key in clear."""

    model: AgentModel
    key: str | None


class AgentModels:
    def __init__(self, *, database: Database, vault: Vault, addresses: OutgoingAddresses) -> None:
        self._database = database
        self._vault = vault
        self._addresses = addresses

    async def put(self, project_id: ProjectId, model: AgentModel, key: str | None) -> AgentModel:
        """Set it, the whole of it: without a key, requests have none. What is shown in the place of a key keeps the one
        that there is, for the same address. Raises InvalidInput.
        """
        checked = replace(
            model, base_url=self._address(project_id, model.base_url), model=check_model(model.model), has_key=False
        )
        sealed = None
        if key == KEY_SHOWN:
            sealed = await self._kept(project_id, checked)
        elif (key := check_key(key)) is not None:
            sealed = await self._vault.seal(project_id, key, purpose=_purpose(project_id))
        checked = replace(checked, has_key=sealed is not None)
        await self._database.write(stored.put_model, project_id, StoredModel(model=checked, sealed_key=sealed))
        return checked

    async def get(self, project_id: ProjectId) -> AgentModel | None:
        found = await self._database.read(stored.get_model, project_id)
        return None if found is None else found.model

    async def opened(self, project_id: ProjectId) -> OpenedModel:
        """For a request to it. Raises NotFound."""
        found = await self._database.read(stored.get_model, project_id)
        if found is None:
            raise NotFound(_MISSING)
        if found.sealed_key is None:
            return OpenedModel(model=found.model, key=None)
        # Another server may have made the project's first key.
        await self._vault.load_missing(project_id)
        key = self._vault.open_sealed(project_id, found.sealed_key, purpose=_purpose(project_id))
        return OpenedModel(model=found.model, key=key)

    async def _kept(self, project_id: ProjectId, model: AgentModel) -> bytes:
        """The sealed key. Whoever changes the address must know the key that goes there. Raises InvalidInput."""
        found = await self._database.read(stored.get_model, project_id)
        if found is None or found.sealed_key is None or found.model.base_url != model.base_url:
            raise InvalidInput("api_key_secret: send the key itself; there is none to keep for this address")
        return found.sealed_key

    def _address(self, project_id: ProjectId, base_url: str) -> str:
        url = self._addresses.checked(project_id, base_url, label="base_url")
        if urlsplit(url).query or "?" in url:
            raise InvalidInput("base_url must end before /chat/completions, without a query")
        return url.rstrip("/").removesuffix("/chat/completions")


def _purpose(project_id: ProjectId) -> str:
    return f"key of the model of {project_id}"
