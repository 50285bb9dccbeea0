"""What only a GPU can show. ``make gpu`` runs it; without one, the CPU stands for it, so that the
first minute on a card is not spent on what any machine could have told.
"""

from __future__ import annotations

from typing import Literal

import torch

DEVICE: Literal["cuda", "cpu"] = "cuda" if torch.cuda.is_available() else "cpu"
"""What the networks run on."""
