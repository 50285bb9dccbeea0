"""The clip of every utterance: which file it is, what its header says, what its bytes are.

Headers are read in child processes, so that no clip can end the intake. A file that was
catalogued before, with the same size and time of change, is not read again.
"""

import dataclasses
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeAlias

from meldflow.models.files import checksum
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing, Probe, Reason
from meldflow.models.schema.utterances import Clip, Utterance
from meldflow.storage.format.catalogue import NO_FILE, listing
from meldflow.storage.format.columns import Records, blocks
from meldflow.tasks.dataset.layout import is_recut
from meldflow.tasks.dataset.records import ABSENT, Finding, Kind, Known, Wanted
from meldflow.tasks.dataset.tree import is_media, is_text
from meldflow.tasks.isolated.decoder import probe_all
from meldflow.tasks.pages.progress import progress

TOLERANCE_SECONDS = 0.5
"""A clip and its row may differ by so much. MELD's clips are cut on video frames (42 ms) and
their sound ends on a packet (21 ms), so a tenth of a second is ordinary and half of one is not."""

TOLERANCE_SHARE = 0.1
"""Or by this share of the row: a 25 fps broadcast of 24 fps film runs 4 % faster."""

Header: TypeAlias = float | Missing
"""Seconds that a file's header declares (NaN: none), or why it cannot be read."""


def take_clips(
    wanted: Iterable[Wanted], *, known: Mapping[str, Known], checksums: bool = True
) -> tuple[Records[Utterance], tuple[Finding, ...]]:
    """The utterances with their clips, which are chosen, read and checked, and what is to be said.

    ``known``: path → what the store has of it; ``checksums``: whether the chosen files are hashed.

    Raises:
        UsageError: a path is not valid Unicode, so that no store can keep it.
    """
    findings: list[Finding] = []

    def taken() -> Iterator[Utterance]:
        for some in blocks(wanted):
            yield from _taken(some, known, checksums, findings)

    return listing(taken()), tuple(findings)


def _taken(
    wanted: Sequence[Wanted], known: Mapping[str, Known], checksums: bool, findings: list[Finding]
) -> Iterator[Utterance]:
    """``take_clips`` of some, whose files are looked at together; adds to ``findings``."""
    paths = dict.fromkeys(_absolute(path) for one in wanted for path in one.candidates)
    files = {path: _look(path, known.get(path)) for path in paths}
    headers = _read_headers(files)
    chosen = [_choose(one, headers) for one in wanted]
    digests = _hash(dict.fromkeys(filter(None, chosen)), files) if checksums else {}
    for one, path in zip(wanted, chosen, strict=True):
        if path is not None:
            clip = _clip(path, files[path], headers[path], digests.get(path))
        else:
            clip = dataclasses.replace(ABSENT, path=_absolute(one.expected) if one.expected else "")
        findings += _findings(one, path, headers)
        yield dataclasses.replace(one.utterance, clip=clip)


def no_clips(files: Iterable[Path], known: Mapping[str, Known]) -> dict[Path, str]:
    """File → why it is no clip: FFmpeg has a look at those whose names do not tell.

    What was a clip for the store, ``known`` by its path, is one until it changes.
    """
    paths = {_absolute(file): file for file in files if not is_media(file.name)}
    unsure = [one for one in paths if one not in known or _look(one, known[one]) != known[one].clip]
    with progress("looking into files", len(unsure), "files") as advance:
        probes = zip(unsure, probe_all(unsure, advance), strict=True)
    return {paths[path]: why for path, probe in probes if (why := _unfit(probe))}


def _unfit(probe: Probe | Missing) -> str:
    """Why a file is no clip; empty where it is one."""
    if isinstance(probe, Missing):
        return f"cannot be opened ({probe.message})"
    still = probe.container.endswith("_pipe")  # as FFmpeg calls formats of single pictures
    if probe.audio.codec or (probe.video.codec and not still):
        return ""
    return f"holds no sound and no moving pictures ({probe.container})"


def _look(path: str, known: Known | None) -> Clip | None:
    """The clip as catalogued, or without checksum if it changed; none if it is no regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # a null byte in the name; the decoder will say why
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    before = known.clip if known else None
    if before and (before.size, before.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return before
    size, changed = status.st_size, status.st_mtime_ns
    return dataclasses.replace(ABSENT, path=path, size=size, mtime_ns=changed)


def _read_headers(files: Mapping[str, Clip | None]) -> dict[str, Header]:
    """Path → header; one that was read before and declared a duration still does."""
    headers: dict[str, Header] = {
        path: file.seconds for path, file in files.items() if file and not math.isnan(file.seconds)
    }
    unread = [path for path in files if path not in headers]
    with progress("reading headers", len(unread), "clips") as advance:
        probes = probe_all(unread, advance)
    for path, probe in zip(unread, probes, strict=True):
        headers[path] = probe if isinstance(probe, Missing) else probe.seconds
    return headers


def _choose(wanted: Wanted, headers: Mapping[str, Header]) -> str | None:
    """The readable candidate whose duration is nearest to the row's, ties to the first."""

    def distance(path: str) -> tuple[bool, float]:
        header = headers[path]
        if isinstance(header, Missing):
            return True, math.inf
        apart = abs(header - wanted.utterance.seconds)
        return False, math.inf if math.isnan(apart) else round(apart, 3)

    return min(map(_absolute, wanted.candidates), key=distance, default=None)


def _hash(paths: Iterable[str], files: Mapping[str, Clip | None]) -> dict[str, bytes]:
    """Path → SHA-256; ``NO_FILE`` for one that cannot be read to its end."""
    unread = [path for path in paths if (one := files[path]) and one.sha256 == NO_FILE]

    def digest(path: str) -> bytes:
        found = checksum(path) or NO_FILE
        advance(1)
        return found

    with (
        progress("reading clips", len(unread), "clips") as advance,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        return dict(zip(unread, pool.map(digest, unread), strict=True))


def _clip(path: str, file: Clip | None, header: Header, digest: bytes | None) -> Clip:
    digest = digest or (file.sha256 if file else NO_FILE)
    if file is None or digest == NO_FILE:  # so that it is read again next time
        file = dataclasses.replace(ABSENT, path=path)
    seconds = math.nan if isinstance(header, Missing) else header
    return dataclasses.replace(file, sha256=digest, seconds=seconds)


def _findings(wanted: Wanted, path: str | None, headers: Mapping[str, Header]) -> Iterator[Finding]:
    row = wanted.utterance

    def finding(kind: Kind, detail: str, decision: str) -> Finding:
        return Finding(kind, row.split, row.id, detail, decision)

    if path is None:
        where = f"no file {wanted.expected}" if wanted.expected else "no file is named for it"
        yield finding(Kind.MISSING_CLIP, where, _without(Reason.MISSING_FILE))
        return
    header = headers[path]
    if detail := _twins(wanted, headers):
        yield finding(Kind.TWIN, detail, f"{Path(path).name} is used")
    if isinstance(header, Missing):
        gone = header.reason is Reason.MISSING_FILE
        kind = Kind.MISSING_CLIP if gone else Kind.UNREADABLE_CLIP
        detail = header.message if gone else f"{path}: {header.message}"
        yield finding(kind, detail, _without(header.reason))
    elif row.seconds > 0 and abs(header - row.seconds) > max(
        TOLERANCE_SECONDS, TOLERANCE_SHARE * row.seconds
    ):
        detail = f"its row lasts {row.seconds:.3f} s, its clip {header:.3f} s"
        yield finding(Kind.DURATION_DIFFERS, detail, "the whole clip is used")


@cache  # one text for all
def _without(reason: Reason) -> str:
    return f"its sound and pictures end as {reason.value}, its text is used"


def _twins(wanted: Wanted, headers: Mapping[str, Header]) -> str:
    """What is to be said of several files, or of a re-cut one alone; empty where nothing is."""
    paths = wanted.candidates
    if len(paths) == 1:
        return f"there is only {paths[0].name}, cut again" if is_recut(paths[0]) else ""
    said = [f"{path.name} ({_said(headers[_absolute(path)])})" for path in paths]
    seconds = wanted.utterance.seconds
    row = "" if math.isnan(seconds) else f"; its row lasts {seconds:.3f} s"
    return f"{' and '.join(said)}{row}"


def _said(header: Header) -> str:
    if isinstance(header, Missing):
        return header.reason.value
    return "of no declared duration" if math.isnan(header) else f"{header:.3f} s"


def _absolute(path: Path) -> str:
    text = str(path.absolute())
    if not is_text(text):
        raise UsageError(f"clip {text!r}: its path is not valid Unicode; rename it")
    return text
