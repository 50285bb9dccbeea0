"""Parameters of the flow `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from meldflow.models.judging.protocols import PROTOCOLS, protocol_named
from meldflow.tasks.options.fields import Cli, ClusterFile, FilePath, Options, store_field

Protocol = Annotated[str, WithJsonSchema({"type": "string", "enum": list(PROTOCOLS)})]


class Training(Options):
    """How to train, on whatever snapshot."""

    report: FilePath = Path("report")
    """Folder for the report and the model."""
    protocol: Protocol = "official"
    """How the model is fitted and judged; leaky-80-20 is as published, and no result."""
    network: Literal["", "reference", "fusion"] = ""
    """fusion, with the dialogue around, or reference, as published; by default the one that the
    protocol is about, fusion under official."""
    modalities: Annotated[tuple[Literal["audio", "video", "text"], ...], Cli(commas=True)] = Field(
        ("audio", "video", "text"), min_length=1
    )
    """What the network is given."""
    extractors: Annotated[tuple[str, ...], Cli(commas=True, metavar="NAMES")] = ()
    """Extractors of the store to read, by name, any number of each modality; by default meldflow's
    own. Context fusion alone reads others."""
    target: Literal["emotion", "sentiment"] = "emotion"
    """What is told apart: seven emotions, or three sentiments."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Seed of the (first) training run."""
    seeds: int = Field(3, ge=1, le=100)
    """Training runs, each with the next seed; mean and deviation."""
    ablations: bool = True
    """Also train on every smaller choice of modalities, and an SVM without a network, for
    comparison."""
    epochs: Annotated[int, Cli(metavar="N")] = Field(0, ge=0, le=10_000, title="Epochs (at most)")
    """Upper bound on the passes over the training data; 0 for the network's own."""
    tracking: str = Field("", title="MLflow")
    """Where MLflow keeps the run: a server's address, a folder, or none; by default what the
    environment variable MLFLOW_TRACKING_URI names, else the folder mlruns beside the report."""
    causal: bool = False
    """Context fusion sees only what was said before an utterance, for live use."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """What context fusion trains on; on a cluster with GPUs, auto is one of them."""
    # An extraction has a precision too, and `pipeline` takes the options of both.
    precision: Annotated[
        Literal["32-true", "bf16-mixed", "16-mixed"], Cli(flags=("--training-precision",))
    ] = "32-true"
    """Numbers that context fusion computes with."""

    @model_validator(mode="after")
    def _modalities_of_what_is_read(self) -> Self:
        if self.extractors:
            named = {one.partition("/")[0] for one in self.extractors}
            if lacking := named - set(self.modalities):
                raise ValueError(f"extractors of {', '.join(sorted(lacking))}, which is left out")
            self.__dict__.update(modalities=tuple(one for one in self.modalities if one in named))
        return self

    @property
    def reads(self) -> str:
        """The network whose features are read."""
        return self.network or protocol_named(self.protocol).network

    def on(self, store: str, snapshot: str, cluster: str) -> TrainOptions:
        """The same training on a snapshot of a store, by a cluster's workers."""
        own = self.model_dump(include=set(Training.model_fields))
        return TrainOptions(**own, store=store, snapshot=snapshot, cluster=cluster)


class _Snapshot(Options):
    store: Annotated[str, Cli(argument=True, path=True)] = store_field()
    snapshot: Annotated[str, Cli(flags=("--ref", "--snapshot"))] = "main"
    """Branch, tag or snapshot id to train on; main is the newest."""
    cluster: ClusterFile = ""
    """A YAML file that says which workers fit the networks; by default as in an extraction."""


class TrainOptions(Training, _Snapshot):
    """What to train on, and how."""
