"""Where meldflow and the others differ, and why that is known to be right."""

from __future__ import annotations

from collections.abc import Sequence

_DAMAGE = "damaged: meldflow takes up pictures at the next key frame, the others go on with errors"
_MUSIC = "a film without speech: whether music has a voice is a matter of taste"
_UNCLEAR = "no clear voice: Praat and pYIN differ from each other in a third of the frames"
_PRE_SKIP = "0.83 s are declared not to be played: meldflow starts where sound does, FFmpeg waits"

EXPLAINED: Sequence[tuple[str, str, str]] = (
    ("*annex-b.mp4", "entropy*", "damaged: how a lost picture is patched depends on the threads"),
    ("*corrupted.mp4", "pictures: frames", _DAMAGE),
    ("demo.og[gv]", "pictures: frames", _DAMAGE),
    ("demo.webm", "sound: alike*", "time stamps in milliseconds: FFmpeg bends sound to them"),
    ("*bigbuckbunny.mp4", "voicing*", _MUSIC),
    ("*nasa_13013.mp4", "voicing*", "the others take music 16 dB below the speaker for a voice"),
    ("inverted.mp4", "sound*", "the channels cancel: meldflow hears one, the others hear noise"),
    ("jump1000.ts", "pictures: furthest*", "the clock jumps by 1000 s; PyAV alone does not follow"),
    ("lost.webm", "sound: late*", "the click lies at 19.00 s with meldflow, at 18.92 with FFmpeg"),
    ("*opus_audioinit.mp4", "sound*", _PRE_SKIP),
    ("*opus_audioinit.mp4", "voicing*", _UNCLEAR),
    ("*opus_audioinit.mp4", "pitch*", _UNCLEAR),
)
"""Name of the clip, what differs (both may hold ``*``), and the reason."""
