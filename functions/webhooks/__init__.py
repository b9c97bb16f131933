"""The function that tells callers' URLs that their jobs have ended, from the webhooks' queue."""
