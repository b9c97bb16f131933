"""The function that sends to RabbitMQ, from within its network, for those outside of it."""
