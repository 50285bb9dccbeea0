"""Parameters of the flows, checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from meldflow.models.extractors import registry
from meldflow.models.judging.protocols import PROTOCOLS, protocol_named
from meldflow.models.running.computing import AUTO, BACKENDS, PRECISIONS
from meldflow.models.schema.media import Reason
from meldflow.tasks.isolated.decoder import CLIP_TIMEOUT

WEIGHTS = ("pretrained", "random")
"""Weights that every extractor can have; one may also have those at a path."""

# What a form shows and what a server checks is a field's JSON schema; Python may take more. A
# union would be drawn as tabs, so an optional path is a line that may stay empty.


def _nothing_if_empty(value: object) -> object:
    return None if value == "" else value


def _by_name(value: object) -> object:
    """``["NAME=WEIGHTS"]`` as a mapping; a mapping as it is."""
    if not isinstance(value, list | tuple):
        return value
    for one in value:
        if not isinstance(one, str) or "=" not in one:
            raise ValueError(f"{one!r} is not of the form NAME=WEIGHTS")
    return dict(one.split("=", 1) for one in value)


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    """A check that a value is ``auto`` or one of ``names``."""

    def check(value: str) -> str:
        if value not in (AUTO, *names):
            raise ValueError(f"{value!r} is none of {', '.join((AUTO, *names))}")
        return value

    return check


def _choice(names: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": [AUTO, *names]}


def _choices(values: Sequence[str]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(values)}}


MaybePath = Annotated[
    Path | None,
    BeforeValidator(_nothing_if_empty),
    WithJsonSchema({"type": "string"}),
]
FilePath = Annotated[Path, WithJsonSchema({"type": "string"})]
Extractors = Annotated[tuple[str, ...], WithJsonSchema(_choices(registry.names()))]
Reasons = Annotated[tuple[Literal["all"] | Reason, ...], WithJsonSchema(_choices(["all", *Reason]))]
Weights = Annotated[str, WithJsonSchema({"type": "string", "enum": list(WEIGHTS)})]
WeightsOf = Annotated[
    dict[str, str],
    BeforeValidator(_by_name),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
Backend = Annotated[str, AfterValidator(_one_of(BACKENDS)), WithJsonSchema(_choice(BACKENDS))]
Precision = Annotated[str, AfterValidator(_one_of(PRECISIONS)), WithJsonSchema(_choice(PRECISIONS))]
Protocol = Annotated[str, WithJsonSchema({"type": "string", "enum": list(PROTOCOLS)})]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _store(what: str = "") -> Any:
    return Field(
        title="Store",
        description=f"The feature store: a folder or s3://bucket/name.{what}",
        examples=["/data/store", "s3://bucket/store"],
        min_length=1,
    )


FIXES = Field(
    True,
    title="Mend known defects",
    description="Apply the list of known defects of MELD's published files.",
)


class ExtractOptions(_Options):
    """What to extract, and where to."""

    dataset: MaybePath = Field(
        None,
        title="Data set",
        description="Folder with MELD's CSV files and clip folders, or a .csv or .parquet file "
        "that lists clips of your own. Leave it empty if you name a folder of clips.",
        json_schema_extra={"default": ""},
    )
    clips: MaybePath = Field(
        None,
        title="Folder of clips",
        description="Instead of a data set: a plain folder of clips without annotations.",
        json_schema_extra={"default": ""},
    )
    store: str = _store(" It is created if it is not there.")
    only: Extractors = Field(
        (), title="Extractors", description="Extractors to run; all of them if none is chosen."
    )
    weights: Weights = Field(
        "pretrained",
        title="Weights",
        description="Weights of the networks: the published ones, or random ones for a trial "
        "without a download.",
    )
    weights_of: WeightsOf = Field(
        default_factory=dict,
        title="Weights of single extractors",
        description="Where they differ, as NAME=WEIGHTS, e.g. text/minilm=pretrained or "
        "audio/wav2vec2=/models/wav2vec2.",
        json_schema_extra={"default": []},
    )
    backend: Backend = Field(
        AUTO,
        title="Backend",
        description="What runs wav2vec 2.0 and ResNet-50; auto: what the store's features were "
        "computed by, else OpenVINO on CPUs where it is installed.",
    )
    precision: Precision = Field(
        AUTO,
        title="Precision",
        description="Numbers that these networks compute with; auto: those of the store's "
        "features, else bf16 on CPUs that have instructions for it, else fp32.",
    )
    retry_failed: Reasons = Field(
        (),
        title="Try failures again",
        description="Reasons of failures to try again although nothing changed; all for every "
        "reason.",
    )
    max_failure_rate: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        title="Failure limit (share, 0 to 1)",
        description="The run fails when an extractor fails on a larger share of the rows it "
        "tried (20 rows at least).",
    )
    then_train: bool = Field(
        False,
        title="Train afterwards",
        description="Start the deployment train on the snapshot that was published.",
    )
    fixes: bool = FIXES
    strict: bool = Field(
        False,
        title="Refuse damaged clips",
        description="Refuse damaged clips instead of keeping what can be decoded.",
    )
    max_seconds: float = Field(
        600.0,
        gt=0,
        title="Longest clip (seconds)",
        description="A clip that runs longer is refused as too_long.",
    )
    clip_timeout: float = Field(
        CLIP_TIMEOUT,
        gt=0,
        title="Time limit per clip (seconds)",
        description="A clip that takes longer to decode ends as timeout.",
    )
    partition_timeout: float = Field(
        3600.0,
        gt=0,
        title="Time limit per partition (seconds)",
        description="A partition that takes longer is tried again.",
    )
    wait: float = Field(
        0.0,
        ge=0,
        title="Wait for the store (seconds)",
        description="How long to wait while another run writes to the store; 0 fails at once.",
    )
    partition: int = Field(
        64,
        ge=1,
        le=1024,
        title="Partition (utterances)",
        description="Utterances per partition, the unit of retries; fixed when a store is created.",
    )
    batch: int = Field(
        8,
        ge=1,
        le=256,
        title="Batch (clips)",
        description="Clips decoded and encoded together.",
    )
    cluster: str = Field(
        "",
        title="Cluster profile",
        description="A YAML file; empty: the one that the environment variable MELDFLOW_CLUSTER "
        "names (the workers of meldflow up), else all cores of the machine.",
    )

    @property
    def retry(self) -> frozenset[str]:
        """Reasons of failures to try again."""
        return frozenset(Reason if "all" in self.retry_failed else self.retry_failed)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.clips is None):
            raise ValueError("name a dataset or a folder of clips: one of them, not both")
        return self


class Training(_Options):
    """How to train, on whatever snapshot."""

    report: FilePath = Field(
        Path("report"), title="Report", description="Folder for the report and the model."
    )
    protocol: Protocol = Field(
        "official", title="Protocol", description="How the model is fitted and judged."
    )
    network: Literal["", "reference", "fusion"] = Field(
        "",
        title="Network",
        description="`fusion`, with the dialogue around, or `reference`, as published; empty: the "
        "one that the protocol is about, fusion under official.",
    )
    modalities: tuple[Literal["audio", "video", "text"], ...] = Field(
        ("audio", "video", "text"),
        min_length=1,
        title="Modalities",
        description="What the network is given.",
    )
    target: Literal["emotion", "sentiment"] = Field(
        "emotion",
        title="Target",
        description="What is told apart: seven emotions, or three sentiments.",
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, title="Seed", description="Seed of the (first) training run."
    )
    seeds: int = Field(
        3,
        ge=1,
        le=100,
        title="Seeds",
        description="Training runs, each with the next seed; mean and deviation.",
    )
    ablations: bool = Field(
        True,
        title="Ablations",
        description="Also train on every smaller choice of modalities, and an SVM without a "
        "network, for comparison.",
    )
    epochs: int = Field(
        0,
        ge=0,
        le=10_000,
        title="Epochs (at most)",
        description="Upper bound on the passes over the training data; 0 for the network's own.",
    )
    tracking: str = Field(
        "",
        title="MLflow",
        description="Where MLflow keeps the run: a server's address, a folder, or `none`; empty: "
        "what the environment variable MLFLOW_TRACKING_URI names, else the folder mlruns beside "
        "the report.",
    )
    causal: bool = Field(
        False,
        title="Causal",
        description="Context fusion sees only what was said before an utterance, for live use.",
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu", title="Device", description="What context fusion trains on."
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", title="Precision", description="Numbers that context fusion computes with."
    )

    @property
    def reads(self) -> str:
        """The network whose features are read."""
        return self.network or protocol_named(self.protocol).network

    def on(self, store: str, snapshot: str) -> TrainOptions:
        """The same training on a snapshot of a store."""
        own = self.model_dump(include=set(Training.model_fields))
        return TrainOptions(**own, store=store, snapshot=snapshot)


class _Snapshot(_Options):
    store: str = _store()
    snapshot: str = Field(
        "main",
        title="Snapshot",
        description="Branch, tag or snapshot id to train on; main is the newest.",
    )


class TrainOptions(Training, _Snapshot):
    """What to train on, and how."""


class AuditOptions(_Options):
    """What to audit, and how deep."""

    dataset: FilePath = Field(
        title="Data set",
        description="Folder with MELD's CSV files and clip folders, or a .csv or .parquet file "
        "that lists clips of your own.",
    )
    annotations_only: bool = Field(
        False, title="Annotations only", description="Leave the clips alone."
    )
    fixes: bool = FIXES


class MaintainOptions(_Options):
    """What to forget."""

    store: str = _store()
    older_than_days: float = Field(
        30.0,
        ge=0,
        title="Age (days)",
        description="Age of the states and unused objects to forget.",
    )
    dry_run: bool = Field(
        False, title="Dry run", description="Tell what would be deleted; change nothing."
    )


class PollOptions(_Options):
    """What to look at."""

    dataset: FilePath = Field(
        title="Data set",
        description="Folder with annotation files and clips, or a .csv or .parquet file that "
        "lists clips of your own.",
    )
    store: str = Field(
        "",
        title="Store",
        description="The store that a change is extracted to; empty: the default of the "
        "deployment that is started.",
    )


def first_problem(error: ValidationError) -> str:
    """The first complaint of a failed validation, as ``field: what is wrong``."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ")
