"""``audio/wav2vec2``: frames of wav2vec 2.0 and their mean.

Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", NeurIPS 2020; weights facebook/wav2vec2-base-960h.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.grid import FRAME, frames_in
from meldflow.models.extractors.wav2vec2.opening import Opening
from meldflow.models.extractors.wav2vec2.windows import Window, stitch, windows
from meldflow.models.running.backends import Network, ready, room
from meldflow.models.running.computing import Computing
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Modality, Reason
from meldflow.models.weights.find import seed
from meldflow.models.weights.load import pretrained, quiet, seeded
from meldflow.models.weights.sources import PublishedModel

_LAYERS = 12
_SECONDS_ON_CPU = 1
"""Padded sound per forward pass, seconds: all but the shortest clips go alone. In batches of eight
clips of MELD nearly a third of the time went into padding, and nothing was gained for it."""
_BYTES_PER_SECOND = 20_000_000
"""Of activations: the first layer holds 512 channels at 3.2 kHz, three times over."""
_STEP = 4000
"""Where a new shape costs time, sound is padded to a multiple of as many samples."""


class _Loaded(NamedTuple):
    opening: Opening
    network: Network


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2(Extractor):
    """The base network on 16 kHz sound, in exact batches of any lengths."""

    published: ClassVar[PublishedModel | None] = PublishedModel(
        model="facebook/wav2vec2-base-960h",
        files=("model.safetensors", "pytorch_model.bin"),
        beside=("config.json",),
        hub=True,
        architecture={
            "model_type": "wav2vec2",
            "feat_extract_norm": "group",
            "do_stable_layer_norm": False,
            "hidden_size": 768,
            "num_hidden_layers": _LAYERS,
        },
    )

    layers: tuple[Annotated[int, Ge(0), Le(_LAYERS)], ...] = (_LAYERS,)
    """Hidden states to average: 0 is the input of the first layer, 12 the last hidden state."""
    window_seconds: float = 15.0
    """Longer clips go through the network in windows of this length, which bounds its memory; it
    was trained on pieces of 15.6 s (Baevski et al., section 4.2)."""
    overlap_seconds: float = 2.6
    """What neighbouring windows share at least: frames on either side of a seam have the 1.28 s
    that the positional convolution sees."""
    decoding: DecodeOptions = field(default_factory=DecodeOptions)
    """How the clip is decoded."""
    computing: Computing = field(default_factory=Computing)
    """What the network is run by, and in which numbers."""

    def __post_init__(self) -> None:
        """Refuses layers that are not there, and windows that do not advance (``ValueError``)."""
        object.__setattr__(self, "layers", tuple(sorted(set(self.layers))))
        if not self.layers or not set(self.layers) <= set(range(_LAYERS + 1)):
            raise ValueError(f"layers must be some of 0 to {_LAYERS}, got {self.layers}")
        if not 0 <= self.overlap_seconds < self.window_seconds:
            raise ValueError(
                f"overlap_seconds {self.overlap_seconds} is not below {self.window_seconds}"
            )

    @property
    def spec(self) -> FeatureSpec:
        """Frames (n_frames, 768) at 49.95/s and their mean (768,)."""
        return FeatureSpec(
            name="audio/wav2vec2",
            modality=Modality.AUDIO,
            version=2,
            arrays=(
                ArraySpec(
                    name="frames",
                    dims=("frame", "wav2vec2"),
                    shape=(768,),
                    dtype="float16",
                    rate=50.0,
                    long_name="hidden states of wav2vec 2.0",
                ),
                ArraySpec(
                    name="mean",
                    dims=("wav2vec2",),
                    shape=(768,),
                    dtype="float32",
                    long_name="mean of the hidden states",
                ),
            ),
            weights=self.weights,
            parameters={
                "layers": list(self.layers),
                "window_seconds": self.window_seconds,
                "overlap_seconds": self.overlap_seconds,
                **self.computing.parameters,
                **self.decoding.audio_parameters,
            },
        )

    def lengths(self, media: Media) -> dict[str, int]:
        """Frames that fit into the sound, however it is cut into windows."""
        if isinstance(media.audio, Missing):
            return {}
        return {"frames": frames_in(media.audio.samples.size)}

    def network(self) -> Any:
        """The plain ``Wav2Vec2Model``, whole, in eval mode and fp32 on the CPU."""
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        quiet()
        number = seed(self.weights)
        if number is None:
            # Only training uses the mask embedding; the published checkpoint has none.
            model = pretrained(Wav2Vec2Model, self.weights, may_lack=("masked_spec_embed",))
        else:
            model = seeded(number, lambda: Wav2Vec2Model(Wav2Vec2Config()))
        return model.eval()

    def load(self, device: str) -> Any:
        """The network, without the layers above the last one wanted."""
        from meldflow.models.extractors.wav2vec2.exact import Exact

        model = self.network()
        model.encoder.layers = model.encoder.layers[: self.layers[-1]]
        opening = Opening.of(model)
        waves = [np.zeros(16000, np.float32), np.zeros(12000, np.float32)]
        example = opening.inputs([(wave, opening.folded(wave)) for wave in waves])
        shapes = [(-1, -1, opening.taps), (-1, opening.taps, len(opening.kernels)), (-1,)]
        exact = Exact(model, self.layers)
        return _Loaded(opening, ready(exact, self.computing, device, example, shapes))

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """Frames and mean of every clip; ``too_short`` below 400 samples (25 ms)."""
        clips = [one.audio.samples for one in media if not isinstance(one.audio, Missing)]
        cut: list[Window] = []
        kernels: dict[int, NDArray[np.float32]] = {}
        for clip, samples in enumerate(clips):
            if samples.size >= FRAME:
                wave = standardised(samples)
                kernels[clip] = self.loaded.opening.folded(wave)
                cut += windows(clip, wave, *self.grid)
        batches = list(self._batches(cut))
        waves = ([(window.samples, kernels[window.clip]) for window in batch] for batch in batches)
        step = _STEP if self.loaded.network.reuses_shapes else 1
        inputs = (self.loaded.opening.inputs(some, step) for some in waves)
        done: dict[int, list[tuple[Window, NDArray[np.float32]]]] = {}
        for batch, states in zip(batches, self.loaded.network.run(inputs), strict=True):
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
            if batch and (len(batch) + 1) * batch[0].samples.size > budget:
                yield batch
                batch = []
            batch.append(window)
        if batch:
            yield batch


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
