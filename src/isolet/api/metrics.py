"""`GET /metrics`: the platform and its functions in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from fastapi import Response
from msgspec import Struct
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from isolet.access.authorization import Authorizer
from isolet.access.rules import Access, OfKey
from isolet.api.rows import LaterRoute, Row, route_of
from isolet.domain.access import Role
from isolet.jobs.counts import Counts, OpenCounts
from isolet.observe.counters import Counters, Histogram
from isolet.observe.recorder import Recorder
from isolet.observe.tail import Tail
from isolet.routing.routes import Routes
from isolet.runtime.instance import Instance
from isolet.runtime.lifecycle import State

_ROOT = Access(Role.ADMIN, OfKey(), root=True)


class MetricsDoor(Struct, frozen=True, kw_only=True):
    """`public` lets everybody in; else it takes the root key. `figures` are those of features."""

    authorizer: Authorizer
    routes: Routes
    recorder: Recorder
    tail: Tail
    jobs: OpenCounts
    instances: Callable[[], Iterable[Instance]]
    public: bool
    figures: Callable[[], Iterable[Figure]] = tuple

    def route(self) -> LaterRoute:
        registry = CollectorRegistry()
        queue = _Queue()
        for collector in (_Calls(self), _Platform(self), _Features(self), queue):
            registry.register(collector)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        async def metrics() -> Response:
            queue.counts = await self.jobs.read()
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

        options: dict[str, Any] = {"tags": ["operation"], "response_class": Response}
        if self.public:
            return LaterRoute("/metrics", metrics, **options)
        return route_of(Row(method="GET", path="/metrics", access=_ROOT, options=options), metrics, self.authorizer)


class Figure(Protocol):
    """A number with its name and what it is; it only grows when it `counts`."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def counts(self) -> bool: ...


class _Features(Collector):
    def __init__(self, door: MetricsDoor) -> None:
        self._door = door

    def collect(self) -> Iterator[Metric]:
        for figure in self._door.figures():
            family = CounterMetricFamily if figure.counts else GaugeMetricFamily
            yield family(figure.name, figure.text, figure.value)


class _Calls(Collector):
    def __init__(self, door: MetricsDoor) -> None:
        self._figures: Counters = door.recorder.figures
        self._names = _Names(door.routes)

    def collect(self) -> Iterator[Metric]:
        total = CounterMetricFamily(
            "isolet_invocations", "Calls that ended.", labels=["project", "function", "door", "outcome"]
        )
        counted: Counter[tuple[str, ...]] = Counter()
        for (project_id, function_id, door, outcome), count in self._figures.calls.items():
            counted[(*self._names(project_id, function_id), door, outcome)] += count
        for labels, count in counted.items():
            total.add_metric(list(labels), count)
        yield total
        durations = HistogramMetricFamily(
            "isolet_invocation_duration_seconds", "How long calls took.", labels=["project", "function"]
        )
        for (project_id, function_id), histogram in self._figures.durations.items():
            durations.add_metric(self._names(project_id, function_id), *_cumulated(histogram))
        yield durations
        cold = HistogramMetricFamily("isolet_cold_start_seconds", "How long calls waited for an instance to start.")
        cold.add_metric([], *_cumulated(self._figures.cold_starts))
        yield cold


class _Platform(Collector):
    def __init__(self, door: MetricsDoor) -> None:
        self._door = door

    def collect(self) -> Iterator[Metric]:
        door = self._door
        found = list(door.instances())
        states = Counter(instance.state for instance in found)
        instances = GaugeMetricFamily("isolet_instances", "Running workerd processes.", labels=["state"])
        for state in (State.STARTING, State.READY, State.DRAINING):
            instances.add_metric([state.value], states[state])
        yield instances
        memory = sum(instance.memory.used_bytes for instance in found)
        running = sum(instance.active for instance in found)
        yield GaugeMetricFamily("isolet_instances_memory_bytes", "Memory that instances hold for calls.", memory)
        yield GaugeMetricFamily("isolet_invocations_running", "Calls that run now.", running)
        yield CounterMetricFamily("isolet_records_lost", "Records of calls that were not written.", door.recorder.lost)
        yield GaugeMetricFamily("isolet_records_waiting", "Records of calls not written yet.", door.recorder.waiting)
        yield GaugeMetricFamily("isolet_tail_readers", "Readers of the log stream.", door.tail.readers)


class _Queue(Collector):
    """`counts` is set before each scrape: a collector cannot wait for the store."""

    counts: Counts

    def __init__(self) -> None:
        self.counts = {}

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("isolet_jobs", "Jobs that wait or run, on all servers.", labels=["kind", "state"])
        for (kind, state), count in self.counts.items():
            jobs.add_metric([kind, state.value], count)
        yield jobs


class _Names:
    """Labels of a function: the slugs of its project and of itself; its ids once it is gone."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def __call__(self, project_id: str, function_id: str) -> list[str]:
        route = self._routes.function(function_id)
        if route is None:
            return [project_id, function_id]
        return [self._routes.slug_of(route.project_id), route.slug]


def _cumulated(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus has them, each with all below it, and the sum in seconds."""
    count, buckets = 0, []
    bounds = [*(f"{bound / 1_000_000:g}" for bound in histogram.bounds_us), "+Inf"]
    for bound, added in zip(bounds, histogram.counts, strict=True):
        count += added
        buckets.append((bound, float(count)))
    return buckets, histogram.sum_us / 1_000_000
