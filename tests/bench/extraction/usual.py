"""The usual script: features as most projects extract them, one clip and one step at a time.

What meldflow is compared with. FFmpeg writes a wav file of 48 kHz, which is read again at 22,050
Hz for the descriptors, librosa's usual rate, and at 16 kHz for wav2vec 2.0. OpenCV seeks to each
of ten frames. ResNet-50 sees one frame per forward pass, in fp32, and wav2vec 2.0 one clip. The
features end in an Excel file. None of it is made slow on purpose: torch has all its threads, the
networks load once, and a first clip, at which things compile and are imported, is not counted.

``python -m tests.bench.extraction.usual CLIPS OUT`` runs it over the clips of a folder; beside
``a.mp4`` its words may lie in ``a.txt``. The networks and their weights are those of meldflow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import librosa
import numpy as np
import pandas as pd
import psutil
import torch
import torchaudio
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch import nn
from torchvision.models import ResNet50_Weights
from transformers import Wav2Vec2FeatureExtractor

from meldflow.models.extractors import registry
from meldflow.models.extractors.images.libraries import filled, untrained

FRAMES = 10
NO_WORDS = "So this is what they say."

Row = dict[str, Any]


@dataclass
class Script:
    """The networks, and the time that each step took."""

    weights: str = "random"
    """Of wav2vec 2.0 and ResNet-50."""
    ffmpeg: str = field(default_factory=imageio_ffmpeg.get_ffmpeg_exe)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        """Load the networks."""
        known = registry.build(None, {"text/minilm": "pretrained"}, self.weights)
        built: dict[str, Any] = {one.spec.name: one for one in known}
        self.scaled = Wav2Vec2FeatureExtractor()
        self.speech = built["audio/wav2vec2"].network()
        self.pictures = filled(built["video/resnet50"], lambda: untrained("resnet50"), {}).eval()
        self.pictures.fc = nn.Identity()
        self.preset = ResNet50_Weights.IMAGENET1K_V2.transforms()
        folder = Path(built["text/minilm"].weights.location).parent
        self.words = SentenceTransformer(str(folder), device="cpu")

    def clip(self, path: Path, folder: Path) -> Row:
        """All features of a clip, one step after the other."""
        row: Row = {"clip": path.name}
        wav = folder / "sound.wav"
        with self.step("ffmpeg to wav"):
            self._write_wav(path, wav)
        with self.step("load at 22,050 Hz"):
            samples, rate = librosa.load(wav, sr=22_050)
        with self.step("load at 16 kHz"):
            speech, _ = librosa.load(wav, sr=16_000)
        with self.step("wav2vec2"), torch.no_grad():
            unit = self.scaled(speech, sampling_rate=16_000, return_tensors="pt").input_values
            hidden = self.speech(unit).last_hidden_state
            row |= _columns("wav2vec2", hidden[0].mean(0).numpy())
        row |= self._descriptors(samples, rate)
        with self.step("ten seeks"):
            frames = list(_frames(path))
        with self.step("resnet50"), torch.no_grad():
            features = [self.pictures(self.preset(Image.fromarray(one))[None])[0] for one in frames]
            row |= _columns("resnet50", torch.stack(features).mean(0).numpy())
        with self.step("minilm"):
            words = path.with_suffix(".txt")
            text = words.read_text(encoding="utf-8") if words.exists() else NO_WORDS
            row |= _columns("minilm", self.words.encode(text, show_progress_bar=False))
        return row

    def _write_wav(self, path: Path, wav: Path) -> None:
        sound = ("-vn", "-acodec", "pcm_s16le", "-ar", "48000", "-ac", "1")
        command = [self.ffmpeg, "-y", "-loglevel", "error", "-i", str(path), *sound, str(wav)]
        subprocess.run(command, check=True)

    def _descriptors(self, samples: Any, rate: float) -> Row:
        row: Row = {}
        with self.step("mfcc"):
            mel = {"n_fft": 1024, "n_mels": 64}
            transform = torchaudio.transforms.MFCC(int(rate), n_mfcc=25, melkwargs=mel)
            mfcc = transform(torch.from_numpy(samples))
            row |= _columns("mfcc", mfcc.mean(1).numpy())
        with self.step("tempo"):
            row["tempo"] = float(librosa.feature.tempo(y=samples, sr=rate)[0])
        with self.step("centroid, zcr, rms, pitch"):
            row["centroid"] = float(librosa.feature.spectral_centroid(y=samples, sr=rate).mean())
            row["zcr"] = float(librosa.feature.zero_crossing_rate(samples).mean())
            row["rms"] = float(librosa.feature.rms(y=samples).mean())
            pitches, loud = librosa.piptrack(y=samples, sr=rate)
            row["pitch"] = float(pitches[loud > np.median(loud)].mean()) if loud.any() else 0.0
        return row

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds what happens inside to the time of a step."""
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started


def _frames(path: Path) -> Iterator[Any]:
    """Ten frames, evenly spread, a seek each."""
    video = cv2.VideoCapture(str(path))
    try:
        last = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) - 1
        for number in np.linspace(0, max(0, last), FRAMES).astype(int):
            video.set(cv2.CAP_PROP_POS_FRAMES, int(number))
            read, picture = video.read()
            if read:
                yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        video.release()


def _columns(name: str, values: Any) -> Row:
    return {f"{name}_{number}": float(value) for number, value in enumerate(values)}


def run(clips: Sequence[Path], out: Path, weights: str = "random") -> dict[str, Any]:
    """Extracts all clips into ``out/features.xlsx``.

    Returns:
        Clips, seconds and CPU seconds that they took, seconds per clip and step, and the seconds
        from the process's start until the first clip was done, as JSON values.
    """
    script = Script(weights)
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        script.clip(clips[0], folder)
        script.seconds.clear()
        cold = time.time() - psutil.Process().create_time()
        started, before = time.perf_counter(), _cpu_seconds()
        rows = [script.clip(one, folder) for one in clips]
        with script.step("Excel"):
            pd.DataFrame(rows).to_excel(out / "features.xlsx", index=False)
    return {
        "clips": len(rows),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - before,
        "cold_seconds": cold,
        "steps": {name: one / len(rows) for name, one in script.seconds.items()},
    }


def _cpu_seconds() -> float:
    """Of this process, and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clips", type=Path, help="folder of clips")
    parser.add_argument("out", type=Path, help="folder for features.xlsx")
    parser.add_argument("--weights", default="random", help="random or pretrained")
    given = parser.parse_args()
    clips = sorted(one for one in given.clips.iterdir() if one.suffix == ".mp4")
    print(json.dumps(run(clips, given.out, given.weights)))


if __name__ == "__main__":
    main()
