"""Jobs by Celery over RabbitMQ: acknowledged after the work, lost with no worker, results in memory.

    celery -A app worker     works
    python app.py COUNT      sends so many jobs

The request's JSON is the task's argument. `BENCH_CELERY_QUEUE` chooses the type of its queue.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery, Task
from celery.signals import worker_process_init, worker_ready

app = Celery("bench", broker=os.environ["BENCH_AMQP_URL"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_default_delivery_mode="persistent",
    task_default_queue="bench-celery",
    task_default_queue_type=os.environ.get("BENCH_CELERY_QUEUE", "classic"),
    task_ignore_result=True,  # the result is kept in this process's memory
    task_reject_on_worker_lost=True,
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "64")),
    worker_send_task_events=False,
)
results: dict[str, str] = {}


@app.task(name="infer", bind=True)
def infer(self: Task[..., None], body: str) -> None:
    from model import infer as run  # noqa: PLC0415  the sender needs no model
    from tally import count  # noqa: PLC0415  as above
    from wire import InferenceRequest  # noqa: PLC0415  as above

    results[self.request.id] = run(InferenceRequest.model_validate_json(body)).model_dump_json()
    count()


@worker_process_init.connect
@worker_ready.connect
def _load(**_: object) -> None:
    import model  # noqa: F401, PLC0415  made before the first job, in the process that runs it


def send(count: int) -> None:
    body = Path(os.environ["BENCH_REQUEST"]).read_text()
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        for _ in range(count):
            infer.apply_async((body,), producer=producer)


if __name__ == "__main__":
    send(int(sys.argv[1]))
