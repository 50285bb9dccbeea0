"""How far every backend and precision that runs here agrees with single precision by torch."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meldflow.models.clips.decode import decode
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Media, Missing
from tests.bench.agreement.precision import Computed, computed
from tests.bench.clips.material import material


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """What the bench found."""

    networks: tuple[Computed, ...]
    """By network, backend and precision."""
    weights: str
    """Those of the networks: ``pretrained``, ``random`` or a path."""

    @property
    def lowest_cosine(self) -> float | None:
        """Of all rows of all networks; None where none ran."""
        found = (deviation.lowest for one in self.networks for deviation in one.deviations)
        return min(found, default=None)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; shares of nothing are null."""
        values: dict[str, Any] = _without_nan(asdict(self) | {"lowest_cosine": self.lowest_cosine})
        return values


def fidelity(
    directory: Path | None,
    *,
    clips: int,
    weights: str,
    say: Callable[[str], None],
) -> Fidelity:
    """Compares the networks.

    Args:
        directory: where the clips are that the networks get; None: some of the demo are made.
        clips: how many of them.
        weights: of the networks: ``pretrained``, ``random`` or a path.
        say: told what is being done.

    Raises:
        UsageError: the clips or the weights cannot be used.
    """
    networks = tuple(computed(_media(directory, clips, say), weights, say))
    return Fidelity(networks=networks, weights=weights)


def _media(directory: Path | None, clips: int, say: Callable[[str], None]) -> list[Media]:
    """What is seen and heard in the clips."""
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as folder:
        several = material(directory, clips, Path(folder), say)
        decoded = [decode(one.clip) for one in several]
    media = [Media(audio=one.audio, video=one.video, text="") for one in decoded]
    for name in ("audio", "video"):
        if all(isinstance(getattr(one, name), Missing) for one in media):
            raise UsageError(f"clips {directory}: none of the {clips} has usable {name}")
    return media


def _without_nan(value: Any) -> Any:
    """Without what JSON does not have, and no more digits than mean something."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
