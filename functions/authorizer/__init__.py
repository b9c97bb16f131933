"""The authorizer of the HTTP API: whether an API key is valid, and whose it is."""
