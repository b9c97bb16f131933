"""The bars: what each figure is, the ratio it has to meet, and the ratio worth reaching for.

Every bar is a ratio of two things measured in the same run, except C5 (megabytes) and C6 (a list
of modules), which do not depend on the machine, and Q2 (microseconds) and D1 (seconds), which do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One claim: `key` names the row of a measurement that it judges, lower is better."""

    key: str
    what: str
    must: float
    stretch: float | None
    unit: str = "x"

    @property
    def group(self) -> str:
        """The name a user types after `--only`: `C4` for `C4.memory`."""
        return self.key.split(".")[0]


BARS: tuple[Bar, ...] = (
    Bar("C1", "cold start, tabular, as shipped / bare floor", 1.6, 1.3),
    Bar("C2.fastapi", "cold start, tabular / FastAPI + Mangum", 0.5, 0.3),
    Bar("C2.powertools", "cold start, tabular / Powertools resolver + validation", 0.5, 0.3),
    Bar("C3", "cold start, embedding / typical stack", 0.22, 0.15),
    Bar("C4.session", "session creation, large weights / onnxruntime default", 0.40, 0.30),
    Bar("C4.memory", "resident memory after it / default", 0.75, None),
    Bar("C4.run", "run with it / default", 1.03, None),
    Bar("C5.x86_64", "unzipped package with layer and bytecode, x86_64", 100, 93, "MB"),
    Bar("C5.arm64", "unzipped package with layer and bytecode, arm64", 95, 87, "MB"),
    Bar("C6", "boto3, botocore, aws_xray_sdk modules on the realtime path", 0, None, "modules"),
    Bar("W1.tree", "warm handler, one tree, no log line or metric / session.run", 2.5, 1.7),
    Bar("W1.forest", "warm handler, forest, no log line or metric / session.run", 2.5, 1.7),
    Bar("W2", "warm handler as shipped / all-Powertools handler", 0.35, 0.15),
    Bar("W3", "warm handler as shipped, embedding / session.run", 1.05, 1.03),
    Bar("W4.json", "decode 1x3x224x224 FP32, JSON / orjson + np.array", 1.25, 1.05),
    Bar("W4.binary", "decode 1x3x224x224 FP32, binary / orjson + np.array", 0.02, 0.01),
    Bar("Q1.tabular.10", "10 jobs stacked, tabular / session.run one by one", 0.80, None),
    Bar("Q1.tabular.100", "100 jobs stacked, tabular / session.run one by one", 0.80, 0.15),
    Bar("Q1.embedding.10", "10 jobs stacked, embedding / session.run one by one", 0.80, 0.70),
    Bar("Q1.embedding.100", "100 jobs stacked, embedding / session.run one by one", 0.80, 0.70),
    Bar("Q2", "lease, publish and acknowledge, per job in deliveries of 10", 160, 40, "us"),
    Bar(
        "G1.memory.embedding",
        "worker with a full queue, embedding / session.run, best batch",
        1.11,
        1.03,
    ),
    Bar(
        "G1.memory.heavy",
        "worker with a full queue, text recognition / session.run, best batch",
        1.11,
        1.03,
    ),
    Bar("B1", "a line of a batch, one worker process / parse, run, write bare", 1.43, 1.11),
    Bar("G1.rabbitmq.embedding", "the worker over RabbitMQ, embedding / session.run", 1.11, 1.03),
    Bar("G1.rabbitmq.heavy", "the worker over RabbitMQ, lines of text / session.run", 1.11, 1.03),
    Bar("G2", "a row in our worker / in LitServe with dynamic batching, 32 in flight", 0.667, 0.5),
    Bar("Q3.celery", "a job in our worker / in Celery, the same RabbitMQ", 0.5, 0.2),
    Bar("Q3.dramatiq", "a job in our worker / in dramatiq, the same RabbitMQ", 0.5, 0.2),
    Bar("D1.full", "spot notice to the worker's end, full queue, polled each 5 s", 110, 60, "s"),
    Bar("D1.long", "to abort, release and hand back runs that cannot end in time", 20, 1, "s"),
)

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(bar.group for bar in BARS))


def bar_of(key: str) -> Bar:
    """The bar with this key. Raises KeyError for a measurement that no bar judges."""
    return {bar.key: bar for bar in BARS}[key]
