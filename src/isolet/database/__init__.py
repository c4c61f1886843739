"""The only home of SQL: tables, migrations, and one module of plain functions for each thing stored.

Every function takes a `Connection` first and runs in a database thread: `await database.write(functions.insert, f)`.
"""
