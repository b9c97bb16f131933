"""Limits that someone else sets, each with its source and the date it was read, and our own caps.

Nothing here is tunable: a limit of the platform changes when the platform changes, and the stack
tests compare the templates with these numbers.
"""

from __future__ import annotations

from typing import Final

MIB: Final = 1024 * 1024

# --- AWS Lambda, quotas page and service model, read 2026-11-21 ---
LAMBDA_PAYLOAD_BYTES: Final = 6 * MIB
"""A synchronous invocation's request and answer."""
LAMBDA_PACKAGE_BYTES: Final = 250 * MIB
"""Unzipped, layers included."""
LAMBDA_ENVIRONMENT_BYTES: Final = 4096
LAMBDA_NAME_CHARACTERS: Final = 64
LAMBDA_MEMORY_MIB_MIN: Final = 128
LAMBDA_MEMORY_MIB_MAX: Final = 10_240
LAMBDA_TIMEOUT_S_MAX: Final = 900
LAMBDA_MEMORY_MIB_PER_VCPU: Final = 1769
LAMBDA_DISK_MIB_MIN: Final = 512
LAMBDA_DISK_MIB_MAX: Final = 10240
"""`/tmp`."""
LAMBDA_SNAPSTART_EPHEMERAL_MIB: Final = 512
LAMBDA_SNAPSTART_PYTHON_MIN: Final = (3, 12)

# --- Amazon API Gateway, HTTP API quotas, read 2026-11-21 ---
HTTP_API_PAYLOAD_BYTES: Final = 10 * MIB
HTTP_API_INTEGRATION_TIMEOUT_S: Final = 29
"""What the CDK's integration construct allows."""
HTTP_API_ROUTES: Final = 300

# --- our own caps on what a request may unfold into ---
ENVELOPE_BYTES: Final = 64 * 1024
"""Room left in a Lambda payload for headers and the gateway's context beside the body."""
BODY_BYTES_MAX: Final = LAMBDA_PAYLOAD_BYTES - ENVELOPE_BYTES
"""A textual body, and a textual answer."""
BINARY_BODY_BYTES_MAX: Final = BODY_BYTES_MAX * 3 // 4
"""A binary body, and a binary answer: base64 makes four bytes of three."""
DECODED_BODY_BYTES_MAX: Final = 32 * MIB
"""A body after decompression."""
TENSOR_ELEMENTS_MAX: Final = 2**31 - 1
"""Elements of one tensor; shapes whose product is larger are refused before anything is allocated."""
TENSOR_BYTES_MAX: Final = 64 * MIB
"""Memory of one decoded input tensor."""
TENSOR_RANK_MAX: Final = 32
BYTES_ELEMENT_BYTES: Final = 64
"""What an element of a BYTES tensor counts beside its own bytes: it is an object of its own."""
JSON_BYTES_MAX: Final = DECODED_BODY_BYTES_MAX // 2
"""Of one piece of JSON, decoded; binary tensors are not parsed, and may be twice as large."""
JSON_CONTAINERS_MAX: Final = 2**18
"""Lists and objects in one piece of JSON: parsed, one takes up to 40 times its bytes, a number ten times."""
JSON_DEPTH_MAX: Final = 1024
"""Nesting that the parser reads (orjson 3.13; a test holds it to that)."""
CONTROL_BODY_BYTES_MAX: Final = 128 * 1024
"""The body of a call that carries no tensors, decoded: of uploads, batches and the repository's index."""
OUTPUT_BYTES_MAX: Final = 256 * MIB
"""Memory of one output tensor of a request."""
OUTPUT_JSON_BYTES_MAX: Final = 64 * MIB
"""As that, where it is to be written as JSON, which takes several times the memory."""
PREFER_LENGTH_MAX: Final = 1024
"""Characters of a Prefer header that are read: reading takes time with the square of its length."""
REQUEST_TENSORS_MAX: Final = 256
NAME_LENGTH_MAX: Final = 256
REQUEST_ID_LENGTH_MAX: Final = 256
COMPRESS_ANSWER_FROM_BYTES: Final = 1024
"""Smaller answers are sent as they are, whatever the caller accepts."""

# --- Amazon SQS, service model of botocore 1.44.5 and quotas page, read 2026-11-21 ---
SQS_MESSAGE_BYTES: Final = 1024 * 1024
"""Body and attributes of one message, and of one batch of messages."""
SQS_VISIBILITY_S_MAX: Final = 12 * 3600
SQS_DELAY_S_MAX: Final = 900
SQS_BATCH_ENTRIES: Final = 10
SQS_RETENTION_S_MAX: Final = 14 * 24 * 3600

# --- event source mappings from SQS, Lambda developer guide, read 2026-11-21 ---
LAMBDA_SQS_BATCH_MAX: Final = 10_000
LAMBDA_SQS_BATCH_WITHOUT_WINDOW_MAX: Final = 10
"""A larger delivery needs a window of at least a second."""
LAMBDA_SQS_WINDOW_S_MAX: Final = 300
LAMBDA_SQS_CONCURRENCY: Final = (2, 1000)
"""Least and most that the maximum concurrency of a mapping may be."""
LAMBDA_SQS_VISIBILITY_TIMEOUTS: Final = 6
"""A queue hides a message for at least so many timeouts of its function, plus the window."""

# --- Amazon S3, POST Object page, read 2026-11-21 ---
S3_POST_BYTES_MAX: Final = 5 * 1024 * MIB
"""One upload by a presigned POST."""

# --- our own bounds on jobs ---
PRESIGNED_S_MAX: Final = 900
"""How long a presigned address can be used; the bucket's policy refuses older signatures."""
MESSAGE_BYTES_MAX: Final = SQS_MESSAGE_BYTES
"""One message on whichever broker; RabbitMQ itself would carry a hundred times as much."""
WORKER_INPUTS_BYTES_MAX: Final = 96 * MIB
"""Inputs of jobs that a worker has in memory at once, before they are decoded."""
COLUMN_BYTES_MAX: Final = 32 * MIB
"""Of these, JSON that is parsed and kept at once to run as columns."""
BATCH_INPUT_BYTES_MAX: Final = 1024 * 1024 * MIB
"""The file of a batch's input; read as a stream, so it bounds time and money rather than memory."""
JOB_INLINE_BYTES_MAX: Final = 16 * 1024
"""An input or a result up to this size lives in the job's row, a larger one on S3."""
JOB_TTL_S_MIN: Final = 60
JOB_TTL_S_MAX: Final = 7 * 24 * 3600
JOB_TIMEOUT_S_MAX: Final = 3600
JOB_ATTEMPTS_MAX: Final = 3
JOB_METADATA_MEMBERS_MAX: Final = 16
JOB_METADATA_VALUE_LENGTH_MAX: Final = 512
URI_LENGTH_MAX: Final = 2048
PREFER_WAIT_S_MAX: Final = 20
"""`Prefer: wait=N` holds no longer, so that the answer beats the gateway's 30 s."""

# --- AWS CloudFormation, quotas page, read 2026-11-22 ---
CLOUDFORMATION_TEMPLATE_BYTES: Final = MIB
"""A template that is read from S3, as the CDK deploys it."""
CLOUDFORMATION_RESOURCES: Final = 500
"""Of one stack."""
