"""Requests and the vote on them: what one rank asks for, all do; nothing is lost, nothing is done twice."""

from typing import Any

import pytest
import torch
from torch import Tensor

from megalite.training.save_or_stop import Request, Requests

CPU = torch.device("cpu")


def job_of_two(monkeypatch: pytest.MonkeyPatch, other: Requests) -> None:
    """This process is rank 1; ``other`` holds the requests of rank 0."""

    def all_reduce(votes: Tensor) -> None:
        votes += torch.tensor([request in other._pending for request in Request])

    def all_gather_object(reasons: list[Any], own: Any) -> None:
        reasons[:] = [(other.stop_reason, other.exit_code), own]

    for name, stands_for in {
        "is_initialized": lambda: True,
        "get_world_size": lambda: 2,
        "all_reduce": all_reduce,
        "all_gather_object": all_gather_object,
    }.items():
        monkeypatch.setattr(torch.distributed, name, stands_for)


def test_a_request_is_granted_once() -> None:
    requests = Requests()
    assert requests.vote(CPU) == set()
    requests.ask(Request.SAVE)
    requests.ask(Request.SAVE)
    assert requests.vote(CPU) == {Request.SAVE}
    assert requests.vote(CPU) == set()
    assert not requests.all_stop


def test_all_ranks_do_what_one_rank_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    other, own = Requests(), Requests()
    job_of_two(monkeypatch, other)
    other.ask(Request.STOP, "SIGUSR1", 10)
    own.ask(Request.SAVE)
    assert own.vote(CPU) == {Request.SAVE, Request.STOP}
    assert own.all_stop
    assert (own.stop_reason, own.exit_code) == ("SIGUSR1", 138)
    assert str(own.stopped("all is saved")) == "stopped by SIGUSR1; all is saved"


def test_the_first_reason_stays_and_the_first_rank_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    other, own = Requests(), Requests()
    job_of_two(monkeypatch, other)
    own.ask(Request.STOP, "Ctrl-C", 2)
    own.ask(Request.STOP, "SIGTERM", 15)
    assert (own.stop_reason, own.exit_code) == ("Ctrl-C", 130)
    own.vote(CPU)
    assert (own.stop_reason, own.exit_code) == ("Ctrl-C", 130)
    other.ask(Request.STOP, "SIGUSR1", 10)
    own.ask(Request.STOP)
    own.vote(CPU)
    assert (own.stop_reason, own.exit_code) == ("SIGUSR1", 138)


def test_the_end_of_the_run_needs_no_reason() -> None:
    requests = Requests()
    requests.ask(Request.STOP)
    assert requests.vote(CPU) == {Request.STOP}
    assert (requests.all_stop, requests.stop_reason) == (True, None)


def test_a_request_made_during_the_vote_waits_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Requests()
    job_of_two(monkeypatch, Requests())
    own.ask(Request.SAVE)
    plain = torch.distributed.all_reduce

    def interrupted(votes: Tensor) -> None:
        own.ask(Request.STOP, "SIGTERM")
        plain(votes)

    with monkeypatch.context() as during:
        during.setattr(torch.distributed, "all_reduce", interrupted)
        assert own.vote(CPU) == {Request.SAVE}
    assert own.vote(CPU) == {Request.STOP}
