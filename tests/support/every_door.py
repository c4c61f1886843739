"""One function behind every door: the address at which each calls it."""

from __future__ import annotations

from typing import Any

import httpx
from msgspec import Struct

from tests.support.butterbase import Butterbase

DOORS = ("kapso", "kapso older", "butterbase", "butterbase test call", "altair")
# These take anybody's call, when the function is public.
PUBLIC = ("kapso", "butterbase")


class Doors(Struct, frozen=True, kw_only=True):
    """`public` sends no key; `key` is one of the project."""

    app: str
    key: str
    function_id: str
    public: httpx.Client
    name: str = "behind"

    def path(self, door: str) -> str:
        return {
            "kapso": f"/platform/v1/functions/{self.function_id}/invoke",
            "kapso older": f"/api/v1/functions/{self.function_id}/invoke",
            "butterbase": f"/v1/{self.app}/fn/{self.name}",
            "butterbase test call": f"/v1/{self.app}/functions/{self.name}/invoke",
            "altair": f"/spaces/{self.app}/functions/{self.name}/invoke",
        }[door]

    def call(self, door: str, method: str = "POST", **options: Any) -> httpx.Response:
        """With the project's key, unless `headers` say otherwise."""
        headers = {"X-API-Key": self.key, **options.pop("headers", {})}
        return self.public.request(method, self.path(door), headers=headers, **options)


def behind_all_doors(butterbase: Butterbase, code: str, name: str = "behind") -> Doors:
    """A function that anybody may call where its door has such callers."""
    butterbase.deploy(name, code)
    listed = butterbase.client.get("/isolet/v1/functions").json()["data"]
    (function_id,) = (function["id"] for function in listed if function["name"] == name)
    changed = butterbase.client.patch(
        f"/platform/v1/functions/{function_id}", json={"function": {"public_endpoint": True}}
    )
    assert changed.status_code == 200, changed.text
    return Doors(app=butterbase.app, key=butterbase.key, function_id=function_id, public=butterbase.public, name=name)
