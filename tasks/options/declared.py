"""``extractors.yaml``: the extractors of a corpus, with their checkpoints and parameters.

audio/wavlm:   {kind: audio/speech, checkpoint: microsoft/wavlm-base-plus, layers: [6, 9, 12]}
audio/librosa: {f0: pyin}
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from meldflow.models.extractors.encoder import is_folder
from meldflow.models.schema.errors import UsageError

_OWN = ("kind", "checkpoint", "weights")


def read_declared(files: Sequence[str]) -> dict[str, dict[str, str]]:
    """The fields of an extraction that files of extractors fill.

    What has no kind is an extractor that is known by its name. Folders are seen from the file.

    Raises:
        UsageError: a file cannot be read, or is none of extractors.
    """
    found: dict[str, dict[str, str]] = {"instances": {}, "weights_of": {}, "parameters": {}}
    for file in map(Path, files):
        for name, said in _read(file).items():
            kind, checkpoint, weights = (str(said.get(one, "")) for one in _OWN)
            if bool(kind) != bool(checkpoint):
                raise UsageError(f"{file}: {name} needs both a kind and a checkpoint, or neither")
            declared = f"{kind} {_placed(checkpoint, file)}" if kind else name
            found["instances"][name] = declared
            found["weights_of"] |= {name: _placed(weights, file)} if weights else {}
            found["parameters"] |= {
                f"{name}.{one}": _typed(value) for one, value in said.items() if one not in _OWN
            }
    return found


def as_file(declared: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a file of extractors, which ``read_declared`` reads again."""
    return yaml.safe_dump({name: dict(one) for name, one in declared.items()}, sort_keys=False)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        said = yaml.safe_load(file.expanduser().read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(said, dict) or not all(isinstance(x, dict | None) for x in said.values()):
        raise UsageError(f"{file}: give NAME: {{kind: …, checkpoint: …}} for each extractor")
    return {str(name): one or {} for name, one in said.items()}


def _placed(where: str, file: Path) -> str:
    if not is_folder(where):
        return where
    return str((file.expanduser().absolute().parent / Path(where).expanduser()).resolve())


def _typed(value: Any) -> str:
    """As it is typed behind ``--set``."""
    if isinstance(value, list):
        return ",".join(map(_typed, value))
    return "none" if value is None else str(value)
