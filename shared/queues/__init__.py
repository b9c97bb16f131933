"""Queues behind one Protocol: in memory, and SQS."""
