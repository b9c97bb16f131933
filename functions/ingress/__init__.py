"""The function behind `$default`: every call that runs no model."""
