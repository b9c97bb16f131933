"""The function that, every minute, looks after every job that somebody may have forgotten."""
