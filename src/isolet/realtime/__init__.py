"""Live connections of clients: events to functions, channels, presence."""
