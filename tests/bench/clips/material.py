"""Clips to measure with: a few of a folder's, listed as often as a bench needs utterances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import Utterance
from meldflow.tasks.dataset import take_in, take_in_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A clip, and what is said in it."""

    clip: Path
    text: str
    seconds: float
    """By its header."""


def material(
    directory: Path | None, clips: int, folder: Path, say: Callable[[str], None]
) -> tuple[Material, ...]:
    """So many clips of a data set or a folder of clips, evenly spread; all where it has fewer.

    Args:
        directory: a folder with annotation files and clips, or with clips alone, whose words may
            lie in ``.txt`` files beside; or a table of clips. Where it is not there, so many clips
            in MELD's format and of its lengths are made there; None: they are made in ``folder``.
        clips: how many.
        folder: for what is not kept.
        say: told what is being done.

    Raises:
        UsageError: it cannot be read, or none of its clips is there.
    """
    directory = directory or folder / "clips"
    if not directory.exists():
        from tests.bench.clips.broadcast import make_clips  # what draws them may not be installed

        made = count(1)
        say(f"making {clips} clips")
        make_clips(directory, clips, 0, lambda: say(f"making {clips} clips: {next(made)} made"))
    say("reading the clips")
    plain = directory.is_dir() and not any(directory.rglob("*.csv"))
    taken = take_in_folder(directory) if plain else take_in(directory)
    found = [
        Material(clip=Path(one.clip.path), text=_text(one), seconds=one.clip.seconds)
        for one in taken.utterances
        if one.clip.size
    ]
    if not found:
        raise UsageError(f"clips {directory}: none of its utterances has a clip")
    number = min(clips, len(found))
    return tuple(found[i * len(found) // number] for i in range(number))


def _text(one: Utterance) -> str:
    return one.text.strip() or f"So this is what they say in {one.id}."
