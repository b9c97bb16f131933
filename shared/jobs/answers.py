"""Between a job's bytes and the model: reads the input, prepares it, and makes the result of the outputs.

The same steps as a realtime call, by the same decoder and encoder, so that the bytes are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.inference.encoder import encode
from shared.jobs.places import check_input_uri
from shared.jobs.work import Answered
from shared.results.payloads import is_uri, load
from shared.schema.wire import join_answer, open_body, parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shared.inference.pipeline import Prepared, ServedModel
    from shared.jobs.work import Work, Worker


def load_input(worker: Worker, work: Work) -> bytes:
    """The bytes of a job's input; where a caller named their place, the place is checked again."""
    payload = work.row.input
    if payload.s3_key is not None and not payload.sha256:
        place = payload.s3_key
        uri = place if is_uri(place) else f"s3://{worker.rules.bucket}/{place}"
        check_input_uri(uri, tenant=work.row.key.tenant, rules=worker.rules)
    return load(worker.payloads, payload)


def prepare(worker: Worker, served: ServedModel, work: Work, data: bytes) -> Prepared:
    """Decode and preprocess a job's input as the realtime call would."""
    frame = open_body(data, header_length=work.row.input.header_length)
    if frame.raw:
        return served.prepare_raw(frame.tail)
    return served.prepare(worker.validate(parse_json(frame.json)), frame.tail)


def answer(served: ServedModel, prepared: Prepared, outputs: Sequence[NDArray[Any]]) -> Answered:
    """The result made of a job's share of the outputs, as the realtime call would have sent it."""
    sent = join_answer(*encode(served.finish(prepared, outputs)))
    return Answered(sent.body, sent.headers)
