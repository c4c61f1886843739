"""Use cases of functions: create, update, deploy, roll back, delete. Knows no HTTP."""
