"""Constructs: each arrives complete, with its role, log group, retention and limits."""
