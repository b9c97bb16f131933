"""Limits per tenant: where they are kept, how they are counted, and who refuses."""
