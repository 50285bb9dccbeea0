"""What our extractors say of their arrays, for those who read them from a store."""

from __future__ import annotations

import numpy as np

from meldflow.models.extractors.registry import build
from meldflow.storage.format.axes import axes_of


def test_our_extractors_share_dimensions_and_say_what_their_arrays_are() -> None:
    specs = {one.spec.name: one.spec for one in build(None, {}, "random")}
    assert all(array.long_name for spec in specs.values() for array in spec.arrays)
    sizes = {"frames": np.array([2])}
    pictures = axes_of(specs["video/resnet50"].arrays, {}).dims
    assert {dims[:2] for dims in pictures.values() if len(dims) > 1} == {("utterance", "keyframe")}
    voice = axes_of(specs["audio/librosa"].arrays, sizes)
    assert voice.dims["frames"] == ("frame", "descriptor")
    assert [len(one) for one in voice.labels.values()] == [30, 210]
    assert axes_of(specs["audio/wav2vec2"].arrays, sizes).dims["mean"] == ("utterance", "wav2vec2")
