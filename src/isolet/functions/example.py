"""The example function that a new server can start with."""

from __future__ import annotations

from importlib import resources

from isolet.domain.functions import Function
from isolet.errors import NotFound, PlatformError
from isolet.functions.deploy import Deployer
from isolet.functions.service import Functions
from isolet.ids import ProjectId

_NAME = "Hello"
_SLUG = "hello"


async def ensure_example(functions: Functions, deployer: Deployer, project_id: ProjectId) -> Function:
    """The example, deployed; made when the project has none. Raises PlatformError when it does not deploy."""
    try:
        found = await functions.find(project_id, _SLUG)
        if found.slug != _SLUG:
            raise NotFound("another function has that name")
    except NotFound:
        code = resources.files("isolet.functions").joinpath("examples/hello.js").read_text()
        found = await functions.create(project_id, {"name": _NAME, "slug": _SLUG, "code": code})
    if found.version is None:
        await (await deployer.accept(found))
        found = await functions.get(project_id, found.id)
    if found.version is None:
        reason = found.deploy_error.message if found.deploy_error else "no reason was given"
        raise PlatformError(f"cannot deploy the example function: {reason}")
    return found
