"""Jobs by dramatiq over RabbitMQ: acknowledged after the work, durable.

    dramatiq app             works
    python app.py COUNT      sends so many jobs

The request's JSON is the actor's argument.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["BENCH_AMQP_URL"], confirm_delivery=False)
dramatiq.set_broker(broker)
numbers = itertools.count()
_loaded: dict[str, Any] = {}


@dramatiq.actor(actor_name="infer", queue_name="bench-dramatiq", max_retries=3)
def infer(body: str) -> None:
    request = _loaded["request"].model_validate_json(body)
    _loaded["keep"](f"d{next(numbers)}", _loaded["run"](request).model_dump_json())
    _loaded["count"]()


def load() -> None:
    import keeping  # noqa: PLC0415  the sender needs none of these
    import model  # noqa: PLC0415  as above
    import tally  # noqa: PLC0415  as above
    import wire  # noqa: PLC0415  as above

    _loaded.update(
        run=model.infer,
        request=wire.InferenceRequest,
        keep=keeping.keeper(),
        count=tally.count,
    )


def send(count: int) -> None:
    body = Path(os.environ["BENCH_REQUEST"]).read_text()
    for _ in range(count):
        infer.send(body)
    broker.close()


if __name__ == "__main__":
    send(int(sys.argv[1]))
else:
    load()
