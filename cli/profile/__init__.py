"""What a model costs as a function: its cold start, its requests, its memory, taken from its own package."""
