"""The function that runs jobs from one pool's queues."""
