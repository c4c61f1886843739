"""HTTP/1.1 messages as such: heads, addresses and connections. Nothing here knows a function or a project."""
