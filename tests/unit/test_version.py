"""The version that the service tells is the project's."""

from __future__ import annotations

import tomllib
from pathlib import Path

from functions.ingress.descriptions import server_metadata


def test_the_server_tells_the_projects_version():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert server_metadata()["version"] == project["project"]["version"]
