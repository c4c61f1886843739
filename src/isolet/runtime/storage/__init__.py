"""The data of projects: a port (`port.py`), and its implementation over files of this machine (`local.py`)."""
