"""Jobs by Celery over RabbitMQ: acknowledged after the work, lost with no worker.

    celery -A app worker     works
    python app.py COUNT      sends so many jobs

The request's JSON is the task's argument. `BENCH_CELERY_QUEUE` chooses the type of its queue.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_init, worker_ready

app = Celery("bench", broker=os.environ["BENCH_AMQP_URL"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_default_delivery_mode="persistent",
    task_default_queue="bench-celery",
    task_default_queue_type=os.environ.get("BENCH_CELERY_QUEUE", "classic"),
    task_ignore_result=True,  # `keeping` keeps it
    task_reject_on_worker_lost=True,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "64")),
    worker_send_task_events=False,
)


_loaded: dict[str, Any] = {}


@app.task(name="infer", bind=True)
def infer(self: Task[..., None], body: str) -> None:
    request = _loaded["request"].model_validate_json(body)
    _loaded["keep"](self.request.id, _loaded["run"](request).model_dump_json())
    _loaded["count"]()


@worker_process_init.connect
@worker_ready.connect
def _load(**_: object) -> None:
    """Before the first job, in the process that runs it."""
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
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for _ in range(count):
            infer.apply_async((body,), producer=producer)


if __name__ == "__main__":
    send(int(sys.argv[1]))
