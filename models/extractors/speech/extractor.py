"""``audio/speech``: frames of a speech encoder and their mean; ``audio/wav2vec2`` is one.

Any checkpoint of wav2vec 2.0, HuBERT, WavLM or data2vec-audio in transformers' format. Yang et al.,
"SUPERB: Speech processing Universal PERformance Benchmark", Interspeech 2021, compares their
layers: those in the middle tell most of how something is said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.encoder import CONFIG, INPUTS, Checkpoint, Encoder
from meldflow.models.extractors.grid import FRAME, frames_in
from meldflow.models.extractors.speech.opening import Opening, Steps
from meldflow.models.extractors.speech.windows import Window, stitch, windows
from meldflow.models.running.backends import Network, ready, room
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Reason
from meldflow.models.weights.sources import PublishedModel

_SECONDS_ON_CPU = 1
"""Padded sound per forward pass, seconds: all but the shortest clips go alone. In batches of eight
clips of MELD nearly a third of the time went into padding, and nothing was gained for it."""
_BYTES_PER_SECOND = 20_000_000
"""Of activations: the first layer holds 512 channels at 3.2 kHz, three times over."""
_STEP = 4000
"""Where a new shape costs time, sound is padded to a multiple of as many samples."""
_BASE = Checkpoint(
    name="audio/wav2vec2",
    version=2,
    width=768,
    depth=12,
    architecture={"model_type": "wav2vec2"},
)
_GRID = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]}
"""The convolutions that give a frame of 400 samples every 320."""


class Loaded(NamedTuple):
    """What goes through a speech encoder, and how."""

    front: Steps
    network: Network
    pads: bool
    """Whether clips of different lengths may share a batch."""
    normalised: bool
    """Whether sound is brought to unit variance first, as the network was trained."""
    least: int = 0
    """Samples that a shorter window counts for, since it is filled up to as many."""


@dataclass(frozen=True, kw_only=True)
class Speech(Encoder):
    """Frames of a speech encoder (wav2vec 2.0, HuBERT, WavLM, data2vec-audio) and their mean."""

    kind: ClassVar[str] = "audio/speech"
    # Only training uses the mask embedding; published checkpoints often have none.
    may_lack: ClassVar[tuple[str, ...]] = ("masked_spec_embed",)

    layers: tuple[Annotated[int, Ge(0)], ...] = ()
    """Hidden states to average: 0 is the input of the first layer, the last by default."""
    window_seconds: float = 15.0
    """Longer clips go through the network in windows of this length, which bounds its memory;
    such networks were trained on pieces of 15.6 s (Baevski et al., section 4.2)."""
    overlap_seconds: float = 2.6
    """What neighbouring windows share at least: frames on either side of a seam have the 1.28 s
    that the positional convolution sees."""
    decoding: DecodeOptions = field(default_factory=DecodeOptions)
    """How the clip is decoded."""
    computing: Computing = field(default_factory=Computing)
    """What the network is run by, and in which numbers."""

    def __post_init__(self) -> None:
        """Refuses layers that are not there, and windows that do not advance (``ValueError``)."""
        if not self.layers:
            object.__setattr__(self, "layers", (self.checkpoint.depth,))
        super().__post_init__()
        if not 0 <= self.overlap_seconds < self.window_seconds:
            raise ValueError(
                f"overlap_seconds {self.overlap_seconds} is not below {self.window_seconds}"
            )

    @property
    def spec(self) -> FeatureSpec:
        """Frames (n_frames, width) at 49.95/s and their mean (width,)."""
        width, shape = self.short, (self.checkpoint.width,)
        return self.described(
            ArraySpec(
                name="frames",
                dims=("frame", width),
                shape=shape,
                dtype="float16",
                rate=50.0,
                long_name=f"hidden states of {self.short}",
            ),
            ArraySpec(
                name="mean",
                dims=(width,),
                shape=shape,
                dtype="float32",
                long_name="mean of the hidden states",
            ),
            **self.decoding.audio_parameters,
        )

    def lengths(self, media: Media) -> dict[str, int]:
        """Frames that fit into the sound, however it is cut into windows."""
        if isinstance(media.audio, Missing):
            return {}
        return {"frames": frames_in(media.audio.samples.size)}

    def network(self) -> Any:
        """The plain network of transformers, whole, in eval mode and fp32 on the CPU."""
        return self.transformer()

    def load(self, device: str) -> Any:
        """The network, without the layers above the last one wanted.

        Raises:
            UsageError: its frames lie elsewhere than those of wav2vec 2.0.
        """
        from meldflow.models.extractors.speech.exact import Exact, is_grouped, pads

        inputs, model = self.settings().get(INPUTS, {}), self.network()
        found = {name: list(getattr(model.config, name, ())) for name in _GRID}
        if found != _GRID or getattr(model.config, "conv_pos_batch_norm", False):
            raise UsageError(f"{self.checkpoint.name}: {self.weights.model} has other convolutions")
        model.encoder.layers = model.encoder.layers[: self.layers[-1]]
        front = Opening.of(model) if is_grouped(model) else Steps()
        network = self._ready(front, Exact(model, self.layers), device)
        return Loaded(front, network, pads(model), inputs.get("do_normalize", True))

    def _ready(self, front: Steps, module: Any, device: str) -> Network:
        waves = [np.zeros(16000, np.float32)] * 2
        example = front.inputs([(wave, front.prepared(wave)) for wave in waves])
        return ready(module, self.computing, device, example, front.shapes)

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """Frames and mean of every clip; ``too_short`` below 400 samples (25 ms)."""
        front, network, pads, normalised, _ = self.loaded
        clips = [one.audio.samples for one in media if not isinstance(one.audio, Missing)]
        cut: list[Window] = []
        known: dict[int, NDArray[np.float32]] = {}
        for clip, samples in enumerate(clips):
            if samples.size >= FRAME:
                wave = standardised(samples) if normalised else samples
                known[clip] = front.prepared(wave)
                cut += windows(clip, wave, *self.grid)
        batches = list(self._batches(cut))
        waves = ([(window.samples, known[window.clip]) for window in batch] for batch in batches)
        step = _STEP if network.reuses_shapes and pads else 1
        inputs = (front.inputs(some, step) for some in waves)
        done: dict[int, list[tuple[Window, NDArray[np.float32]]]] = {}
        for batch, states in zip(batches, network.run(inputs), strict=True):
            for window, frames in zip(batch, states, strict=True):
                own = frames[: frames_in(window.samples.size)]
                done.setdefault(window.clip, []).append((window, own))
        return [_features(done.get(clip), samples.size) for clip, samples in enumerate(clips)]

    @property
    def grid(self) -> tuple[int, int]:
        """Frames in a window and in an overlap, as ``windows`` takes them."""
        rate = self.decoding.sample_rate
        return frames_in(round(self.window_seconds * rate)), round(self.overlap_seconds * 50)

    def _batches(self, cut: list[Window]) -> Iterator[list[Window]]:
        """Windows of similar length together, longest first, bounded in padded length."""
        seconds = room(
            self.loaded.network.device, on_cpu=_SECONDS_ON_CPU, bytes_each=_BYTES_PER_SECOND
        )
        budget = seconds * self.decoding.sample_rate
        batch: list[Window] = []
        for window in sorted(cut, key=lambda one: -one.samples.size):
            if batch:
                longest = batch[0].samples.size
                unlike = not self.loaded.pads and window.samples.size != longest
                if unlike or (len(batch) + 1) * max(longest, self.loaded.least) > budget:
                    yield batch
                    batch = []
            batch.append(window)
        if batch:
            yield batch


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2(Speech):
    """The base network on 16 kHz sound, in exact batches of any lengths.

    Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
    Representations", NeurIPS 2020; weights facebook/wav2vec2-base-960h.
    """

    kind: ClassVar[str] = ""
    beside: ClassVar[tuple[str, ...]] = (CONFIG,)
    published: ClassVar[PublishedModel | None] = PublishedModel(
        model="facebook/wav2vec2-base-960h",
        files=("model.safetensors", "pytorch_model.bin"),
        beside=beside,
        hub=True,
        architecture={
            "model_type": "wav2vec2",
            "feat_extract_norm": "group",
            "do_stable_layer_norm": False,
            "hidden_size": 768,
            "num_hidden_layers": 12,
        },
    )

    checkpoint: Checkpoint = _BASE
    layers: tuple[Annotated[int, Ge(0), Le(12)], ...] = (12,)
    """Hidden states to average: 0 is the input of the first layer, 12 the last hidden state."""


def standardised(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance, as the network was trained (1e-7 as in transformers)."""
    wide = samples.astype(np.float64)
    unit: NDArray[np.float64] = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
    return unit.astype(np.float32)


def _features(
    parts: list[tuple[Window, NDArray[np.float32]]] | None, n_samples: int
) -> Features | Missing:
    if parts is None:
        message = f"{n_samples} samples, the first frame needs {FRAME}"
        return Missing(reason=Reason.TOO_SHORT, message=message)
    frames = stitch(parts)
    return {"frames": frames, "mean": frames.mean(axis=0, dtype=np.float64)}
