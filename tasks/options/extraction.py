"""Parameters of the flow `extract`."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from meldflow.models.clips.options import CANDIDATES, CPU, DECODERS, EVERY
from meldflow.models.extractors import registry
from meldflow.models.running.computing import AUTO, BACKENDS, PRECISIONS
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Reason
from meldflow.tasks.isolated.decoder import CLIP_TIMEOUT
from meldflow.tasks.options.declared import read_declared
from meldflow.tasks.options.fields import (
    DATASET,
    FIXES,
    Cli,
    ClusterFile,
    DataSet,
    Lines,
    MaybePath,
    OneOf,
    Options,
    store_field,
)

WEIGHTS = ("pretrained", "random")
"""Weights that every extractor can have; one may also have those at a path."""

ALL = "all"


def split_weights(given: Sequence[str]) -> dict[str, Any]:
    """``[NAME=]WEIGHTS``, any number of them, as the fields that they are of.

    Raises:
        UsageError: two are for all extractors.
    """
    named = dict(one.split("=", 1) for one in given if "=" in one)
    for_all = [one for one in given if "=" not in one]
    if len(for_all) > 1:
        raise UsageError(f"--weights: {for_all[0]} and {for_all[1]} both for all extractors")
    return ({"weights": for_all[0]} if for_all else {}) | ({"weights_of": named} if named else {})


# Names of extractors are checked where they are used, with a hint what may have been meant.
Extractor = Annotated[str, WithJsonSchema({"type": "string", "enum": list(registry.names())})]
Weights = Annotated[str, WithJsonSchema({"type": "string", "enum": list(WEIGHTS)})]
Backend = Annotated[str, OneOf((AUTO, *BACKENDS))]
Precision = Annotated[str, OneOf((AUTO, *PRECISIONS))]
WhyFailed = Annotated[str, OneOf((ALL, *Reason))]


class ExtractOptions(Options):
    """What to extract, and where to."""

    # The form knows that it is a data set or a folder of clips.
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"not": {"properties": {"clips": {"maxLength": 0}}}},
            "then": {"properties": {"dataset": {"maxLength": 0}}},
            "else": {"properties": {"dataset": {"minLength": 1}}, "required": ["dataset"]},
        }
    )

    dataset: Annotated[MaybePath, Cli(argument=True, path=True)] = Field(
        None,
        title="Data set",
        description=f"{DATASET} Empty if you name a folder of clips.",
        json_schema_extra={"default": ""},
    )
    clips: Annotated[MaybePath, Cli(path=True, metavar="DIR")] = Field(
        None, title="Folder of clips", json_schema_extra={"default": ""}
    )
    """Instead of a data set: a plain folder of clips without annotations."""
    store: Annotated[str, Cli(default="store", path=True)] = store_field(
        " It is created if it is not there."
    )
    instances: Annotated[
        dict[str, str],
        Lines("NAME=KIND CHECKPOINT"),
        Cli(flags=("--extractors-file",), metavar="FILE", fills=read_declared),
    ] = Field({}, title="Extractors of your own", json_schema_extra={"default": []})
    """Encoders under names of their own, as NAME=KIND CHECKPOINT, e.g. audio/mine=audio/speech
    microsoft/wavlm-base-plus; a checkpoint is a name on the Hugging Face hub or a folder, and
    `meldflow extractors` lists the kinds. On the command line a YAML file of them, with their
    parameters. They are run unless extractors are chosen."""
    only: Annotated[tuple[Extractor, ...], Cli(metavar="NAME")] = Field((), title="Extractors")
    """Extractors to run, of those that are known or declared; if none is chosen, those that are
    declared, else meldflow's own."""
    weights: Annotated[Weights, Cli(metavar="[NAME=]WEIGHTS", fills=split_weights)] = "pretrained"
    """Weights of the networks: pretrained, the published ones, or random, for a trial without a
    download. On the command line also a checkpoint's path, and NAME=WEIGHTS for one extractor."""
    weights_of: Annotated[dict[str, str], Lines("NAME=WEIGHTS"), Cli(hidden=True)] = Field(
        {}, title="Weights of single extractors", json_schema_extra={"default": []}
    )
    """Where they differ, as NAME=WEIGHTS, e.g. text/minilm=pretrained or
    audio/wav2vec2=/models/wav2vec2."""
    parameters: Annotated[
        dict[str, str],
        Lines("NAME.PARAMETER=VALUE"),
        Cli(flags=("--set",), metavar="NAME.PARAMETER=VALUE"),
    ] = Field({}, title="Parameters of extractors", json_schema_extra={"default": []})
    """Those that differ from the extractors' defaults, as NAME.PARAMETER=VALUE, e.g.
    audio/librosa.f0=pyin or audio/wav2vec2.layers=6,9,12; `meldflow extractors` lists them. They
    are part of the key: rows that were computed with others become stale."""
    backend: Backend = AUTO
    """What runs wav2vec 2.0 and ResNet-50; auto: what the store's features were computed by, else
    OpenVINO on CPUs where it is installed."""
    precision: Precision = AUTO
    """Numbers that these networks compute with; auto: those of the store's features, else bf16 on
    CPUs that have instructions for it, else fp32."""
    decoder: Annotated[str, OneOf(DECODERS)] = CPU
    """What decodes the pictures; nvdec: the video decoder of a GPU that the worker sees, where it
    has one for the stream. It is part of the key."""
    candidates: Annotated[str, OneOf(CANDIDATES)] = EVERY
    """Pictures to choose the frames from; reference: only those that other pictures are coded
    from, which takes less time and gives other frames. It is part of the key."""
    retry_failed: Annotated[tuple[WhyFailed, ...], Cli(metavar="[REASON…]")] = Field(
        (), title="Try failures again"
    )
    """Reasons of failures to try again although nothing changed; all for every reason."""
    max_failure_rate: float = Field(0.25, ge=0.0, le=1.0, title="Failure limit (share)")
    """The run fails when an extractor fails on a larger share of the rows it tried (20 rows at
    least)."""
    then_train: bool = Field(False, title="Train afterwards")
    """Start the deployment train on the snapshot that was published."""
    fixes: bool = FIXES
    strict: bool = Field(False, title="Refuse damaged clips")
    """Refuse damaged clips instead of keeping what can be decoded."""
    max_seconds: float = Field(600.0, gt=0, title="Longest clip (seconds)")
    """A clip that runs longer is refused as too_long."""
    clip_timeout: float = Field(CLIP_TIMEOUT, gt=0, title="Time limit per clip (seconds)")
    """A clip that takes longer to decode ends as timeout."""
    partition_timeout: float = Field(3600.0, gt=0, title="Time limit per partition (seconds)")
    """A partition of which workers get nothing done for so long is tried again."""
    wait: float = Field(0.0, ge=0, title="Wait for the store (seconds)")
    """How long to wait while another run writes to the store; 0 fails at once."""
    partition: int = Field(64, ge=1, le=1024, title="Partition (utterances)")
    """Utterances per partition, the unit of retries; fixed when a store is created."""
    batch: int = Field(8, ge=1, le=256, title="Batch (clips)")
    """Clips decoded and encoded together."""
    cluster: ClusterFile = ""
    """A YAML file, by which workers may follow the work (`adaptive`); by default the one that the
    environment variable MELDFLOW_CLUSTER names (meldflow up's), else all cores of the machine."""

    @property
    def retry(self) -> frozenset[str]:
        """Reasons of failures to try again."""
        return frozenset(Reason if ALL in self.retry_failed else self.retry_failed)

    @model_validator(mode="after")
    def _chosen_of_what_is_declared(self) -> Self:
        """A form offers names that are known alone; so what is chosen becomes what is declared."""
        if self.only and self.instances:
            left = self.instances.keys() - {*self.only}
            self.__dict__.update(
                instances={name: self.instances.get(name, name) for name in self.only},
                weights_of={x: w for x, w in self.weights_of.items() if x not in left},
                parameters={
                    x: v for x, v in self.parameters.items() if x.rpartition(".")[0] not in left
                },
                only=(),
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.clips is None):
            raise ValueError(
                "name a data set or a folder of clips (--clips): one of them, not both"
            )
        return self


class Extraction(DataSet, ExtractOptions):
    """The same where a training follows: it needs labels, which a folder of clips has not."""

    # Taken away: pydantic asks for no class variable.
    clips: ClassVar[None] = None  # type: ignore[misc]
    then_train: ClassVar[bool] = False  # type: ignore[misc]
