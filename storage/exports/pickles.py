"""Pickles that any NumPy can load."""

import pickle
from typing import Any

import numpy as np


class PortablePickler(pickle.Pickler):
    """Writes arrays through ``numpy.ndarray`` and ``numpy.dtype`` alone.

    NumPy's own way names a function of ``numpy._core``, which NumPy 1 does not have, and the
    trainers of the community are often run with that.
    """

    def reducer_override(self, array: Any) -> Any:
        """See ``pickle.Pickler``."""
        if not isinstance(array, np.ndarray):
            return NotImplemented
        content = array.ravel().tolist() if array.dtype.hasobject else array.tobytes()
        state = (1, array.shape, array.dtype, False, content)
        return np.ndarray, ((0,), array.dtype), state
