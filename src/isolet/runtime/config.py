"""Builds workerd's configuration, typed by workerd's own Cap'n Proto schema and never as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import capnp

from isolet.domain.compatibility import NEWEST as COMPATIBILITY_DATE
from isolet.domain.stores import DEFAULT, StoreKind
from isolet.domain.versions import Module
from isolet.limited import Content
from isolet.runtime.envelope import CALL_HEADER
from isolet.runtime.spec import InstanceSpec

PROTO_HEADER = "x-isolet-proto"
SOCKET_NAME = "http"
GATE_SOCKET = "gate"
# Where processes ask the host.
HOST_SOCKET = "host"
KV_SOCKET = "kv"
DATABASE_SOCKET = "d1"
SOCKETS = {StoreKind.KV: KV_SOCKET, StoreKind.DATABASE: DATABASE_SOCKET}
# Which namespace or database a request to a project's storage is for.
STORE_HEADER = "x-isolet-store"
_BINDINGS: Mapping[str, Mapping[str, str]] = {
    "KV": {"type": "kv", "namespace": DEFAULT},
    "DB": {"type": "d1", "database": DEFAULT},
}
# Bindings of the wrapper; it keeps them from the handler.
_OURS = "__isolet"
_LOOPBACK = "__isolet_loopback"
# The first is the main module of an instance. All of `js/events/` belongs to it as well.
_WRAPPER = (
    "entry.js",
    "console.js",
    "context.js",
    "errors.js",
    "events.js",
    "execution.js",
    "failure.js",
    "format.js",
    "handlers.js",
    "outgoing.js",
    "sockets.js",
    "stores.js",
)
_MODULES = (*_WRAPPER, "connect.js", "egress.js", "gate.js", "kv-store.js", "d1-store.js", "room.js", "workers.js")

# Ranges that lead back inside and that workerd does not count as private: NAT64 (also a site's own), 6to4, IPv4 written
# as IPv6, benchmarking, protocol assignments, "this network", Teredo, documentation, site-local, multicast, reserved;
# and all of IPv6 that is given to nobody yet, which networks of their own use.
DENIED_NETWORKS = (
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
    "::/96",
    "198.18.0.0/15",
    "192.0.0.0/24",
    "0.0.0.0/8",
    "2001::/32",
    "2001:db8::/32",
    "fec0::/10",
    "ff00::/8",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::ffff:0:0:0/96",
    *("100::/8", "200::/7", "400::/6", "800::/5", "1000::/4", "4000::/2", "8000::/2"),
    *("c000::/3", "e000::/4", "f000::/5", "f800::/6", "fe00::/9"),
)


class ConfigBuilder:
    """Loads the schema once; each method gives what is written for `workerd serve --binary -`."""

    def __init__(self, schema: Path) -> None:
        capnp.remove_import_hook()
        root = Path(capnp.__file__).parent.parent
        self._schema: Any = capnp.load(str(schema), imports=[str(root)])
        js = resources.files("isolet.runtime").joinpath("js")
        events = [f"events/{file.name}" for file in js.joinpath("events").iterdir() if file.name.endswith(".js")]
        self._wrapper = (*_WRAPPER, *sorted(events))
        self._js = {name: js.joinpath(name).read_text() for name in (*_MODULES, *events)}

    def instance(
        self, spec: InstanceSpec, *, egress: str, storage: str, loopback: str | None = None, token: str = ""
    ) -> Content:
        """A worker of our wrapper and the function's module.

        `egress` is the address that `fetch` leaves by; `storage` the folder of the project's storage sockets;
        `loopback` the address by which it calls other functions, and `token` what it shows there. Nothing
        else can be reached.
        """
        config = self._schema.Config.new_message()
        bound = {**_BINDINGS, **spec.bindings}
        named = sorted({_service_of(binding) for binding in bound.values()})
        services = list(config.init("services", 2 + len(named) + (loopback is not None)))
        main, internet, *others = services[0], services[1], *services[2 + len(named) :]
        main.name = "function"
        worker = main.init("worker")
        self._add_modules(
            worker,
            {
                **{f"isolet/{name}": self._js[name] for name in self._wrapper},
                # In place of the runtime's own.
                "cloudflare:sockets": self._js["connect.js"],
                "cloudflare:workers": self._js["workers.js"],
                "function.js": spec.module,
            },
            spec.modules,
        )
        worker.compatibilityDate = spec.compatibility.runtime_date
        worker.compatibilityFlags = list(spec.compatibility.runtime_flags)
        bindings = worker.init("bindings", len(spec.variables) + 1 + len(others) + len(bound))
        self._bind_ours(spec, bindings, loopback=bool(others), token=token)
        for service in others:
            self._reach(service, "loopback", str(loopback))
        for place, (name, binding) in zip(list(bindings)[-len(bound) :], bound.items(), strict=True):
            self._bind_store(place, name, binding)
        self._bind_variables(bindings, spec.variables)
        self._reach(internet, "internet", egress).style = "proxy"
        self._reach_stores(services[2:], named, storage)
        # The wrapper takes `gc` away before the function is loaded, and uses it when the guard asks.
        config.v8Flags = [f"--max-heap-size={spec.limits.memory_limit_mb}", "--expose-gc"]
        (options,) = self._listen(config, {SOCKET_NAME: "function"})
        options.cfBlobHeader = CALL_HEADER
        options.forwardedProtoHeader = PROTO_HEADER
        return _written(config)

    def _reach_stores(self, services: Sequence[Any], named: Sequence[tuple[str, str]], storage: str) -> None:
        """By the first of the services."""
        for service, (socket, store) in zip(services, named, strict=False):
            # The store of each request; the function's code cannot say another.
            (header,) = self._reach(service, f"{socket}:{store}", f"{storage}/{socket}").init("injectRequestHeaders", 1)
            header.name, header.value = STORE_HEADER, store

    @staticmethod
    def _bind_variables(bindings: Any, variables: Mapping[str, Any]) -> None:
        """In the first of the bindings."""
        for binding, (name, value) in zip(bindings, variables.items(), strict=False):
            binding.name = name
            if isinstance(value, str):
                binding.text = value
            else:
                binding.json = json.dumps(value)

    def egress(
        self, *, allow: Sequence[str], deny: Sequence[str], inside: str, connections_max: int, trust_system_cas: bool
    ) -> Content:
        """A forward proxy to the networks in `allow`, less those in `deny`, for so many connections at once.

        `inside` is the folder of the sockets of the process itself: its own HTTP server, and who explains failures.
        """
        config = self._schema.Config.new_message()
        main, network, http, host = config.init("services", 4)
        main.name = "egress"
        worker = main.init("worker")
        self._add_modules(worker, {"egress.js": self._js["egress.js"], "gate.js": self._js["gate.js"]})
        limit, *reached = worker.init("bindings", 3)
        limit.name, limit.json = "LIMIT", str(connections_max)
        for binding, service in zip(reached, ("http", "host"), strict=True):
            binding.name = service.upper()
            binding.init("service").name = service
        self._reach(host, "host", f"{inside}/{HOST_SOCKET}")
        http.name = "http"
        external = http.init("external")
        external.address = f"unix:{inside}/{SOCKET_NAME}"
        external.init("tcp")
        worker.globalOutbound.name = "network"
        network.name = "network"
        service = network.init("network")
        service.allow = list(allow)
        service.deny = list(deny)
        service.init("tlsOptions").trustBrowserCas = trust_system_cas
        gate, own = config.init("sockets", 2)
        gate.name, own.name = GATE_SOCKET, SOCKET_NAME
        for socket in (gate, own):
            socket.service.name = "egress"
        gate.init("tcp")
        own.init("http").style = "proxy"
        return _written(config)

    def storage(self, *, folder: str, inside: str) -> Content:
        """workerd's own KV and D1 workers, over SQLite files in `folder`; user code never runs here.

        `inside` is the folder of the socket by which they ask the host how much they may store.
        """
        config = self._schema.Config.new_message()
        kv, database, objects, blobs, internet, host = config.init("services", 6)
        self._reach(host, "host", f"{inside}/{HOST_SOCKET}")
        kv_bindings = self._bundled(kv, KV_SOCKET, class_name="KVNamespace", bindings=("SHARD", "HOST", "BLOBS"))
        kv_bindings[2].init("service").name = "blobs"
        self._bundled(database, DATABASE_SOCKET, class_name="D1Database", bindings=("DATABASE", "HOST"))
        for service, name in ((objects, "objects"), (blobs, "blobs")):
            service.name = name
            disk = service.init("disk")
            disk.path = f"{folder}/{name}"
            disk.writable = True
        internet.name = "internet"
        internet.init("network").allow = []
        self._listen(config, {KV_SOCKET: KV_SOCKET, DATABASE_SOCKET: DATABASE_SOCKET})
        return _written(config)

    def _bundled(self, service: Any, name: str, *, class_name: str, bindings: Sequence[str]) -> Any:
        """A worker that comes with workerd, below ours that keeps a limit.

        Its first binding is its own Durable Object class, the second the host.
        """
        service.name = name
        worker = service.init("worker")
        ours, room, module = worker.init("modules", 3)
        for own, source in ((ours, f"{name}-store.js"), (room, "room.js")):
            own.name = source
            own.esModule = self._js[source]
        module.name = f"{name}.js"
        module.bundled = f"/workerd/{name}.js"
        worker.compatibilityDate = COMPATIBILITY_DATE
        (namespace,) = worker.init("durableObjectNamespaces", 1)
        namespace.className = class_name
        # With the folder, this key is where the data lives: it never changes.
        namespace.uniqueKey = unique_key(name)
        namespace.enableSql = True
        worker.durableObjectStorage.localDisk = "objects"
        made = worker.init("bindings", len(bindings))
        for binding, binding_name in zip(made, bindings, strict=True):
            binding.name = binding_name
        made[0].init("durableObjectNamespace").className = class_name
        made[1].init("service").name = "host"
        return made

    def _bind_ours(self, spec: InstanceSpec, bindings: Any, *, loopback: bool, token: str) -> None:
        ours = bindings[len(spec.variables)]
        ours.name = _OURS
        environment = {**spec.environment, **spec.platform}
        # As bytes: text and JSON would show up in `process.env`.
        told = {"environment": environment, "app": spec.app, "token": token, "bindings": list(spec.bindings)}
        ours.data = json.dumps(told).encode()
        if loopback:
            bindings[len(spec.variables) + 1].name = _LOOPBACK
            bindings[len(spec.variables) + 1].init("service").name = "loopback"

    def _bind_store(self, place: Any, name: str, binding: Mapping[str, str]) -> None:
        socket, store = _service_of(binding)
        place.name = name
        if socket == KV_SOCKET:
            place.init("kvNamespace").name = f"{socket}:{store}"
            return
        wrapped = place.init("wrapped")
        wrapped.moduleName = "cloudflare-internal:d1-api"
        (fetcher,) = wrapped.init("innerBindings", 1)
        fetcher.name = "fetcher"
        fetcher.init("service").name = f"{socket}:{store}"

    def _reach(self, service: Any, name: str, path: str) -> Any:
        """A server behind a unix socket."""
        service.name = name
        external = service.init("external")
        external.address = f"unix:{path}"
        return external.init("http")

    def _add_modules(self, worker: Any, modules: Mapping[str, str], others: Mapping[str, Module] | None = None) -> None:
        places = list(worker.init("modules", len(modules) + len(others or {})))
        for module, (name, source) in zip(places, modules.items(), strict=False):
            module.name = name
            module.esModule = source
        for module, (name, other) in zip(places[len(modules) :], (others or {}).items(), strict=True):
            module.name = name
            setattr(module, other.kind.value, other.body)
        worker.compatibilityDate = COMPATIBILITY_DATE

    def _listen(self, config: Any, services: Mapping[str, str]) -> list[Any]:
        """One socket for each name, answered by its service; the sockets' HTTP options."""
        options = []
        for socket, (name, service) in zip(config.init("sockets", len(services)), services.items(), strict=True):
            socket.name = name
            socket.service.name = service
            options.append(socket.init("http"))
        return options


def _written(config: Any) -> Content:
    """Modules may have fifteen megabytes: they are not put together in one text before they are written."""
    return lambda file: config.write(file)


def unique_key(socket: str) -> str:
    """Names the databases of a kind of store: the folder of their files, and part of the names of those."""
    return f"isolet-{socket}"


def _service_of(binding: Mapping[str, str]) -> tuple[str, str]:
    """The socket that answers for a binding, and the name of the store."""
    kind = StoreKind(binding["type"])
    return SOCKETS[kind], binding[kind.noun]
