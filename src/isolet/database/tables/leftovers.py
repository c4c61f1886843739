"""What was deleted, and left rows behind which are deleted in steps."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Table

from isolet.database.tables.columns import id_column, metadata

# Functions, schedules and projects, by their ids.
leftovers = Table("leftovers", metadata, id_column(), Column("is_project", Boolean, nullable=False))
