"""Queues behind one Protocol: in memory, SQS, and RabbitMQ."""
