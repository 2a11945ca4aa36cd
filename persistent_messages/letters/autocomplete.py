"""Whom a user means by what is typed: completion and names, bounded at any number of users.

Of no table more than a few hundred rows are visited, whatever is typed: strangers are found by a
range of the index on the username, and by RECIPIENTS where an index leads to few; by other names
only those with whom the user has written lately.
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
"""What a search for people needs: nobody lists them all by single letters."""
MAX_LETTERS = 254
"""No name has more, nor a mail address; and SQLite refuses to look for 50,000."""

RECENT_ROWS = 16
"""Rows of each folder in which the user's correspondents are looked for."""
USERNAMES_PER_SPELLING = 16
"""Usernames that are read for each spelling of what is typed."""
MAX_CANDIDATES = 40
"""People whom RECIPIENTS may name to be looked through, and whom SUGGEST may return."""
NAMES = ("first_name", "last_name")
MAX_SCAN_COST = 15
"""What PostgreSQL reckons for reading a table of a few hundred rows."""
FOLDERS = (Folder.INBOX, Folder.SENT, Folder.ARCHIVE)


class Suggestion(NamedTuple):
    """One whom the user may mean."""

    user: Any
    typed: str
    """What stands for that user in the field; no mail address that the user did not type."""
    name: str
    detail: str
    """What tells that user from others of the same name."""


# Completion


def suggestions(user: Any, text: str) -> list[Suggestion]:
    """Return up to 8 whom `user` may mean by `text`, the beginning of a name.

    First those with whom `user` has written, latest first; then others by their usernames. None for
    less than two characters, or more than a name has. The number of queries depends on `text`
    only. Whoever has blocked `user` is found as before, so that nobody is told of a block.
    """
    text = _normalized(text)
    if not is_searchable(text):
        return []
    return _without_blocked(user, _matching(text, _candidates(user, text)))[:MAX_SUGGESTIONS]


def is_searchable(text: str) -> bool:
    """Tell whether `text` is long enough, and not too long, to look for people by it."""
    return MIN_LETTERS <= len(_normalized(text)) <= MAX_LETTERS


def suggest(user: Any, text: str) -> list[Any]:
    """Return users, or their keys, whom `text` may begin to name; the default of SUGGEST.

    All whom RECIPIENTS names, where an index leads to at most 40; else those whose username begins
    with `text`, or with its first or last word. Nobody is found by a mail address.
    """
    return _suggest_by_default(user, [text])[0]


def resolve_names(user: Any, names: list[str]) -> dict[str, Any]:
    """Return those of `names` to whom `user` may write, with the users.

    A name is a username, typed whole; or what a suggestion puts into the field; or the name of one
    person alone of those whom the suggestions offer for it. Who is missing is unknown, inactive,
    out of bounds or blocked: nobody can tell which, neither by the number of queries.
    """
    found = policy.find_recipients(user, names)
    missing = [name for name in names if name not in found]
    if missing:
        found |= _by_label(user, missing)
    return found


class _Person(NamedTuple):
    user: Any
    is_known: bool
    """Whether the user has written with that person."""


def _candidates(user: Any, text: str) -> list[_Person]:
    return _candidates_for_all(user, [text])[0]


def _candidates_for_all(user: Any, texts: list[str]) -> list[list[_Person]]:
    """Return whom each of `texts` may mean; one query for all, after what finds their keys."""
    known = _correspondents(user)
    found = [list(dict.fromkeys([*known, *keys])) for keys in _suggested_keys(user, texts)]
    keys = list(dict.fromkeys(chain.from_iterable(found)))
    # With a key that is nobody's, so that no query is left out where nobody was found.
    allowed = policy.possible_recipients(user).filter(pk__in=[user.pk, *keys])
    people = {person.pk: person for person in allowed}
    return [[_Person(people[key], key in known) for key in some if key in people] for some in found]


def _correspondents(user: Any) -> dict[Any, None]:
    # Of the newest rows of each folder, so that no mailbox is too large.
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
    # What the site suggests, it may have found by anything.
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
    # From a value on by the index of the column, in its own order: upper and lower case stand side
    # by side or far apart as the database collates, hence the spellings. No pattern: with
    # LIKE it depends on database, collation and statistics whether the index serves.
    name = get_user_model().USERNAME_FIELD
    if not _has_index(name):
        return []
    people, words = get_user_model()._default_manager.order_by(name), text.split()
    found: dict[Any, None] = {}
    # Of a full name, the part that a username is likely to begin with.
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
        return None  # to find few in many would take reading all
    first = people[: MAX_CANDIDATES + 1]
    if _reads_tables(first):
        return None
    found = list(first)
    return found if len(found) <= MAX_CANDIDATES else None


def _reads_tables(people: QuerySet[Any]) -> bool:
    # Where some teams have many members, PostgreSQL expects many of each, and reads all users until
    # it has found 41 of a team of ten. The others begin at the index.
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
    # Whether a column with an index has to have a value: all else a database finds by reading on.
    if isinstance(condition, WhereNode):
        parts = map(_uses_index, condition.children)
        return not condition.negated and (any(parts) if condition.connector == AND else all(parts))
    field = getattr(getattr(condition, "lhs", None), "target", None)
    if field is None or getattr(condition, "lookup_name", "") not in {"exact", "in"}:
        return False
    where = getattr(getattr(condition, "rhs", None), "where", None)
    has_index = field.primary_key or field.unique or field.db_index
    return bool(has_index and (where is None or _uses_index(where)))


# Names that stand for people


def has_private_usernames() -> bool:
    """Tell whether the username of every user is a mail address, by the user model."""
    model: Any = get_user_model()
    email = model.get_email_field_name() if hasattr(model, "get_email_field_name") else "email"
    field = model._meta.get_field(model.USERNAME_FIELD)
    return bool(field.name == email or isinstance(field, EmailField))


def is_private(person: Any) -> bool:
    """Tell whether the username of `person` is a mail address, which strangers do not get."""
    return has_private_usernames() or is_email_address(str(person.get_username()))


def fold_name(text: str) -> str:
    """Return `text` as names are compared: in compatibility form, without case."""
    return unicodedata.normalize("NFKC", text).casefold()


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFKC", storable(text)).strip()


def _suggestions_by_key(people: list[_Person]) -> dict[Any, Suggestion]:
    # By key. Where several have one name, a code tells them apart; it is none that they can choose.
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
    # Commas part the names in the field.
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
