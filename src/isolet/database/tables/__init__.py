"""The tables, as the newest migration leaves them: a module for each feature. Only `schema` imports them all."""
