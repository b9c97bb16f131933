"""Batches: accepted, split into chunks, run chunk by chunk, joined in order."""
