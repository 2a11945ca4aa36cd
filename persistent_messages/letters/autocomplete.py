"""Find the users that a sender means: completion while typing, and names in a form.

Whatever is typed, at most a few hundred rows of any table are read. Strangers are found by a range
of the index on the username, or by RECIPIENTS if an index leads to a few users. Other names find
only the user's recent correspondents.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import CharField, EmailField, QuerySet, TextField
from django.db.models.sql.where import AND, WhereNode
from django.utils.crypto import salted_hmac

from persistent_messages.conf import get_config, naming
from persistent_messages.constants import Folder, storable
from persistent_messages.models import Message
from persistent_messages.users.names import display_name, is_email_address, name_of

from . import policy

MAX_SUGGESTIONS = 8
MIN_LETTERS = 2
"""The minimum length of a search, so that nobody can list all users by single letters."""
MAX_LETTERS = 254
"""The maximum length of a name or mail address. SQLite rejects patterns of 50,000 characters."""

RECENT_ROWS = 16
"""The newest rows of each folder that are searched for correspondents."""
USERNAMES_PER_SPELLING = 16
"""Usernames that are read for each spelling of the typed text."""
MAX_CANDIDATES = 40
"""The number of users up to which RECIPIENTS is read in full, and the limit for SUGGEST."""
NAMES = ("first_name", "last_name")
MAX_SCAN_COST = 15
"""PostgreSQL's estimated cost of reading a table with a few hundred rows."""
FOLDERS = (Folder.INBOX, Folder.SENT, Folder.ARCHIVE)


class Suggestion(NamedTuple):
    """A user that the typed text may mean."""

    user: Any
    typed: str
    """The text for the field. It is not a mail address unless the user typed it."""
    name: str
    detail: str
    """A text that distinguishes users with the same name."""


# Completion


def suggestions(user: Any, text: str) -> list[Suggestion]:
    """Return up to 8 users that `user` may mean by `text`, the beginning of a name.

    The user's correspondents come first, latest first, and then others by username. Empty if `text`
    is not `is_searchable()`. The number of queries depends only on `text`. Users who have blocked
    `user` are still found, so that a block is not revealed.
    """
    text = _normalized(text)
    if not is_searchable(text):
        return []
    return _without_blocked(user, _matching(text, _candidates(user, text)))[:MAX_SUGGESTIONS]


def is_searchable(text: str) -> bool:
    """Return whether the length of `text` allows a search for users."""
    return MIN_LETTERS <= len(_normalized(text)) <= MAX_LETTERS


def suggest(user: Any, text: str) -> list[Any]:
    """Return users, or their keys, that `text` may mean; the default of the setting SUGGEST.

    If an index leads RECIPIENTS to at most 40 users, all of them. Otherwise users whose username
    begins with `text`, or with its first or last word. Nobody is found by a mail address.
    """
    return _suggest_by_default(user, [text])[0]


def resolve_names(user: Any, names: list[str]) -> dict[str, Any]:
    """Return the users that `names` mean and that `user` may write to, by name.

    A name is a complete username, the text of a suggestion, or the name of exactly one user among
    the suggestions for it. A missing user is unknown, inactive, not allowed or blocked. Neither the
    result nor the number of queries reveals which.
    """
    found = policy.find_recipients(user, names)
    missing = [name for name in names if name not in found]
    if missing:
        found |= _by_label(user, missing)
    return found


class _Person(NamedTuple):
    user: Any
    is_known: bool
    """Whether they are a correspondent of the user."""


def _candidates(user: Any, text: str) -> list[_Person]:
    return _candidates_for_all(user, [text])[0]


def _candidates_for_all(user: Any, texts: list[str]) -> list[list[_Person]]:
    """Return the users that each of `texts` may mean; one query, after those that find the keys."""
    known = _correspondents(user)
    found = [list(dict.fromkeys([*known, *keys])) for keys in _suggested_keys(user, texts)]
    keys = list(dict.fromkeys(chain.from_iterable(found)))
    # The user's own key, which never matches, keeps the query if nobody was found.
    allowed = policy.possible_recipients(user).filter(pk__in=[user.pk, *keys])
    people = {person.pk: person for person in allowed}
    return [[_Person(people[key], key in known) for key in some if key in people] for some in found]


def _correspondents(user: Any) -> dict[Any, None]:
    # Only the newest rows of each folder, so that the size of the mailbox does not matter.
    keys: list[tuple[int, Any]] = []
    for folder in FOLDERS:
        rows = Message.objects.owned_by(user).in_folder(folder).newest_first()
        fields = ("pk", "letter", "from_user", "to_user")
        for number, letter, sender, recipient in rows.values_list(*fields)[:RECENT_ROWS]:
            if letter is not None:
                keys += [(number, key) for key in (sender, recipient) if key is not None]
    latest_first = (key for _number, key in sorted(keys, key=lambda pair: -pair[0]))
    return dict.fromkeys(key for key in latest_first if key != user.pk)


def _suggested_keys(user: Any, texts: list[str]) -> list[list[Any]]:
    if _is_default():
        answers = _suggest_by_default(user, texts)
    else:
        answers = [_suggested_by_site(user, text) for text in texts]
    return [[getattr(person, "pk", person) for person in found] for found in answers]


def _suggested_by_site(user: Any, text: str) -> list[Any]:
    found = get_config().call("SUGGEST", user, text)
    with naming("SUGGEST"):  # a generator raises only now
        return list(
            islice(found[:MAX_CANDIDATES] if isinstance(found, QuerySet) else found, MAX_CANDIDATES)
        )


def _suggest_by_default(user: Any, texts: list[str]) -> list[list[Any]]:
    if has_private_usernames():
        return [[] for _ in texts]
    few = _few_recipients(user)
    if few is None:
        return [_by_username(text) if text else [] for text in texts]
    people = [person for person in few if not is_private(person)]
    return [people for _ in texts]


def _is_default() -> bool:
    return get_config().SUGGEST in (suggest, f"{__name__}.suggest")


def _matching(text: str, people: list[_Person]) -> list[Suggestion]:
    wanted, asks_us = fold_name(text), _is_default()
    # The site may find its suggestions by other fields, so they need not match a name.
    chosen = [
        person
        for person in people
        if (not asks_us and not person.is_known) or _matches_name(person.user, wanted)
    ]
    if asks_us:
        chosen.sort(key=lambda each: "" if each.is_known else str(each.user.get_username()))
    labels = _suggestions_by_key(people)
    return [labels[person.user.pk] for person in chosen]


def _matches_name(person: Any, wanted: str) -> bool:
    names = [display_name(person), *(getattr(person, name, "") for name in NAMES)]
    if not is_private(person):
        names.append(str(person.get_username()))
    return any(f" {wanted}" in f" {fold_name(str(name))}" for name in names)


# Strangers


def _by_username(text: str) -> list[Any]:
    # Read the index of the column from a value on. The collation decides whether upper and lower
    # case are sorted together, so several spellings are tried. LIKE would use the index only with
    # some databases, collations and statistics.
    name = get_user_model().USERNAME_FIELD
    if not _has_index(name):
        return []
    people, words = get_user_model()._default_manager.order_by(name), text.split()
    found: dict[Any, None] = {}
    # A username is likely to begin with the first or last word of a full name.
    for part in dict.fromkeys([text, *words[:1], *words[-1:]]):
        for begin in _spellings(part) if len(part) >= MIN_LETTERS else []:
            near = people.filter(**{f"{name}__gte": begin}).values_list("pk", name)[
                :USERNAMES_PER_SPELLING
            ]
            found |= dict.fromkeys(
                key
                for key, username in near
                if fold_name(username).startswith(fold_name(part))
                and not is_email_address(str(username))
            )
    return list(found)


def _spellings(text: str) -> list[str]:
    return list(dict.fromkeys([text, text.lower(), text.capitalize(), text.upper()]))


def _has_index(name: str) -> bool:
    model: Any = get_user_model()
    field: Any = model._meta.get_field(name)
    alone = any(constraint.fields == (name,) for constraint in model._meta.total_unique_constraints)
    has_index: bool = field.unique or field.db_index or alone
    return has_index and isinstance(field, (CharField, TextField))


def _few_recipients(user: Any) -> list[Any] | None:
    people = policy.possible_recipients(user).order_by()
    if people.query.distinct:
        people.query.distinct, people.query.distinct_fields = False, ()
    if not _uses_index(people.query.where):
        return None  # finding a few users would read the whole table
    first = people[: MAX_CANDIDATES + 1]
    if _reads_tables(first):
        return None
    found = list(first)
    return found if len(found) <= MAX_CANDIDATES else None


def _reads_tables(people: QuerySet[Any]) -> bool:
    # If some groups have many members, PostgreSQL expects many in every group. It then reads all
    # users until it has found 41, even for a group of ten. Other databases start with the index.
    if connections[people.db].vendor != "postgresql":
        return False
    (plan,) = json.loads(people.explain(format="json"))
    waiting = [plan["Plan"]]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        is_bounded = "Index Cond" in node or "Recheck Cond" in node
        if "Relation Name" in node and not is_bounded and node["Total Cost"] > MAX_SCAN_COST:
            return True
    return False


def _uses_index(condition: Any) -> bool:
    # Whether the condition compares an indexed column with values. Other conditions need a scan.
    if isinstance(condition, WhereNode):
        parts = map(_uses_index, condition.children)
        return not condition.negated and (any(parts) if condition.connector == AND else all(parts))
    field = getattr(getattr(condition, "lhs", None), "target", None)
    if field is None or getattr(condition, "lookup_name", "") not in {"exact", "in"}:
        return False
    where = getattr(getattr(condition, "rhs", None), "where", None)
    has_index = field.primary_key or field.unique or field.db_index
    return bool(has_index and (where is None or _uses_index(where)))


# Names of users


def has_private_usernames() -> bool:
    """Return whether the username field of the user model is a mail address."""
    model: Any = get_user_model()
    email = model.get_email_field_name() if hasattr(model, "get_email_field_name") else "email"
    field = model._meta.get_field(model.USERNAME_FIELD)
    return bool(field.name == email or isinstance(field, EmailField))


def is_private(person: Any) -> bool:
    """Return whether the username of `person` is a mail address, which strangers must not see."""
    return has_private_usernames() or is_email_address(str(person.get_username()))


def fold_name(text: str) -> str:
    """Return `text` normalized (NFKC) and case-folded, to compare names."""
    return unicodedata.normalize("NFKC", text).casefold()


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFKC", storable(text)).strip()


def _suggestions_by_key(people: list[_Person]) -> dict[Any, Suggestion]:
    # Users with the same name get a code, which they cannot choose.
    names = {person.user.pk: _name(person.user) for person in people}
    counts = Counter(fold_name(name) for name in names.values())
    found = {}
    for person, _is_known in people:
        shown, typed, detail = name_of(person), names[person.pk], ""
        if not is_private(person):
            typed, detail = str(person.get_username()), shown.detail
        elif counts[fold_name(typed)] > 1:
            detail = _code_of(person)
            typed = f"{typed} {detail}"
        found[person.pk] = Suggestion(person, typed, shown.name, detail or shown.detail)
    return found


def _name(person: Any) -> str:
    # Commas separate the names in the field.
    return " ".join(display_name(person).replace(",", " ").split())


def _code_of(person: Any) -> str:
    code = salted_hmac("persistent_messages.people", str(person.pk), algorithm="sha256")
    return f"#{code.hexdigest()[:6]}"


def _by_label(user: Any, names: Iterable[str]) -> dict[str, Any]:
    wanted, found = list(names), {}
    offered = _candidates_for_all(user, [_normalized(name.partition(" #")[0]) for name in wanted])
    for name, people in zip(wanted, offered, strict=True):
        same = [person.user for person in people if fold_name(name) in _typed_forms(person.user)]
        if len(same) == 1:
            found[name] = same[0]
    reached = {person.pk for person in policy.without_blocked(user, found.values())}
    return {name: person for name, person in found.items() if person.pk in reached}


def _typed_forms(person: Any) -> tuple[str, str]:
    name = _name(person)
    return fold_name(name), fold_name(f"{name} {_code_of(person)}")


def _without_blocked(user: Any, found: list[Suggestion]) -> list[Suggestion]:
    blocked = policy.blocked_by(user, [suggestion.user for suggestion in found])
    return [suggestion for suggestion in found if suggestion.user.pk not in blocked]
