"""The list of benchmarks. A new one is a file with a `run` that gives figures, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.bench import (
    churn,
    cold_start,
    dashboard,
    deploy,
    dev,
    flows,
    invoke,
    jobs,
    many,
    noise,
    realtime,
    recording,
    records,
    schedules,
    storage,
    tenants,
    transfers,
)
from tests.bench.report import Figure

BENCHMARKS: Mapping[str, Callable[[], Sequence[Figure]]] = {
    "invoke": invoke.run,
    "cold-start": cold_start.run,
    "dashboard": dashboard.run,
    "deploy": deploy.run,
    "dev": dev.run,
    "storage": storage.run,
    "noise": noise.run,
    "tenants": tenants.run,
    "many": many.run,
    "churn": churn.run,
    "records": records.run,
    "recording": recording.run,
    "jobs": jobs.run,
    "realtime": realtime.run,
    "schedules": schedules.run,
    "flows": flows.run,
    "transfers": transfers.run,
}
