"""The cases of the load test, shared by `load.py` and `load_people.py`."""

NAME = "person-{}"
PASSWORD = "under load"  # noqa: S105 (of accounts that live for a minute)

ALONE = ("nothing", "home", "inbox", "form", "close", "compose with HTMX", "compose, plain")
PREPARATION = {
    "close": ("list beforehand", 0.5),
    "compose with HTMX": ("form beforehand", 1.5),
    "compose, plain": ("form beforehand", 1.5),
}
"""The preparation for a case that is measured alone, and its duration relative to that of the
case."""
MIX = (
    "home",
    "compose with HTMX",
    "inbox",
    "close",
    "home",
    "nothing",
    "inbox",
    "compose, plain",
    "home",
    "close",
    "inbox",
)
"""One turn of one user. It sends as many letters as it closes messages, so that mailboxes stay
full."""
LETTER = "Can you take Thursday? I have swapped with Jun, and the rota is on the wall. " * 4
NOTICE = "The next run is at 02:00. " * 6
