"""RabbitMQ through pika: for workers that live long and for the one function in the broker's network.

    broker.py       RabbitBroker: what an entry point makes; one connection consumes, one publishes
    queue.py        RabbitQueue: the `Queue` protocol on one queue
    connection.py   one I/O thread and the pika connection that it owns, opened anew when it is lost
    consumer.py     deliveries that the broker pushes, held until they are settled or lapse
    publisher.py    messages with confirms and `mandatory`
    topology.py     the queues, their dead-letter and retry queues, and how they are declared
    envelope.py     a message as AMQP properties, headers and bytes
    settings.py     where the broker is, and the secret that says so

pika is loaded by nothing else.
"""

from __future__ import annotations

from shared.queues.rabbitmq.broker import RabbitBroker
from shared.queues.rabbitmq.queue import RabbitQueue
from shared.queues.rabbitmq.settings import AmqpSettings
from shared.queues.rabbitmq.topology import declare_topology, queue_name

__all__ = ["AmqpSettings", "RabbitBroker", "RabbitQueue", "declare_topology", "queue_name"]
