"""Schedules: functions that run by the clock. A firing is a job, and is kept once for each due time."""
