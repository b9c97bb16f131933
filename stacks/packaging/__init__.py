"""Builds what the functions are deployed from: layers and packages, content-addressed under `build/`.

A build is keyed by everything that goes into it, so that nothing is rebuilt without a change, and
an asset's hash is that key. Stack tests pass an `Assets` of stub folders and build nothing.
"""

from stacks.packaging.assets import Asset, Assets, BuildContext
from stacks.packaging.build import build_assets

__all__ = ["Asset", "Assets", "BuildContext", "build_assets"]
