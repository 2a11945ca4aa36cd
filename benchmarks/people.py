"""The cost of completing a name among very many users."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import override_settings

from persistent_messages import send_letter
from persistent_messages.letters import autocomplete

from . import measure
from .cases import Result

MOST = 500
TYPED = ("zz", "user", "user99")
LETTERS = {"LETTERS": True, "SEND_RATE": None}


def team_mates(user):
    return get_user_model().objects.filter(groups__user=user)


def measure_all(size: int) -> Iterator[Result]:
    """Measure completion for a user with forty correspondents among `size` users."""
    model = get_user_model()
    user = model.objects.create(username="completing")
    first = list(model.objects.filter(username__startswith="user").order_by("pk")[:40])
    with override_settings(PERSISTENT_MESSAGES=LETTERS):
        for person in first:
            send_letter(user, person, "", "Hello")
    team = Group.objects.create(name="Team")
    team.user_set.add(user, *first[:20])
    for name, more in (
        ("a name is completed, N users", {}),
        ("the same, within a team of 20", {"RECIPIENTS": team_mates}),
    ):
        with override_settings(PERSISTENT_MESSAGES={**LETTERS, **more}):
            yield _completion(name, user, size)


def _completion(name: str, user, size: int) -> Result:
    def bare():
        # The minimum: one lookup in the index.
        list(get_user_model().objects.filter(username="user99").values_list("pk"))

    works = [
        measure.work_of(partial(autocomplete.suggestions, user, text), table="") for text in TYPED
    ]
    timing = measure.time_both(partial(autocomplete.suggestions, user, "user99"), bare)
    most = max((work.visited for work in works if work.visited is not None), default=None)
    scans = {index for work in works for index in work.indexes if index.startswith("SCAN")}
    return Result(
        name,
        size,
        str(max(work.queries for work in works)),
        "" if most is None else str(most),
        f"{timing.ratio:.2f} × {timing.bare * 1e6:,.0f} µs",
        f"{MOST} rows, no table read whole",
        (most or 0) <= MOST and not scans,
    )
