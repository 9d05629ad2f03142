"""Errors with advice, which the page and the API put into their own words."""

from __future__ import annotations

from enum import Enum

from lisa_micro.types import InputError


class Advice(Enum):
    """What a user can do about an error."""

    RESUME = "resume the run"
    WAIT = "wait until the job is done"
    SEND_AGAIN = "send the file again"


ON_PAGE = {
    Advice.RESUME: "press “Resume”",
    Advice.WAIT: "wait for it or stop it",
    Advice.SEND_AGAIN: "choose it again",
}


class AdvisedError(InputError):
    """An error whose message ends with advice, in the words of the page.

    Args:
        problem: what is wrong, without a full stop.
        advice: what the user can do about it.
    """

    def __init__(self, problem: str, advice: Advice):
        super().__init__(advised(problem, ON_PAGE[advice]))
        self.problem, self.advice = problem, advice


def advised(problem: str, advice: str) -> str:
    """Join a problem and an advice into one sentence."""
    return f"{problem}; {advice}."


def still_answering() -> AdvisedError:
    """The error for a request that is sent while the last one is being answered."""
    return AdvisedError("The last request is still being answered", Advice.WAIT)
