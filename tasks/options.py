"""Parameters of the flows, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.schema import Reason
from tasks.decoder import CLIP_TIMEOUT


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExtractOptions(_Options):
    """What to extract, and where to."""

    dataset: Path | None = Field(
        None,
        description="Folder with MELD's CSV files and clip folders, or a .csv or .parquet file "
        "that lists clips of your own.",
    )
    clips: Path | None = Field(
        None, description="Instead of a data set: a plain folder of clips without annotations."
    )
    fixes: bool = Field(
        True, description="Apply the list of known defects of MELD's published files."
    )
    store: str = Field(
        description="The feature store: a folder or s3://bucket/name; created if it is not there."
    )
    only: tuple[str, ...] = Field((), description="Extractors to run; all if empty.")
    weights: str = Field(
        "pretrained", description="`pretrained`, `random`, or a checkpoint's path."
    )
    weights_of: dict[str, str] = Field(
        default_factory=dict, description="Extractor name → weights, where they differ."
    )
    partition: int = Field(
        64, ge=1, le=1024, description="Utterances per partition; fixed when a store is created."
    )
    batch: int = Field(8, ge=1, le=256, description="Clips decoded and encoded together.")
    strict: bool = Field(
        False, description="Refuse damaged clips instead of keeping what can be decoded."
    )
    max_seconds: float = Field(
        600.0, gt=0, description="A clip that runs longer is refused as too_long, seconds."
    )
    clip_timeout: float = Field(
        CLIP_TIMEOUT,
        gt=0,
        description="A clip that takes longer to decode ends as timeout, seconds.",
    )
    partition_timeout: float = Field(
        3600.0,
        gt=0,
        description="A partition that takes longer is tried again, seconds.",
    )
    retry_failed: tuple[Literal["all"] | Reason, ...] = Field(
        (),
        description="Reasons of failures to try again although nothing changed; `all` for every "
        "reason.",
    )
    max_failure_rate: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="The run fails when an extractor fails on a larger share of the rows it "
        "tried (20 rows at least).",
    )
    cluster: str = Field(
        "",
        description="Cluster profile, a YAML file; empty: the one that the environment variable "
        "MELDFLOW_CLUSTER names, else all cores of this machine.",
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


class TrainOptions(_Options):
    """What to train on, and how."""

    store: str = Field(description="The feature store: a folder or s3://bucket/name.")
    snapshot: str = Field("main", description="Branch, tag or snapshot id to train on.")
    report: Path = Field(Path("report"), description="Folder for the report and the model.")
    protocol: str = Field("official", description="How the model is fitted and judged.")
    network: Literal["reference", "fusion"] = Field(
        "reference", description="`reference`, as published, or `fusion`, with the dialogue around."
    )
    modalities: tuple[Literal["audio", "video", "text"], ...] = Field(
        ("audio", "video", "text"), min_length=1, description="What the network is given."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of the (first) training run.")
    seeds: int = Field(
        1, ge=1, le=100, description="Training runs, each with the next seed; mean and deviation."
    )
    epochs: int = Field(40, ge=1, le=10_000, description="Upper bound on the epochs.")
    device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu", description="What context fusion trains on."
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="Numbers that context fusion computes with."
    )


class AuditOptions(_Options):
    """What to audit, and how deep."""

    dataset: Path = Field(description="Folder with MELD's CSV files and clip folders.")
    annotations_only: bool = Field(False, description="Leave the clips alone.")
    fixes: bool = Field(
        True, description="Apply the list of known defects of MELD's published files."
    )


class MaintainOptions(_Options):
    """What to forget."""

    store: str = Field(description="The feature store: a folder or s3://bucket/name.")
    older_than_days: float = Field(
        30.0, ge=0, description="Age of the states and unused objects to forget, days."
    )
    dry_run: bool = Field(False, description="Tell what would be deleted; change nothing.")


def first_problem(error: ValidationError) -> str:
    """The first complaint of a failed validation, as ``field: what is wrong``."""
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
