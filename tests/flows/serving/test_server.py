from __future__ import annotations

import httpx
import pytest

from meldflow.flows.serving.server import outcome
from meldflow.models.schema.errors import RunError


class Engine:
    """Stands for a flow whose server goes away after its body, or before."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        self.error, self.late = error, late

    def fn(self, number: int) -> int:
        return 2 * number

    def __call__(self, number: int) -> int:
        if self.late:
            self.fn(number)
        raise self.error


AWAY = (httpx.ConnectError("refused"), RuntimeError("Failed to reach API at http://x/api/"))


@pytest.mark.parametrize("error", AWAY)
def test_what_a_flow_gave_is_not_lost_with_its_server(error: Exception) -> None:
    assert outcome(Engine(error, late=True), 21) == 42


@pytest.mark.parametrize("error", AWAY)
def test_a_server_that_goes_before_the_end_is_told_in_one_line(error: Exception) -> None:
    with pytest.raises(RunError, match="run again once it is back"):
        outcome(Engine(error, late=False), 21)


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="mine"):
        outcome(Engine(RuntimeError("mine"), late=True), 21)
