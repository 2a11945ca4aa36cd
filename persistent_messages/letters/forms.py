"""Forms for letters, replies and reports. They validate; `sending` checks the policy and sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.utils.translation import gettext_lazy as _

from persistent_messages.conf import get_config
from persistent_messages.exceptions import LetterRefused
from persistent_messages.http.draft_cookie import draft_name
from persistent_messages.labels import Button
from persistent_messages.models import Message
from persistent_messages.users.names import name_of
from persistent_messages.users.usernames import is_username_of

from . import autocomplete, policy, replies, reports, sending, throttling

SALT = "persistent_messages.letter"
MAX_AGE = 24 * 60 * 60
"""Seconds for which a form is valid. Submitting it again, unchanged, sends nothing more."""

# The field for each argument of `send_letter`; other errors are non-field errors.
FIELDS = {"to_users": "to", "subject": "subject", "message": "message"}


class RecipientsInput(forms.TextInput):
    """A text field for names with suggestions, which follows the ARIA combobox pattern.

    The script turns known names into chips. Each chip has a hidden field with the same name.
    """

    template_name = "persistent_messages/widgets/recipients.html"
    people_url = ""
    """The URL of the suggestions."""

    def __init__(self, attrs: Any = None) -> None:
        super().__init__(attrs)
        self.names: dict[str, str] = {}
        """The names of the users that were found, by the typed text."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        """Return the values of the text field and the chips, separated by commas."""
        values = data.getlist(name) if hasattr(data, "getlist") else [data.get(name)]
        given = [str(value) for value in values if value is not None]
        return ", ".join(filter(str.strip, given)) if given else None

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """Add the URL of the suggestions and the names that were found."""
        context = super().get_context(name, value, attrs)
        context["widget"]["people_url"] = self.people_url
        context["widget"]["names"] = json.dumps(self.names) if self.names else ""
        return context


class RecipientsField(forms.CharField):
    """Usernames, separated by commas, without duplicates."""

    widget = RecipientsInput

    def to_python(self, value: Any) -> Any:
        """Return a list of names in the given order."""
        text = super().to_python(value) or ""
        return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))

    def validate(self, value: Any) -> None:
        """Require at least one and at most `MAX_RECIPIENTS` names."""
        super().validate(value)
        if len(value) > get_config().MAX_RECIPIENTS:
            raise ValidationError(policy.recipient_limit_text(), "max_length")

    def run_validators(self, value: Any) -> None:
        """Run the validators on each name."""
        for name in value:
            super().run_validators(name)


class _LetterForm(forms.Form):
    """The base class of letters and replies. `sender` is never read from the submitted data."""

    letter = forms.CharField(widget=forms.HiddenInput, required=False)
    message = forms.CharField(
        label=_("Message"), widget=forms.Textarea(attrs={"rows": 8, "dir": "auto"})
    )

    def __init__(self, sender: Any, *args: Any, url: str = "", **kwargs: Any) -> None:
        kwargs = {"auto_id": "pm-%s", "label_suffix": "", **kwargs}
        super().__init__(*args, **kwargs)
        self.sender = sender
        self.fields["letter"].initial = self._new_token
        self.html_attrs = self._html_attrs(url)
        limit = get_config().MESSAGE_LENGTH
        self.fields["message"].widget.attrs["data-pm-limit"] = str(limit)

    @property
    def draft(self) -> str:
        """The name under which the browser stores the text until it is sent."""
        return draft_name(self.sender, "new")

    def _validate_on_change(self, name: str, url: str) -> None:
        place = f"#div_pm-{name}"
        self.fields[name].widget.attrs |= {
            "hx-post": url,
            # Wait for a click on the button, which blurs the field, and do not run while that
            # click submits the form: nothing may move under the pointer.
            "hx-trigger": "change delay:400ms",
            "hx-sync": "closest form:abort",
            "hx-vals": f'{{"pm-field": "{name}"}}',
            "hx-target": place,
            "hx-select": place,
            "hx-swap": "outerHTML settle:0ms",
        }

    def _html_attrs(self, url: str) -> dict[str, str]:
        """Return the attributes of the `<form>` element."""
        return {
            "action": url,
            "data-pm-draft": self.draft,
            "hx-post": url,
            "hx-vals": '{"pm-fragment": "part"}',
            "hx-target": "closest .pm-letter",
            "hx-swap": "outerHTML settle:0ms",
            "hx-sync": "this:drop",
        }

    @property
    def buttons(self) -> list[Button]:
        """The buttons below the fields."""
        return [Button("send", _("Send"))]

    def _new_token(self) -> str:
        return signing.dumps(str(uuid4()), salt=f"{SALT}.{self.sender.pk}")

    def clean(self) -> dict[str, Any]:
        """Read the letter's token, so that submitting the form twice sends one letter."""
        cleaned = super().clean() or {}
        token, salt = cleaned.get("letter", ""), f"{SALT}.{self.sender.pk}"
        try:
            cleaned["letter"] = UUID(signing.loads(token, salt=salt, max_age=MAX_AGE))
        except (signing.BadSignature, TypeError, ValueError):
            data: Any = self.data
            renewed = data.copy()
            renewed["letter"] = self._new_token()
            self.data = renewed
            self.add_error(None, _("This form has expired. Please send it again."))
        return cleaned

    def clean_message(self) -> str:
        """Return the text as it is stored."""
        return _clean_with(sending.clean_text, self.cleaned_data["message"])

    def focus_first_error(self) -> None:
        """Put the focus on the first field with an error."""
        for name in self.fields:
            if name in self.errors:
                self.fields[name].widget.attrs["autofocus"] = ""
                return

    def focus_message(self, *, is_swapped: bool) -> None:
        """Put the focus on the text; in a swapped form, the script does it."""
        self.fields["message"].widget.attrs["data-pm-focus" if is_swapped else "autofocus"] = ""

    def keep_errors_of(self, name: str) -> None:
        """Remove the errors of all other fields, which the user has not reached yet."""
        for other in [other for other in self.errors if other != name]:
            del self.errors[other]

    def send_to(self, recipients: list[Any], **more: Any) -> sending.Sent | None:
        """Send the letter and return the result, or None after adding an error to the form."""
        cleaned = self.cleaned_data
        try:
            return sending.send(
                self.sender,
                recipients,
                cleaned.get("subject", ""),
                cleaned["message"],
                letter=cleaned["letter"],
                **more,
            )
        except LetterRefused as refused:
            name = FIELDS.get(refused.argument)
            self.add_error(name if name in self.fields else None, refused.reason)
            return None


class LetterForm(_LetterForm):
    """A new letter to one or several users."""

    to = RecipientsField(
        label=_("To"),
        help_text=_("Names or usernames, separated by commas."),
        validators=[ProhibitNullCharactersValidator()],
    )
    subject = forms.CharField(
        label=_("Subject"),
        required=False,
        max_length=sending.SUBJECT_LENGTH,
        widget=forms.TextInput(attrs={"dir": "auto"}),
    )

    field_order = ("letter", "to", "subject", "message")

    def __init__(self, *args: Any, people_url: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        to: Any = self.fields["to"].widget
        to.people_url = people_url
        for name in ("to", "subject"):
            self._validate_on_change(name, self.html_attrs["action"])

    def clean_to(self) -> list[Any]:
        """Return the users. The error is the same for every unreachable user, unknown or not.

        Names count against LOOKUP_RATE until the letter is sent.
        """
        names = self.cleaned_data["to"]
        if self.data.get("pm-field", "to") != "to":
            return []  # only another field is checked
        if any(is_username_of(self.sender, name) for name in names):
            raise ValidationError(_("You can’t send a message to yourself."), "yourself")
        if not throttling.allow_lookups(self.sender, len(names)):
            raise ValidationError(policy.lookup_limit_text(), "rate")
        found = autocomplete.resolve_names(self.sender, names)
        field: Any = self.fields["to"].widget
        field.names = {name: name_of(person).name for name, person in found.items()}
        missing = [name for name in names if name not in found]
        if missing and policy.includes_self(self.sender, missing):
            raise ValidationError(_("You can’t send a message to yourself."), "yourself")
        if missing:
            raise ValidationError([policy.undeliverable_text(name) for name in missing])
        self.names = names
        # Each user once, even if named twice with different spellings.
        return list({found[name].pk: found[name] for name in names}.values())

    def clean_subject(self) -> str:
        """Return the subject as it is stored."""
        return _clean_with(sending.clean_subject, self.cleaned_data["subject"])

    def send(self) -> sending.Sent | None:
        """Send the letter and return the result, or None after adding an error to the form."""
        sent = self.send_to(self.cleaned_data["to"])
        if sent is not None and sent.recipients:
            throttling.refund_lookups(self.sender, len(self.names))
        return sent


class ReplyForm(_LetterForm):
    """A reply to a letter."""

    def __init__(self, *args: Any, reply_to: Message, **kwargs: Any) -> None:
        self.reply_to = reply_to
        super().__init__(*args, **kwargs)
        self.fields["message"].label = _("Your reply")
        self.fields["message"].widget.attrs["rows"] = "4"
        # Send the last letter of the page, so that the response can append those after it.
        self.html_attrs["hx-include"] = ".pm-posts li:last-child .pm-after"

    @property
    def draft(self) -> str:
        """The name under which the browser stores the text, for the whole conversation."""
        thread = self.reply_to.thread
        return draft_name(self.sender, thread.hex if thread else str(self.reply_to.pk))

    @property
    def buttons(self) -> list[Button]:
        """The buttons below the fields; “Quote” is not the default button."""
        return [*super().buttons, Button("pm-quote", _("Quote"), is_primary=False)]

    def send(self) -> sending.Sent | None:
        """Send the reply and return the result, or None after adding an error to the form."""
        try:
            other = replies.reply_recipient(self.sender, self.reply_to)
        except LetterRefused as refused:
            self.add_error(None, refused.reason)
            return None
        return self.send_to([other], reply_to=self.reply_to)


class ReportForm(forms.Form):
    """The reason for reporting a letter."""

    reason = forms.CharField(
        label=_("Why are you reporting this? (optional)"),
        required=False,
        max_length=reports.REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 4, "dir": "auto"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {"auto_id": "pm-%s", "label_suffix": "", **kwargs}
        super().__init__(*args, **kwargs)
        self.html_attrs: dict[str, str] = {}
        self.buttons = [Button("send", _("Report"))]


def _clean_with(check: Callable[[Any], str], value: Any) -> str:
    try:
        return check(value)
    except LetterRefused as refused:
        raise ValidationError(refused.reason) from None
