"""The one way to run a function, used by every door and by jobs."""
