"""The native API of a project's model."""

from __future__ import annotations

from msgspec import Struct

from isolet.access.rules import Access, PathSlug
from isolet.agents.models import AgentModels
from isolet.api.native.serving import serve
from isolet.api.rows import GrantedProject
from isolet.contract.agent_model import AgentModel as Operations
from isolet.contract.agent_model import ModelSettings, ModelSettingsReply
from isolet.domain.access import Role
from isolet.domain.agent_models import KEY_SHOWN, AgentModel

_ADMIN = Access(Role.ADMIN, PathSlug())


class AgentModelDoor(Struct, frozen=True, kw_only=True):
    models: AgentModels

    @serve(Operations.set, _ADMIN)
    async def set_model(self, project: GrantedProject, body: ModelSettings) -> ModelSettingsReply:
        """Takes effect with the next step that asks it."""
        wanted = AgentModel(base_url=body.base_url, model=body.model, streams=body.stream)
        return _shown(await self.models.put(project.id, wanted, body.api_key_secret))

    @serve(Operations.get, _ADMIN)
    async def get_model(self, project: GrantedProject) -> ModelSettingsReply:
        """Null for all while there is none."""
        return _shown(await self.models.get(project.id))


def _shown(model: AgentModel | None) -> ModelSettingsReply:
    if model is None:
        return ModelSettingsReply(base_url=None, model=None, api_key_secret=None, stream=False)
    return ModelSettingsReply(
        base_url=model.base_url,
        model=model.model,
        api_key_secret=KEY_SHOWN if model.has_key else None,
        stream=model.streams,
    )
