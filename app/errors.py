"""Errors with advice, which the page and the API put into words of their own."""

from __future__ import annotations

from enum import Enum

from lisa_micro.types import InputError


class Advice(Enum):
    """What a user can do about an error."""

    RESUME = "resume the run"
    WAIT = "wait until the job is done"
    SEND_AGAIN = "send the file again"


ON_PAGE = {
    Advice.RESUME: "press “Go on”",
    Advice.WAIT: "wait for it or stop it",
    Advice.SEND_AGAIN: "choose it again",
}


class AdvisedError(InputError):
    """An error whose message on the page ends with the page's words for an advice.

    Args:
        problem: what is wrong, without a full stop.
        advice: what can be done about it.
    """

    def __init__(self, problem: str, advice: Advice):
        super().__init__(advised(problem, ON_PAGE[advice]))
        self.problem, self.advice = problem, advice


def advised(problem: str, advice: str) -> str:
    """A sentence from a problem and an advice."""
    return f"{problem}; {advice}."
