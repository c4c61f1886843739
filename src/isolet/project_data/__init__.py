"""Use cases of a project's stores, from the outside: KV, SQL, backup. Knows no HTTP dialects."""
