"""What users write: letters, replies and reports. Validation only; `letters` decides and sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Layout, Submit
from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.utils.translation import gettext_lazy as _

from . import letters, policy
from .conf import get_config
from .exceptions import LetterRefused
from .models import Message

SALT = "persistent_messages.letter"
MAX_AGE = 24 * 60 * 60
"""Seconds in which sending the same form again sends nothing more."""

# Which field is at fault, by the argument of `send_letter`; the rest is of the form as a whole.
FIELDS = {"to_users": "to", "subject": "subject", "message": "message"}


class RecipientsInput(forms.TextInput):
    """A text field for user names, with what completes them: a combobox by the pattern of ARIA."""

    template_name = "persistent_messages/widgets/recipients.html"
    people_url = ""
    """Where names are completed."""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """Add where names are completed."""
        context = super().get_context(name, value, attrs)
        context["widget"]["people_url"] = self.people_url
        return context


class RecipientsField(forms.CharField):
    """User names, separated by commas; each once."""

    widget = RecipientsInput

    def to_python(self, value: Any) -> Any:
        """Return the names in the order given."""
        text = super().to_python(value) or ""
        return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))

    def validate(self, value: Any) -> None:
        """Ask for at least one and at most `MAX_RECIPIENTS` names."""
        super().validate(value)
        if len(value) > get_config().MAX_RECIPIENTS:
            raise ValidationError(policy.too_many(), "max_length")

    def run_validators(self, value: Any) -> None:
        """Check each name."""
        for name in value:
            super().run_validators(name)


class _LetterForm(forms.Form):
    """What letter and reply share. Made for `sender`, who is never read from the form."""

    letter = forms.CharField(widget=forms.HiddenInput, required=False)
    message = forms.CharField(
        label=_("Message"), widget=forms.Textarea(attrs={"rows": 8, "dir": "auto"})
    )

    def __init__(self, sender: Any, *args: Any, url: str = "", **kwargs: Any) -> None:
        kwargs = {"auto_id": "pm-%s", "label_suffix": "", **kwargs}
        super().__init__(*args, **kwargs)
        self.sender = sender
        self.fields["letter"].initial = self._new_token
        self.helper = self._helper(url)
        limit = get_config().MESSAGE_LENGTH
        self.fields["message"].widget.attrs["data-pm-limit"] = str(limit)

    def _check_when_left(self, name: str, url: str) -> None:
        place = f"#div_pm-{name}"
        self.fields[name].widget.attrs |= {
            "hx-post": url,
            # Later than a click on the button that makes the field lose the focus, and not while
            # that sends the form: nothing may move under it.
            "hx-trigger": "change delay:400ms",
            "hx-sync": "closest form:abort",
            "hx-vals": f'{{"pm-field": "{name}"}}',
            "hx-target": place,
            "hx-select": place,
            "hx-swap": "outerHTML",
        }

    def _helper(self, url: str) -> FormHelper:
        helper = FormHelper()
        helper.form_action = url
        helper.form_class = "pm-form"
        helper.attrs = {
            "hx-post": url,
            "hx-target": "closest .pm-letter",
            "hx-swap": "outerHTML",
            "hx-sync": "this:drop",
        }
        helper.layout = Layout(*self.fields, Submit("send", _("Send")))
        return helper

    def _new_token(self) -> str:
        return signing.dumps(str(uuid4()), salt=f"{SALT}.{self.sender.pk}")

    def clean(self) -> dict[str, Any]:
        """Tell which letter this is: sent once, however often the form is."""
        cleaned = super().clean() or {}
        token, salt = cleaned.get("letter", ""), f"{SALT}.{self.sender.pk}"
        try:
            cleaned["letter"] = UUID(signing.loads(token, salt=salt, max_age=MAX_AGE))
        except (signing.BadSignature, TypeError, ValueError):
            data: Any = self.data
            renewed = data.copy()
            renewed["letter"] = self._new_token()
            self.data = renewed
            self.add_error(None, _("This form was open for long. Send it again."))
        return cleaned

    def clean_message(self) -> str:
        """Return the text as it will be stored."""
        return _accepted(letters.checked_text, self.cleaned_data["message"])

    def focus_issue(self) -> None:
        """Have the first field with an error take the focus."""
        for name in self.fields:
            if name in self.errors:
                self.fields[name].widget.attrs["autofocus"] = ""
                return

    def only(self, name: str) -> None:
        """Keep the errors of one field: the others were not reached yet."""
        for other in [other for other in self.errors if other != name]:
            del self.errors[other]

    def send_to(self, recipients: list[Any], **more: Any) -> Message | None:
        """Send it; returns the sender's own copy, or None where the form says why not."""
        cleaned = self.cleaned_data
        try:
            return letters.send(
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
    """A new letter, to one or several."""

    to = RecipientsField(
        label=_("To"),
        help_text=_("User names, separated by commas."),
        validators=[ProhibitNullCharactersValidator()],
    )
    subject = forms.CharField(
        label=_("Subject"),
        required=False,
        max_length=letters.SUBJECT_LENGTH,
        widget=forms.TextInput(attrs={"dir": "auto"}),
    )

    field_order = ("letter", "to", "subject", "message")

    def __init__(self, *args: Any, people_url: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        to: Any = self.fields["to"].widget
        to.people_url = people_url
        for name in ("to", "subject"):
            self._check_when_left(name, self.helper.form_action)

    def clean_to(self) -> list[Any]:
        """Return the users; one answer for whoever cannot be reached, unknown or not."""
        names = self.cleaned_data["to"]
        if self.sender.get_username() in names:
            raise ValidationError(_("You cannot write to yourself."), "yourself")
        found = policy.named(self.sender, names)
        missing = [name for name in names if name not in found]
        if missing:
            raise ValidationError([policy.undeliverable(name) for name in missing])
        return [found[name] for name in names]

    def clean_subject(self) -> str:
        """Return the subject as it will be stored."""
        return _accepted(letters.checked_subject, self.cleaned_data["subject"])

    def send(self) -> Message | None:
        """Send it; returns the sender's own copy, or None where the form says why not."""
        return self.send_to(self.cleaned_data["to"])


class ReplyForm(_LetterForm):
    """An answer to a letter."""

    def __init__(self, *args: Any, reply_to: Message, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reply_to = reply_to
        self.fields["message"].label = _("Your answer")
        self.fields["message"].widget.attrs["rows"] = "4"

    def send(self) -> Message | None:
        """Send it to the other end; returns the own copy, or None where the form says why not."""
        try:
            other = letters.other_end(self.sender, self.reply_to)
        except LetterRefused as refused:
            self.add_error(None, refused.reason)
            return None
        return self.send_to([other], reply_to=self.reply_to)


class ReportForm(forms.Form):
    """Why a letter is shown to the staff."""

    reason = forms.CharField(
        label=_("What is wrong with it?"),
        required=False,
        max_length=letters.REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 4, "dir": "auto"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {"auto_id": "pm-%s", "label_suffix": "", **kwargs}
        super().__init__(*args, **kwargs)
        self.helper = FormHelper()
        self.helper.form_class = "pm-form"
        self.helper.layout = Layout(*self.fields, Submit("send", _("Report")))


def _accepted(check: Callable[[Any], str], value: Any) -> str:
    try:
        return check(value)
    except LetterRefused as refused:
        raise ValidationError(refused.reason) from None
