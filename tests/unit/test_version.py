import tomllib
from pathlib import Path

import isolet


def test_the_package_has_the_version_of_the_project():
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert isolet.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
