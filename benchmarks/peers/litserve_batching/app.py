"""The model behind LitServe with dynamic batching: `python app.py PORT MAX_BATCH_SIZE BATCH_TIMEOUT_MS`.

Preprocessing and postprocessing are one request at a time, the run is stacked, as ours. LitServe reads
the annotations below when it runs, so they are no strings.
"""

import logging
import sys
from typing import Any

import litserve
import numpy as np
from wire import InferenceRequest, InferenceResponse


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        import model  # noqa: PLC0415  in the process that serves it

        self.model = model

    def decode_request(self, request: InferenceRequest) -> dict[str, np.ndarray]:
        return self.model.prepare(request)  # type: ignore[no-any-return]  # see common/model.py

    def batch(self, inputs: list[dict[str, np.ndarray]]) -> dict[str, Any]:
        stacked = {name: np.concatenate([one[name] for one in inputs]) for name in inputs[0]}
        return {"feeds": stacked, "alone": inputs}

    def predict(self, x: dict[str, Any]) -> Any:
        stacked = self.model.session.run(self.model.fetched, x["feeds"])
        return [
            (alone, [output[position : position + 1] for output in stacked])
            for position, alone in enumerate(x["alone"])
        ]

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> InferenceResponse:
        feeds, outputs = output
        return self.model.finish(feeds, outputs)  # type: ignore[no-any-return]  # see common/model.py


if __name__ == "__main__":
    port, batch_size, timeout_ms = sys.argv[1:]
    logging.disable(logging.INFO)
    api = Model(max_batch_size=int(batch_size), batch_timeout=float(timeout_ms) / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(port),
        num_api_servers=1,
        log_level="error",
        access_log=False,
        generate_client_file=False,
    )
