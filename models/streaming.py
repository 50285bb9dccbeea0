"""Features for training by gradient descent: partitions in random order, shuffled in memory.

Reading a partition whole costs far less than reading its rows one by one, so an epoch goes
through the partitions in random order, holds several of them and shuffles their rows. Imports
torch, so import it late.
"""

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset, get_worker_info

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, FeatureRow
from meldflow.models.schema.utterances import EMOTIONS

UNLABELLED = -1
"""The class of an utterance of which nobody said which emotion it has."""

_CLASSES = {"": UNLABELLED} | {emotion: number for number, emotion in enumerate(EMOTIONS)}


class Partitions(Protocol):
    """What a stream reads from; ``storage.Snapshot.partitions`` gives one.

    It has to pickle where a data loader has workers.
    """

    @property
    def arrays(self) -> Mapping[str, ArraySpec]:
        """``extractor/array`` → what the array is."""

    def sizes(self) -> Mapping[int, int]:
        """Number of each partition → how many rows it has."""

    def read(self, partition: int) -> Sequence[FeatureRow]:
        """All rows of a partition."""


class Batch(NamedTuple):
    """Some utterances, padded to the longest; a tuple, so that a data loader can pin it."""

    ids: list[str]
    rows: Tensor
    """Rows in the store, shape (n,)."""
    emotions: Tensor
    """Positions in ``EMOTIONS``, ``UNLABELLED`` where there is none, shape (n,)."""
    values: dict[str, Tensor]
    """``extractor/array`` → values in the dtype of the store, shape (n, longest, …) if it is
    ragged, else (n, …). Zero behind an utterance's last frame; all NaN (0 in integer arrays)
    where the feature is missing, so that a forgotten mask shows."""
    present: dict[str, Tensor]
    """``extractor/array`` → which utterances have the feature, shape (n,)."""
    lengths: dict[str, Tensor]
    """Ragged arrays only: frames per utterance, 0 where the feature is missing, shape (n,)."""
    masks: dict[str, Tensor]
    """Ragged arrays only: which frames are an utterance's own, shape (n, longest)."""
    missing: list[dict[str, str]]
    """Per utterance ``extractor/array`` → the reason why it is missing."""


class PartitionStream(IterableDataset[FeatureRow]):
    """The rows of a snapshot in random order, every one once per epoch.

    The order follows from seed, epoch, world size, rank and number of workers, and from nothing
    else. Whole partitions are dealt out, first to the ranks and then to each rank's workers:
    where they do not come out even, a rank gets up to one partition more than another, and a
    worker than its neighbour, and with fewer partitions than workers some get none. No row is
    repeated or dropped to even that out; a training loop over several ranks has to expect ends
    at different steps (torch's ``Join`` does).

    Give a ``DataLoader`` with workers ``multiprocessing_context="spawn"``: the libraries below
    the store run threads that a forked process lacks.
    """

    def __init__(
        self,
        partitions: Partitions,
        *,
        seed: int = 0,
        buffer: int = 8,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        """A stream at epoch 0.

        Args:
            partitions: what is read, for example ``snapshot.partitions("audio/librosa/frames")``.
            seed: any number from 0.
            buffer: partitions that each worker holds and shuffles at a time.
            rank: this process among the ``world_size`` that share the rows; None asks
                ``torch.distributed`` when an epoch begins, and without it there is one.
            world_size: how many such processes there are; None as for ``rank``.

        Raises:
            UsageError: seed, buffer or rank is out of range, or only one of ``rank`` and
                ``world_size`` is given.
        """
        super().__init__()
        if (rank is None) != (world_size is None):
            raise UsageError(f"rank is {rank} and world_size {world_size}: give both or neither")
        if rank is not None and world_size is not None and not 0 <= rank < world_size:
            raise UsageError(f"rank is {rank}: it has to be from 0 to {world_size - 1}")
        if buffer < 1 or seed < 0:
            raise UsageError(f"buffer is {buffer}, at least 1; seed is {seed}, at least 0")
        self.partitions = partitions
        self.seed = seed
        self.buffer = buffer
        self._process = None if rank is None or world_size is None else (rank, world_size)
        # A tensor, which torch shares with the workers: those that outlive an epoch keep their
        # copy of the stream, and would never hear of the next.
        self._epoch = torch.zeros((), dtype=torch.int64)

    @property
    def epoch(self) -> int:
        """The epoch whose order is next."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order; call it before each epoch, or they are all alike.

        Raises:
            UsageError: ``epoch`` is below 0.
        """
        if epoch < 0:
            raise UsageError(f"epoch is {epoch}, at least 0")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Rows that this rank gets in this epoch, all its workers together."""
        sizes = self.partitions.sizes()
        return sum(sizes[partition] for partition in self._dealt((0, 1)))

    def __iter__(self) -> Iterator[FeatureRow]:
        """The rows of this rank's worker, or of the rank where it has no workers.

        Raises:
            UsageError: the data loader forked its worker.
        """
        worker = _worker()
        dealt = self._dealt(worker)
        seeds = np.random.SeedSequence([self.seed, self.epoch], spawn_key=self._rank() + worker)
        random = np.random.default_rng(seeds)
        for first in range(0, len(dealt), self.buffer):
            held = dealt[first : first + self.buffer]
            rows = [row for partition in held for row in self.partitions.read(partition)]
            random.shuffle(rows)
            while rows:  # emptied, so that the next partitions do not come on top of these
                yield rows.pop()

    def __getstate__(self) -> dict[str, Any]:
        """The stream as a worker gets it: with the rank, which the worker cannot ask for."""
        return self.__dict__ | {"_process": self._rank()}

    def collate(self, rows: Sequence[FeatureRow]) -> Batch:
        """A data loader's ``collate_fn``: see ``pad``."""
        return pad(rows, self.partitions.arrays)

    def _rank(self) -> tuple[int, int]:
        if self._process is not None:
            return self._process
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1

    def _dealt(self, worker: tuple[int, int]) -> list[int]:
        """Partitions in their order, dealt like cards: nobody gets two more than another."""
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(sorted(self.partitions.sizes()))
        (rank, world_size), (number, of) = self._rank(), worker
        return [int(one) for one in order[rank::world_size][number::of]]


def pad(rows: Sequence[FeatureRow], arrays: Mapping[str, ArraySpec]) -> Batch:
    """Some utterances as one batch.

    Args:
        rows: the utterances, at least one.
        arrays: ``extractor/array`` → what the array is; those that the batch shall have.
    """
    values, present, lengths, masks = (dict[str, Tensor]() for _ in range(4))
    for path, spec in arrays.items():
        frames = () if spec.rate is None else (0,)
        none = np.zeros((*frames, *spec.shape), spec.dtype)
        found = [torch.from_numpy(np.asarray(row.arrays.get(path, none))) for row in rows]
        present[path] = torch.tensor([path in row.arrays for row in rows])
        if frames:
            lengths[path] = torch.tensor([len(one) for one in found])
            masks[path] = torch.arange(max(map(len, found))) < lengths[path][:, None]
        padded = pad_sequence(found, batch_first=True) if frames else torch.stack(found)
        if padded.is_floating_point():
            padded[~present[path]] = torch.nan
        values[path] = padded
    return Batch(
        ids=[row.id for row in rows],
        rows=torch.tensor([row.row for row in rows]),
        emotions=torch.tensor([_CLASSES[row.emotion] for row in rows]),
        values=values,
        present=present,
        lengths=lengths,
        masks=masks,
        missing=[dict(row.missing) for row in rows],
    )


def _worker() -> tuple[int, int]:
    """Number of this data-loading worker, and how many there are; (0, 1) outside of one."""
    worker = get_worker_info()
    if worker is None:
        return 0, 1
    forked = multiprocessing.get_context("fork").Process
    if isinstance(multiprocessing.current_process(), forked):
        # It would wait for the parent's threads for ever (tried: no answer in 40 s).
        raise UsageError(
            "a forked worker cannot read the store: give the DataLoader "
            'multiprocessing_context="spawn"'
        )
    return worker.id, worker.num_workers
