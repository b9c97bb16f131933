"""A FastAPI service put on Lambda with Mangum, as the documentation of both shows it.

The route is `async def`: on Lambda one request runs at a time, and a thread pool would only cost.
"""

from __future__ import annotations

import model
from fastapi import FastAPI
from mangum import Mangum
from wire import InferenceRequest, InferenceResponse

app = FastAPI()


@app.post(f"/v2/models/{model.MODEL_NAME}/infer")
async def infer(request: InferenceRequest) -> InferenceResponse:
    return model.infer(request)


handler = Mangum(app, lifespan="off")
