"""workerd: configuration, sandbox, processes, and which instance serves which release. Knows no doors and no SQL."""
