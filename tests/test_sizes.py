"""The compressed sizes of scripts, styles and responses stay within their limits."""

import gzip

import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse

from .pages import HTMX

KIB = 1024
# A page of the inbox, with everything that a response may update.
SHOWN = {"pm-part": ["list", "strip", "counter"], "pm-filter": "?", "pm-page": "1"}


def compressed(data):
    return len(gzip.compress(data))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("persistent_messages.css", 6 * KIB),
        ("persistent_messages.js", 5 * KIB),
        # Loaded only for signed-in users.
        ("tabs.js", 3 * KIB),
        # Loaded only on pages with a form.
        ("letters.js", 5 * KIB),
        # Loaded only on pages with a list, a message or the bell.
        ("list.js", 5 * KIB),
    ],
)
def test_style_sheet_and_scripts_are_small(name, bound):
    path = finders.find(f"persistent_messages/{name}")
    with open(path, "rb") as file:  # noqa: PTH123 (finders give a string)
        assert compressed(file.read()) < bound


@pytest.mark.parametrize("name", ["message_mark_read", "message_archive", "message_delete"])
@pytest.mark.parametrize("acted_from", ["row", "strip"])
def test_response_to_action_is_small(client, send, name, acted_from):
    for number in range(30):
        message = send(f"Number {number}: the disk quota was reached.", subject="Nightly export")
    shown = {**SHOWN, "pm-from": acted_from, "pm-row": message.pk, "pm-notice": message.pk}

    answer = client.post(reverse(name, args=[message.pk]), shown, headers=HTMX)

    assert compressed(answer.content) < 2 * KIB
