"""HTTP doors. Each dialect parses its requests, calls the core, and shapes the replies; nothing else is here."""
