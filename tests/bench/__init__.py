"""Measurements of the whole platform: `make bench`, or `python -m tests.bench --only NAME`.

One file per benchmark; `registry.py` lists them. `docs/performance.md` says what each measures.
"""
