"""The `laneway` command, the Python client, and the fixtures for users' own tests."""
