"""The route table, and how it keeps up with other servers."""
