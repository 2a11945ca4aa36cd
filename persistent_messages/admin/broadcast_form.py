"""The form of a broadcast, which can also send to selected users. It requires a preview first."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import global_settings, settings
from django.contrib.admin.widgets import (
    AdminSplitDateTime,
    AdminTextareaWidget,
    AdminTextInputWidget,
)
from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _

from persistent_messages.constants import INFO
from persistent_messages.mailbox.recipients import recipient_keys
from persistent_messages.mailbox.validation import new_message
from persistent_messages.mailbox.writes import primary_database
from persistent_messages.models import Broadcast, Message
from persistent_messages.notices import audiences, broadcasts
from persistent_messages.topics import topics
from persistent_messages.users.usernames import find_by_username

from .messages import LEVELS

USERNAMES, KEYS = "usernames", "ids"
CHOSEN = {USERNAMES: _("Chosen users, by their usernames"), KEYS: _("Chosen users, by their IDs")}
"""Choices beside the audiences. The message is then sent immediately, to these users only."""
PREVIEWED = "previewed"
"""The hidden field with the digest of the data that was previewed."""
TRANSLATED = ("subject", "message")
"""The texts that the form has in each language."""
TEXTS = (*TRANSLATED, "url", "action")
"""The texts that a site's code may have translated."""

if TYPE_CHECKING:
    BroadcastModelForm = forms.ModelForm[Broadcast]
else:
    BroadcastModelForm = forms.ModelForm


def other_languages() -> list[tuple[str, str]]:
    """Return the languages other than LANGUAGE_CODE; none if the site does not set LANGUAGES."""
    if not settings.USE_I18N or settings.LANGUAGES == global_settings.LANGUAGES:
        return []
    return [(code, name) for code, name in settings.LANGUAGES if code != settings.LANGUAGE_CODE]


class BroadcastForm(BroadcastModelForm):
    """A message to an audience or to selected users. It is only valid after it was previewed."""

    audience = forms.ChoiceField(label=_("audience"))
    recipients = forms.CharField(
        label=_("chosen users"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
        help_text=_("Usernames or IDs, each on a line of its own or separated by commas."),
    )
    level = forms.TypedChoiceField(
        label=_("level"), coerce=int, choices=list(LEVELS.items()), initial=INFO
    )
    topic = forms.ChoiceField(label=_("topic"), required=False)
    starts = forms.SplitDateTimeField(label=_("starts"), required=False, widget=AdminSplitDateTime)
    expires = forms.SplitDateTimeField(
        label=_("expires"), required=False, widget=AdminSplitDateTime
    )

    class Meta:
        model = Broadcast
        fields = (
            "audience",
            "recipients",
            "level",
            "topic",
            "subject",
            "message",
            "url",
            "action",
            "starts",
            "expires",
            "key",
        )
        widgets = {
            "subject": AdminTextInputWidget(attrs={"class": "vTextField"}),
            "message": AdminTextareaWidget,
            "url": AdminTextInputWidget(attrs={"class": "vTextField"}),
            "action": AdminTextInputWidget(attrs={"class": "vTextField"}),
            "key": AdminTextInputWidget(attrs={"class": "vTextField"}),
        }
        labels = {
            "subject": _("subject"),
            "message": _("message"),
            "url": _("address it leads to"),
            "action": _("text of the button that leads there"),
            "key": _("key"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sent: Broadcast | None = None
        """The unsaved broadcast, after validation."""
        self.users: list[Any] = []
        """The keys of the selected users."""
        is_new = self.instance.pk is None
        fields: dict[str, Any] = self.fields
        fields["audience"].choices = [*audiences.choices(), *(CHOSEN.items() if is_new else ())]
        fields["topic"].choices = [("", "---------"), *topics.items()]
        if not is_new:
            del fields["recipients"], fields["key"]
            # Such as a level of the site's own. Without it, a browser would choose the first one.
            self._add_current_choice("audience")
            self._add_current_choice("level")
        for code, language, field in self._translated_fields():
            self._add_translation(code, language, field)
        if self._has_html():  # from the site's code
            for name in [name for name in fields if name.startswith("message")]:
                fields[name].disabled = True

    def _add_current_choice(self, name: str) -> None:
        field: Any = self.fields[name]
        value = getattr(self.instance, name)
        if value not in dict(field.choices):
            field.choices = [*field.choices, (value, str(value))]

    def _has_html(self) -> bool:
        translated = self.instance.translations.values()
        return self.instance.is_safe or any(texts.get("is_safe") for texts in translated)

    @classmethod
    def _translated_fields(cls) -> Iterator[tuple[str, str, str]]:
        for code, language in other_languages():
            for field in TRANSLATED:
                yield code, language, field

    @classmethod
    def names_of_translations(cls, code: str) -> list[str]:
        """Return the names of the fields for a language."""
        return [f"{field}_{code}" for field in TRANSLATED]

    def _add_translation(self, code: str, language: str, field: str) -> None:
        own: Any = self.fields[field]
        texts = self.instance.translations.get(code, {})
        self.fields[f"{field}_{code}"] = forms.CharField(
            label=f"{own.label} ({language})",
            required=False,
            max_length=own.max_length,
            initial=texts.get(field, ""),
            widget=type(own.widget)(attrs={"lang": code, **own.widget.attrs}),
        )

    def clean(self) -> dict[str, Any]:
        """Validate the texts as the API does, and look up the recipients."""
        super().clean()
        data: dict[str, Any] = self.cleaned_data
        if data.get("audience") in CHOSEN:
            self._clean_recipients(data)
            if data.get("starts") is not None:
                self.add_error("starts", _("To chosen users a message is sent at once."))
        if not self.errors:
            self._check_texts(data)
        return data

    def _clean_recipients(self, data: dict[str, Any]) -> None:
        text = data.get("recipients", "").replace(",", "\n")
        names = list(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))
        if not names:
            self.add_error("recipients", _("Add at least one recipient."))
        try:
            self.users = list(_find(data["audience"], names))
        except (TypeError, ValueError) as error:
            self.add_error("recipients", str(error))

    def _check_texts(self, data: dict[str, Any]) -> None:
        names = ("level", "topic", "subject", "message", "url", "action", "expires")
        values = {name: data[name] for name in names}
        values["key"] = data.get("key") or None
        try:
            base = new_message(**values)
            new = Broadcast(
                **{name: getattr(base, name) for name in (*names, "key")},
                audience=data["audience"],
                starts=data["starts"],
                is_safe=self.instance.is_safe,
                translations=self._translations(data, values),
            )
            broadcasts.check(new)
        except ValueError as error:
            field = str(error).split(" ", 1)[0]
            self.add_error(field if field in self.fields else None, str(error))
        else:
            self.sent = new

    def _translations(self, data: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        found = self._kept_translations(values)
        for code, _language, field in self._translated_fields():
            texts = found.setdefault(code, {})
            texts.pop(field, None)
            if text := data.get(f"{field}_{code}", ""):
                new_message(**{**values, field: text})
                texts[field] = text
        return {code: texts for code, texts in found.items() if texts}

    def _kept_translations(self, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the translations of texts that the form does not change."""
        changed = {name for name in TEXTS if not _is_same(values[name], self.instance, name)}
        if "message" in changed:
            changed.add("is_safe")
        return {
            code: {name: text for name, text in texts.items() if name not in changed}
            for code, texts in self.instance.translations.items()
        }

    def _post_clean(self) -> None:
        # Do not change the instance; the submitted values are in `sent`.
        pass

    @property
    def digest(self) -> str:
        """A digest of the submitted data, to compare it with the preview."""
        said = [self.users, *sorted((k, str(v)) for k, v in self.cleaned_data.items())]
        return sha256(repr(said).encode()).hexdigest()

    def is_valid(self) -> bool:
        """Return whether the form has no errors, and the same data was previewed."""
        if not super().is_valid() or "_preview" in self.data:
            return False
        return str(self.data.get(PREVIEWED, "")) == self.digest

    @property
    def preview(self) -> Broadcast | None:
        """The broadcast to preview; None if the form is unbound or has errors."""
        return self.sent if self.is_bound and not self.errors else None

    @property
    def is_to_chosen_users(self) -> bool:
        """Whether the message is sent to selected users immediately."""
        return self.cleaned_data["audience"] in CHOSEN


def _is_same(text: str, broadcast: Broadcast, name: str) -> bool:
    # Browsers change line breaks, and the form strips whitespace.
    return text.split() == str(getattr(broadcast, name)).split()


def _find(how: str, names: list[str]) -> Iterator[Any]:
    if how == KEYS:
        yield from recipient_keys(names, primary_database())
        return
    found = find_by_username(get_user_model()._base_manager.all(), names)
    for name in names:
        if name not in found:
            raise ValueError(_("There is no user “%(name)s”.") % {"name": name})
    yield from {user.pk: user for user in found.values()}


def as_message(broadcast: Broadcast, language: str) -> Message:
    """Return an unsaved, unread message in `language` for the preview."""
    message = broadcast.in_language(language)
    message.pk = 0
    return message
