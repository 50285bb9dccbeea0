"""The benches, as ``docs/performance.md`` and the screen introduce them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What is said of a bench."""

    name: str
    """Its command; its JSON is ``NAME.json``."""
    title: str
    about: str
    """How to read the figures."""
    figures: tuple[str, ...]
    """Those of its JSON that are shown; see ``tables``."""
    within: str = ""
    """A bench that measures this as well, and prints it under this name; it is run instead."""

    @property
    def line(self) -> str:
        """The command as one types it."""
        return f"python -m tests.bench {self.name} --json"


SECTIONS: Sequence[Section] = (
    Section(
        name="extract",
        title="Extraction against the usual scripts",
        figures=("ratio", "meldflow", "usual.clips_per_second", "usual.steps"),
        about="Both did the same clips in turns, so that the ratio holds although the machine's "
        "speed changes; min and max are the extremes of the rounds. The script is one process that "
        "uses all cores within each operation, as people run it: a part of its CPU time is threads "
        "that wait for one another, and a part of the ratio is that meldflow's clips run side by "
        "side.",
    ),
    Section(
        name="stages",
        title="Where the CPU goes",
        within="limit",
        figures=("precisions.*.cpu_ms_per_clip", "precisions.*.at_meld"),
        about="`decode` and the extractors are the work; the rest is orchestration and storage. "
        "`cpu_ms_per_clip` is what each further clip costs on warm workers, `at_meld` adds what a "
        "run costs at all, spread over MELD's 13,708 utterances.",
    ),
    Section(
        name="limit",
        title="How near that is to the least possible",
        figures=("precisions.*.best", "precisions.*.parts", "gflop", "rates"),
        about="The floor is decoding alone, and the networks' operations at the rate of the "
        "fastest kernel found here, one thread each and all cores at it. A multiple of 1 cannot be "
        "reached: the floor leaves out everything else, and no network consists of its fastest "
        "kernel. OpenVINO's kernels are given fp32 and convert it, so that the rates compare no "
        "libraries. MiniLM always computes in fp32.",
    ),
    Section(
        name="scale",
        title="More workers",
        figures=("real", "factor", "simulated", "linear_until"),
        about="Simulated workers sleep for as long as a real one works; server, scheduler, flow, "
        "graph and commits are real, but the features are tiny, so that nothing is said of the "
        "bandwidth of store and clips. Efficiency is the clips per second against workers that "
        "never wait, while all have work, and with the end of the run.",
    ),
    Section(
        name="fidelity",
        title="What is fast against what is exact",
        figures=("networks",),
        about="Rows of features are compared with those by torch in fp32, where a cosine of 1 is "
        "the same direction.",
    ),
    Section(
        name="gpu",
        title="On a GPU",
        figures=("decoding", "networks", "cpu", "ways", "at_once"),
        about="Decoding and the networks alone, then whole extractions on warm workers: a process "
        "for the networks, fed by one decoding process per core. Agreement is with the same clips "
        "on the CPU in fp32. Where no card is named, a worker on the CPU stood for it, and nothing "
        "is said of speed.",
    ),
    Section(
        name="seam",
        title="Windows of long sound",
        figures=("seams",),
        about="Frames of wav2vec 2.0 in windows of 15 s, compared with one pass over the whole "
        "sound by their cosine; `lowest_within` is the worst frame so near a seam. The "
        "convolutions see the same in both; what is left is that attention ends with its window, "
        "anywhere in it and no more at a seam.",
    ),
    Section(
        name="candidates",
        title="Fewer frames to choose from",
        figures=("clips", "medians"),
        about="`--candidates reference` passes over pictures that no other is coded from. `same` "
        "is the share of the frames that are chosen either way, `cosine` that of the means over "
        "the chosen frames' features, `chance` that of two different clips. CPU of decoding and "
        "choosing, without the sound. Clips in which nothing is passed over are left out.",
    ),
    Section(
        name="pitch",
        title="Pitch",
        figures=("pitch", "contours", "cpu_ms_per_second"),
        about="`A / B`: frames of A judged by B. Voicing: frames on which they differ; missed and "
        "invented: of those voiced, and unvoiced, in B. Of frames voiced in both: gross are more "
        "than 20 % off, cents is the median distance. The last column is the mean f0 of A over "
        "that of B.",
    ),
    Section(
        name="orchestrate",
        title="Orchestration alone",
        figures=("fixed.cpu_seconds", "sizes", "task_runs_lost"),
        about="Nothing is extracted, everything else is real; what remains is the price of an "
        "utterance's way through the system.",
    ),
    Section(
        name="store",
        title="The store",
        figures=("growth", "reading.rounds", "reading.cpu_ratio"),
        about="Each operation runs in a process of its own; `nothing` is the memory of one that "
        "does none. Features are cheap stand-ins, in partitions of 1,024 utterances.",
    ),
    Section(
        name="train",
        title="Training",
        figures=("costs", "times_as_fast"),
        about="Real trainings to convergence, on noise in the shape of all extractors' features "
        "with some emotion in it. How much decides when dev is best, so seconds of MELD's own "
        "features differ. Stages are those of the first fit, memory that of a worker.",
    ),
)
