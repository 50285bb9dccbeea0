"""A tracked model as MLflow runs it, from this file: ``mlflow.pyfunc.load_model(uri)``.

MLflow keeps a copy of the file with every model; what it does is meldflow's, as installed.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("meldflow.predict")


class ClipModel(PythonModel):
    """Classifies clips by ``meldflow.tasks.training.predict``."""

    def load_context(self, context: Any) -> None:
        """Reads the model; the networks of its extractors load when they are first needed."""
        folder = Path(context.artifacts["model"])
        try:
            from meldflow.tasks.training.predict.predictor import load_predictor
        except ImportError as error:
            raise ImportError(
                f"another meldflow tracked this model than is installed here ({error}); its files "
                f"outlive releases: meldflow predict --model {folder}"
            ) from error
        self.predictor = load_predictor(folder)

    def predict(self, context: Any, model_input: Any, params: Any = None) -> pd.DataFrame:
        """One row per utterance: its ``label``, and a probability for each class.

        ``model_input`` is a table with columns ``clip`` (path), ``text`` and ``speaker``; each of
        them, and every cell, may be absent. Where nothing can be classified, the label is empty and
        the probabilities are NaN; the log says why.
        """
        import pandas as pd

        classes = self.predictor.model.classes
        rows = [self._row(one) for one in model_input.to_dict("records")]
        return pd.DataFrame(rows, columns=["label", *classes], index=model_input.index)

    def _row(self, cells: dict[str, Any]) -> dict[str, Any]:
        from meldflow.models.schema.errors import MeldflowError
        from meldflow.tasks.training.predict.records import Given

        said = (cells.get(name) for name in ("clip", "text", "speaker"))
        clip, text, speaker = (one if isinstance(one, str) else "" for one in said)  # None and NaN
        given = Given(clip=Path(clip) if clip else None, text=text, speaker=speaker)
        try:
            found = self.predictor.predict(given)
        except MeldflowError as error:
            logger.warning("%s", error)
            return {"label": ""} | dict.fromkeys(self.predictor.model.classes, math.nan)
        return {"label": found.label, **found.probabilities}


set_model(ClipModel())
