"""Sums of calls by minute, hour and month."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from isolet.database.tables.columns import id_column, metadata, ms_column

# Sums of calls for each function and minute, hour and month: see `isolet.domain.metrics`.
ROLLUP_SUMS = (
    *("total", "errors", "faults", "duration_us", "cold_starts", "cold_start_us", "mb_us", "egress_bytes"),
    "http_errors",
)

rollups = Table(
    "rollups",
    metadata,
    id_column("function_id"),
    Column("step", String(6), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    id_column("project_id", primary_key=False),
    *(Column(name, BigInteger, nullable=False) for name in ROLLUP_SUMS[:-1]),
    Column("http_errors", BigInteger, nullable=False, server_default="0"),
    Column("memory_bytes", BigInteger, nullable=False),
    ms_column("last_at_ms"),
    Index("rollups_project", "project_id", "step", "at_ms"),
    Index("rollups_step", "step", "at_ms"),
    sqlite_with_rowid=False,
)

# How many calls of a roll-up took how long: see `isolet.domain.durations`.
rollup_durations = Table(
    "rollup_durations",
    metadata,
    id_column("function_id"),
    Column("step", String(6), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    Column("bucket", Integer, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Index("rollup_durations_step", "step", "at_ms"),
    sqlite_with_rowid=False,
)
