"""Jobs by dramatiq over RabbitMQ: acknowledged after the work, durable, results in memory.

    dramatiq app             works
    python app.py COUNT      sends so many jobs

The request's JSON is the actor's argument.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["BENCH_AMQP_URL"], confirm_delivery=False)
dramatiq.set_broker(broker)
results: dict[int, str] = {}
_loaded: dict[str, Any] = {}


@dramatiq.actor(actor_name="infer", queue_name="bench-dramatiq", max_retries=3)
def infer(body: str) -> None:
    run, request, count = _loaded["run"], _loaded["request"], _loaded["count"]
    results[len(results)] = run(request.model_validate_json(body)).model_dump_json()
    count()


def load() -> None:
    import model  # noqa: PLC0415  the sender needs no model
    import tally  # noqa: PLC0415  as above
    import wire  # noqa: PLC0415  as above

    _loaded.update(run=model.infer, request=wire.InferenceRequest, count=tally.count)


def send(count: int) -> None:
    body = Path(os.environ["BENCH_REQUEST"]).read_text()
    for _ in range(count):
        infer.send(body)
    broker.close()


if __name__ == "__main__":
    send(int(sys.argv[1]))
else:
    load()
