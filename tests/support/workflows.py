"""Kapso's workflows as its published clients speak of them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx


def a_node(node_id: str, kind: str, **config: Any) -> dict[str, Any]:
    """As scripts write it."""
    return {
        "id": node_id,
        "type": "flow-node",
        "position": {"x": 0, "y": 0},
        "data": {"node_type": kind, "config": config},
    }


START = a_node("start", "start")


def a_line(*nodes: dict[str, Any]) -> dict[str, Any]:
    """A definition with one path through the nodes."""
    every = [START, *nodes]
    edges = [{"source": one["id"], "target": two["id"], "label": "next"} for one, two in itertools.pairwise(every)]
    return {"nodes": every, "edges": edges}


class WorkflowsApi:
    """`base` is `/platform/v1`, whose requests and replies have the members `workflow` and `data`."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.base = "/platform/v1"

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        """The reply's `data`; None for none."""
        if body is not None:
            # In ASCII, so that it may hold any text.
            options |= {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
        reply = self.client.request(method, self.base + path, **options)
        assert reply.status_code == status, reply.text
        return reply.json()["data"] if reply.content else None

    def refused(self, method: str, path: str, body: Any = None, *, status: int = 422, **options: Any) -> str:
        """The text of the error."""
        if body is not None:
            options["json"] = body
        reply = self.client.request(method, self.base + path, **options)
        assert reply.status_code == status, reply.text
        assert list(reply.json()) == ["error"]
        return str(reply.json()["error"])

    def create(self, name: str, definition: Any = None, *, active: bool = False) -> Any:
        sent = {"name": name, **({} if definition is None else {"definition": definition})}
        made = self("POST", "/workflows", {"workflow": sent}, status=201)
        if active:
            return self("PATCH", f"/workflows/{made['id']}", {"workflow": {"status": "active"}})
        return made

    def graph(self, workflow_id: str) -> Any:
        return self("GET", f"/workflows/{workflow_id}/definition")
