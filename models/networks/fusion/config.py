"""The settings of context fusion; free of torch."""

import math
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from meldflow.models.networks import common
from meldflow.models.schema.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True, config=common.STRICT)
class FusionConfig(common.TrainConfig):
    """Everything that changes a result, besides the features themselves.

    The defaults were chosen on MELD's dev split with text alone; ``docs/text-result.md`` says
    what was tried.
    """

    batch_size: common.BatchSize = 32
    learning_rate: common.Rate = 5e-4
    decay: common.Count = 20
    """Epochs over which the learning rate falls to next to nothing."""
    patience: common.Count = 6
    width: Annotated[int, Field(ge=2, le=8192)] = 192
    """Length of every modality's vector and of the dialogue's state."""
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Heads of the attention over modalities; ``width`` is a multiple of it."""
    speaker_width: Annotated[int, Field(ge=0, le=1024)] = 32
    """Length of a speaker's vector; 0 leaves speakers out."""
    speaker_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    """Who speaks a smaller share of the fit rows is somebody, without a vector of their own."""
    causal: bool = False
    """Whether an utterance sees only what was said before it, for live use."""
    input_dropout: common.Dropped = 0.2
    """On the standardised features."""
    dropout: common.Dropped = 0.4
    """On the modalities' vectors, the dialogue's state and the attention weights."""
    modality_dropout: common.Dropped = 0.15
    """How often a modality of an utterance is taken away in training, never the last one."""
    longest: common.Count = 64
    """Longer dialogues are cut into pieces of so many utterances."""
    svm_c: common.Candidates = (0.3, 1.0, 3.0)
    svm_gamma: common.Candidates = (0.1,)

    RESUMES: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuses a ``width`` that heads and directions cannot share (``UsageError``)."""
        if self.width % (2 * self.heads):
            raise UsageError(
                f"training: width is {self.width}, must be a multiple of twice heads, {self.heads}"
            )

    def rate(self, done: int) -> float:
        """Half the learning rate in the first epoch, then along a cosine to next to nothing.

        The cosine ends after ``decay`` epochs whatever ``epochs`` is, so a run that is cut
        short goes the same way as a long one as far as it goes (Loshchilov & Hutter 2017).
        """
        along = min(done / self.decay, 1.0)
        factor = 0.5 if done == 0 else max(0.5 * (1 + math.cos(math.pi * along)), 0.02)
        return self.learning_rate * factor
