"""The form of the preferences page."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from persistent_messages.conf import get_config
from persistent_messages.db.times import as_stored
from persistent_messages.labels import Button
from persistent_messages.topics import DAILY, LETTERS, NEVER, NOW, OTHERS, UNREAD, WEEKLY, topics

from . import choices
from .choices import Choice, Choices

LONGEST_PAUSE = timedelta(days=3650)
INBOX, ARCHIVE = "inbox", "archive"


class PreferencesForm(forms.Form):
    """The preferences for each topic, and a date until which all mail is paused."""

    def __init__(
        self, user: Any, *args: Any, url: str = "", is_saved: bool = False, **kwargs: Any
    ) -> None:
        """Load the preferences of `user`; one query, to the primary after they were submitted."""
        self.user = user
        self.topics = choices.known_topics()
        is_filled_in = bool(args) and args[0] is not None
        using = choices.primary() if is_filled_in or is_saved else choices.replica()
        chosen = choices.choices_of([user.pk], self.topics, using)
        self.pause = chosen.pause_of(user.pk)
        initial = {**self._initial_choices(chosen), "pause_until": self._paused_until()}
        kwargs = {"auto_id": "pm-%s", "label_suffix": "", "initial": initial, **kwargs}
        super().__init__(*args, **kwargs)
        for topic in self.topics:
            self._add_fields(topic)
        self.fields["pause_until"] = forms.DateField(
            label="",
            required=False,
            widget=forms.DateInput(
                format="%Y-%m-%d",
                attrs={"type": "date", "aria-label": _("Pause all mail until")},
            ),
        )
        self.html_attrs = self._html_attrs(url)

    @property
    def is_returned(self) -> bool:
        """Whether mail is paused because it was returned."""
        return self.pause is not None and self.pause.until is None

    def _initial_choices(self, chosen: Choices) -> dict[str, Any]:
        initial = {}
        for topic in self.topics:
            choice = chosen.chosen(self.user.pk, topic)
            initial[f"inbox-{topic}"] = INBOX if choice.in_inbox else ARCHIVE
            initial[f"mail-{topic}"] = choice.mail or default_choice(topic)
        return initial

    def _paused_until(self) -> Any:
        until = self.pause and self.pause.until
        if not until:
            return None
        return timezone.localtime(until).date() if timezone.is_aware(until) else until.date()

    def _add_fields(self, topic: str) -> None:
        label = topic_label(topic)
        if choices.may_leave_inbox(topic):
            places = [(INBOX, _("Show in the inbox")), (ARCHIVE, _("Archive at once"))]
            self.fields[f"inbox-{topic}"] = _select(f"{label}: {_('Inbox')}", places)
        self.fields[f"mail-{topic}"] = _select(f"{label}: {_('Mail')}", mail_choices(topic))

    def _html_attrs(self, url: str) -> dict[str, str]:
        # Changes are saved immediately, or by the button if there is no script.
        return {
            "action": url,
            "hx-post": url,
            "hx-trigger": "change, submit",
            "hx-swap": "none settle:0ms",
            "hx-include": ".pm-part",
            "hx-vals": '{"pm-from": "preferences", "pm-fragment": "part"}',
            "hx-sync": "this:queue last",
        }

    @property
    def groups(self) -> list[tuple[str, list[str]]]:
        """The lines of the form: a heading and the names of its fields."""
        lines = [(topic_label(topic), self._fields_of(topic)) for topic in self.topics]
        if self.is_returned:
            return [*lines, (_("Mail to you came back, so none is sent."), [])]
        return [*lines, (_("Pause all mail until"), ["pause_until"])]

    @property
    def buttons(self) -> list[Button]:
        """The buttons below the fields."""
        again = [Button("resume", _("Send mail again"))] if self.is_returned else []
        return [Button("send", _("Save")), *again]

    def _fields_of(self, topic: str) -> list[str]:
        return [name for name in (f"inbox-{topic}", f"mail-{topic}") if name in self.fields]

    def clean_pause_until(self) -> datetime | None:
        """Return the beginning of the chosen day."""
        day = self.cleaned_data["pause_until"]
        if day is None:
            return None
        # The limit keeps the time valid in every time zone.
        day = min(day, timezone.now().date() + LONGEST_PAUSE)
        begin = datetime.combine(day, time())
        if timezone.is_aware(timezone.now()):
            begin = timezone.make_aware(begin)
        if begin <= timezone.now():
            raise ValidationError(_("Choose a day after today."))
        return as_stored(begin) if timezone.is_aware(begin) else begin

    def save(self) -> None:
        """Store the preferences that were submitted; the others stay. At most four statements."""
        chosen = {}
        for topic in self.topics:
            place, mail = self._choice(f"inbox-{topic}"), self._choice(f"mail-{topic}")
            chosen[topic] = Choice(place != ARCHIVE, "" if mail == default_choice(topic) else mail)
        choices.save(self.user, chosen)
        until = self.cleaned_data["pause_until"]
        if until is not None:
            choices.pause([self.user.pk], until)
        elif "resume" in self.data or ("pause_until" in self.data and not self.is_returned):
            choices.resume(self.user)

    def _choice(self, name: str) -> str:
        is_submitted = name in self.fields and name in self.data
        return str(self.cleaned_data[name] if is_submitted else self.initial[name])


def topic_label(topic: str) -> str:
    """Return the name of `topic` for users."""
    if topic == LETTERS:
        return _("Messages from people")
    return _("Everything else") if topic == OTHERS else str(topics.get(topic, topic))


def default_choice(topic: str) -> str:
    """Return the choice that the page shows for `topic` if the user has not chosen."""
    return choices.default_mail(topic) or (NOW if topic == OTHERS else "")


IMPORTANT = gettext_lazy("Mail what is important at once")


def mail_choices(topic: str) -> list[tuple[str, str]]:
    """Return the choices for mail of `topic`, with their labels."""
    minutes = max(1, round(get_config().EMAIL_DELAY / timedelta(minutes=1)))
    if minutes % 60 == 0:
        words = ngettext(
            "Mail if unread after %(count)d hour",
            "Mail if unread after %(count)d hours",
            minutes // 60,
        ) % {"count": minutes // 60}
    else:
        words = ngettext(
            "Mail if unread after %(count)d minute",
            "Mail if unread after %(count)d minutes",
            minutes,
        ) % {"count": minutes}
    found = [
        (NOW, _("Mail at once")),
        (UNREAD, words),
        (DAILY, _("Mail in a daily digest")),
        (WEEKLY, _("Mail in a weekly digest")),
        (NEVER, _("No mail")),
    ]
    return found if default_choice(topic) else [("", str(IMPORTANT)), *found]


def _select(label: str, options: list[tuple[str, str]]) -> forms.ChoiceField:
    widget = forms.Select(attrs={"aria-label": label, "class": "pm-input"})
    # The default error of ChoiceField repeats the submitted value, which may be long.
    errors = forms.ModelChoiceField.default_error_messages
    # A field that was not submitted keeps the user's choice.
    return forms.ChoiceField(
        label="", required=False, choices=options, widget=widget, error_messages=errors
    )
