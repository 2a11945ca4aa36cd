"""Notice classes. Each class is a kind of notice, and its instances are sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.http import HttpRequest
from django.template.loader import get_template
from django.utils import translation
from django.utils.safestring import mark_safe
from typing_extensions import Self

from persistent_messages import mailbox
from persistent_messages.constants import INFO
from persistent_messages.mailbox.validation import clean_expires, new_message
from persistent_messages.models import Broadcast, Message
from persistent_messages.topics import Topic
from persistent_messages.type_aliases import Recipients, Text

from . import broadcasts, sending
from .formatting import fill, placeholders

NUMBERS = "diouxXeEfFgGc"
"""The conversion types that take a number."""


classes: list[type[Notice]] = []
"""All subclasses of `Notice`, including abstract ones."""


class Notice:
    """Something that a site tells its users, for example that their storage is nearly full.

    A subclass in the `notices.py` of an app defines one kind of notice. An instance is one notice
    with its parameters: the placeholders of `subject` and `message`, the arguments of the methods
    `url` and `key`, and the names in `parameters`.
    """

    topic: ClassVar[str | Topic] = ""
    """A registered topic, or its name."""
    level: ClassVar[int] = INFO
    subject: ClassVar[Text] = ""
    """At most 255 characters; may be lazy and have placeholders such as "%(name)s"."""
    message: ClassVar[Text] = ""
    """The text; may be lazy and have placeholders. A safe text is HTML."""
    template_name: ClassVar[str] = ""
    """A template that renders the text instead of `message`. Its context is the parameters."""
    url: Any = ""
    """The URL that the notice leads to, or a method that returns it."""
    action: ClassVar[Text] = ""
    """The label of the button that leads to `url`; may be lazy."""
    key: Any = None
    """A key, or a method that returns it. An inbox has at most one notice with a key."""
    min_interval: ClassVar[timedelta | None] = None
    """If the notice in the inbox is younger than this, sending it again only changes its text and
    its count. It keeps its place, stays read or unread, and is not mailed."""
    email: ClassVar[bool] = False
    """Whether it is also mailed."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Further parameters, such as those of the template."""
    example: ClassVar[Mapping[str, Any]] = {}
    """Values of parameters for `sample`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register the class."""
        super().__init_subclass__(**kwargs)
        classes.append(cls)

    def __init__(self, /, **values: Any) -> None:
        """Set the parameters; no query.

        Raises `TypeError` for a missing or unknown parameter, and `ValueError` if they do not fit
        the texts.
        """
        known, kind = type(self)._parameters(), type(self).__name__
        for name, is_required in known.items():
            if is_required and name not in values:
                raise TypeError(f"{kind} is missing the parameter {name!r}.")
        for name in values:
            if name not in known:
                takes = ", ".join(map(repr, known)) or "none"
                raise TypeError(f"{kind} has no parameter {name!r}; it takes {takes}.")
        self.values = values
        with translation.override(None):
            self._fill_texts()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{type(self).__name__}({values})"

    # The class

    @classmethod
    def kind(cls) -> str:
        """Return the app label and the class name, such as "shop.OrderShipped"."""
        config = apps.get_containing_app_config(cls.__module__)
        return f"{config.label if config else cls.__module__}.{cls.__name__}"

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Return the names of the parameters, in the order of the texts. Raises `ValueError`."""
        return tuple(cls._parameters())

    @classmethod
    def _parameters(cls) -> dict[str, bool]:
        """Return whether each parameter is required, by name."""
        if "_known_parameters" not in cls.__dict__:
            required = dict.fromkeys([*_placeholders_of(cls), *cls.parameters], True)
            order = [*_placeholders_of(cls), *_arguments(cls, "url"), *_arguments(cls, "key")]
            found = {**_arguments(cls, "url"), **_arguments(cls, "key"), **required}
            cls._known_parameters = {name: found[name] for name in [*order, *cls.parameters]}
        return cls._known_parameters

    _known_parameters: ClassVar[dict[str, bool]]

    @classmethod
    def sample(cls) -> Self:
        """Return a notice with the values in `example`, and placeholders for other parameters."""
        made_up = {name: name for name in cls.parameter_names()}
        numbers = {name: 1 for name, letter in _placeholders_of(cls).items() if letter in NUMBERS}
        return cls(**{**made_up, **numbers, **cls.example})

    # Its texts

    def preview(self, language: str | None = None) -> Message:
        """Return the notice as an unsaved message with the texts in `language`.

        The default is the active language. Raises the same errors as `send` for the texts. No
        query, unless a method or the template makes one.
        """
        return self._texts(language)

    @property
    def _delivery(self) -> dict[str, Any]:
        return {"email": self.email, "min_interval": self.min_interval}

    def _texts(self, language: str | None) -> Message:
        if language is None:
            return self._message()
        with translation.override(language):
            return self._message()

    def _message(self) -> Message:
        subject, text = self._fill_texts()
        if self.template_name:
            html = get_template(self.template_name).render(dict(self.values))
            text = mark_safe(html.strip())  # noqa: S308 (its template escapes)
        new = new_message(
            self.level,
            text,
            subject=subject,
            url=str(_value_of(self, "url") or ""),
            action=self.action,
            key=_key_of(self),
            topic=self.topic,
        )
        if not text:
            raise ValueError(f"{type(self).__name__} has no text.")
        new.prepare_text()
        return new

    def _fill_texts(self) -> tuple[str, str]:
        try:
            subject = "" + str(self.subject)  # never HTML
            return fill(subject, self.values), fill(self.message, self.values)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    # Sending

    def send(
        self,
        users: Recipients | None = None,
        *,
        request: HttpRequest | None = None,
        progress: Callable[[int], object] | None = None,
        atomic: bool = True,
    ) -> int:
        """Send the notice to `users`, each in their language. Returns how many received it.

        Takes the same `users`, `progress` and `atomic` as `send_message`. With `request`, the
        default is its user, who sees the notice on the page that the view returns; then `progress`
        and `atomic` are ignored. Errors in the texts are raised before anything is stored; with
        `atomic=False` and several languages, they keep earlier batches. Raises `TypeError` or
        `ValueError`, naming the argument, and with `request` the errors of `add_message`.
        """
        if request is not None and sending.is_for_user_of(request, users):
            return sending.add_to_request(request, self._texts, **self._delivery)
        if users is None:
            raise TypeError("users is required without a request.")
        options = {**self._delivery, "progress": progress, "atomic": atomic}
        return sending.send(users, self._texts, **options)

    async def asend(
        self,
        users: Recipients | None = None,
        *,
        request: HttpRequest | None = None,
        progress: Callable[[int], object] | None = None,
        atomic: bool = True,
    ) -> int:
        """Send the notice from an async function; see `send`. `progress` is called in a thread."""
        send = sync_to_async(self.send)
        return await send(users, request=request, progress=progress, atomic=atomic)

    def broadcast(
        self,
        audience: str = "everybody",
        *,
        starts: datetime | None = None,
        expires: datetime | None = None,
    ) -> Broadcast:
        """Send the notice to all users in `audience`, each in their language, on their next visit.

        See `persistent_messages.broadcast`. The texts are rendered now, once for each language of
        the site. `email` and `min_interval` are ignored.
        """

        def texts() -> Message:
            message = self._message()
            message.expires = clean_expires(expires)
            return message

        return broadcasts.create(texts, audience=audience, starts=starts)

    @classmethod
    def resolve(cls, users: Recipients, **values: Any) -> int:
        """Remove the notices from the inboxes of `users`; see `persistent_messages.resolve`.

        `values` are the parameters of the method `key`.
        """
        known = _arguments(cls, "key")
        for name, is_required in known.items():
            if is_required and name not in values:
                raise TypeError(f"{cls.__name__}.resolve is missing the parameter {name!r}.")
        for name in values:
            if name not in known:
                raise TypeError(f"The key of {cls.__name__} has no parameter {name!r}.")
        notice = cls.__new__(cls)
        notice.values = values
        key = _key_of(notice)
        if not key:
            raise TypeError(f"{cls.__name__} has no key to resolve.")
        return mailbox.resolve(users, key)


def kinds() -> list[type[Notice]]:
    """Return the site's notice classes, sorted by name; classes without a text are abstract."""
    return sorted(filter(_has_text, classes), key=lambda kind: kind.kind())


def _has_text(kind: type[Notice]) -> bool:
    return bool(kind.template_name) or any(text != "" for text in (kind.subject, kind.message))


def source_texts(kind: type[Notice]) -> list[str]:
    """Return the subject and text of the class in the source language."""
    with translation.override(None):
        return [str(kind.subject), str(kind.message)]


def _placeholders_of(kind: type[Notice]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in source_texts(kind):
        found.update(placeholders(text))
    return found


def _arguments(kind: type[Notice], name: str) -> dict[str, bool]:
    """Return whether each argument of the method `name` is required; empty if it is no method."""
    if not callable(getattr(kind, name)):
        return {}
    # Of an instance, so that static and class methods count as they are called.
    method = getattr(kind.__new__(kind), name)
    found = inspect.signature(method).parameters.values()
    return {each.name: each.default is each.empty for each in found}


def _value_of(notice: Notice, name: str) -> Any:
    value: Any = getattr(notice, name)
    if not callable(value):
        return value
    method: Callable[..., Any] = value
    given = notice.values
    return method(**{each: given[each] for each in _arguments(type(notice), name) if each in given})


def _key_of(notice: Notice) -> Any:
    with translation.override(None):  # the same in every language
        return _value_of(notice, "key")
