"""Kills the server while clients make asynchronous calls, and checks that nothing that was accepted is lost."""
