"""Whether a request of the host's own may go to an address that a project chose.

Names are looked at again, by address, when the egress process connects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec import Struct

from isolet.domain.callbacks import check_url
from isolet.domain.networks import Network
from isolet.errors import InvalidInput, RequestError
from isolet.ids import ProjectId
from isolet.routing.routes import Routes


class OutgoingAddresses(Struct, frozen=True, kw_only=True):
    """`own` gives the networks that lead to this machine."""

    routes: Routes
    own: Callable[[], Collection[Network]]

    def checked(self, project_id: ProjectId, url: str, *, label: str) -> str:
        """The address. Raises InvalidInput, whose text begins with `label`."""
        allowed = self.routes.egress_of(project_id)
        try:
            return check_url(url, label=label, allowed=allowed, own=self.own(), http=True)
        except RequestError as exc:
            raise InvalidInput(exc.message) from exc
