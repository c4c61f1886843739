"""Builds workerd's configuration, typed by workerd's own Cap'n Proto schema and never as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import capnp

from isolet.domain.limits import Limits
from isolet.ids import FunctionId, ProjectId

COMPATIBILITY_DATE = "2026-11-01"
CALL_HEADER = "x-isolet-call"
PROTO_HEADER = "x-isolet-proto"
SOCKET_NAME = "http"

# Ranges that lead back inside and that workerd does not count as private: NAT64, 6to4, benchmarking, "this network".
DENIED_NETWORKS = ("64:ff9b::/96", "2002::/16", "198.18.0.0/15", "0.0.0.0/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """What one instance runs. `release` names it: the same release means the same code and the same variables.

    Text values of `variables` arrive in `env` as strings, all others parsed from JSON.
    """

    release: str
    function_id: FunctionId
    project_id: ProjectId
    version: int
    module: str
    limits: Limits
    variables: Mapping[str, Any] = field(default_factory=dict)


class ConfigBuilder:
    """Loads the schema once; each method gives the bytes for `workerd serve --binary -`."""

    def __init__(self, schema: Path) -> None:
        capnp.remove_import_hook()
        root = Path(capnp.__file__).parent.parent
        self._schema: Any = capnp.load(str(schema), imports=[str(root)])
        self._js = {
            name: resources.files("isolet.runtime").joinpath("js", name).read_text()
            for name in ("entry.js", "console.js", "egress.js")
        }

    def instance(self, spec: InstanceSpec, *, egress_address: str) -> bytes:
        """A worker of our wrapper and the function's module; `fetch` leaves through `egress_address` only."""
        config = self._schema.Config.new_message()
        main, internet = config.init("services", 2)
        main.name = "function"
        worker = main.init("worker")
        self._add_modules(
            worker,
            {
                "isolet/entry.js": self._js["entry.js"],
                "isolet/console.js": self._js["console.js"],
                "function.js": spec.module,
            },
        )
        worker.compatibilityFlags = ["nodejs_compat"]
        bindings = worker.init("bindings", len(spec.variables))
        for binding, (name, value) in zip(bindings, spec.variables.items(), strict=True):
            binding.name = name
            if isinstance(value, str):
                binding.text = value
            else:
                binding.json = json.dumps(value)
        internet.name = "internet"
        external = internet.init("external")
        external.address = egress_address
        external.init("http").style = "proxy"
        options = self._listen(config, "function")
        options.cfBlobHeader = CALL_HEADER
        options.forwardedProtoHeader = PROTO_HEADER
        return bytes(config.to_bytes())

    def egress(self, *, allow: Sequence[str], deny: Sequence[str], trust_system_cas: bool) -> bytes:
        """A forward proxy to the networks in `allow`, less those in `deny`."""
        config = self._schema.Config.new_message()
        main, network = config.init("services", 2)
        main.name = "egress"
        worker = main.init("worker")
        self._add_modules(worker, {"egress.js": self._js["egress.js"]})
        worker.globalOutbound.name = "network"
        network.name = "network"
        service = network.init("network")
        service.allow = list(allow)
        service.deny = list(deny)
        service.init("tlsOptions").trustBrowserCas = trust_system_cas
        self._listen(config, "egress").style = "proxy"
        return bytes(config.to_bytes())

    def _add_modules(self, worker: Any, modules: Mapping[str, str]) -> None:
        for module, (name, source) in zip(worker.init("modules", len(modules)), modules.items(), strict=True):
            module.name = name
            module.esModule = source
        worker.compatibilityDate = COMPATIBILITY_DATE

    def _listen(self, config: Any, service: str) -> Any:
        (socket,) = config.init("sockets", 1)
        socket.name = SOCKET_NAME
        socket.service.name = service
        return socket.init("http")
