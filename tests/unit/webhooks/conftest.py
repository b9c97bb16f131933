from __future__ import annotations

import pytest

from tests.fixtures.receiver import receiver


@pytest.fixture
def hooks(tmp_path):
    """A receiver of the name `hooks.example.com`, on this machine."""
    with receiver(tmp_path) as running:
        yield running
