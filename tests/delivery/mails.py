"""The HTML of the mails, for a linter: `python -m tests.delivery.mails FOLDER` writes it to files.

One of each kind, with all that a mail can have. No database is asked.
"""

import os
import sys
from pathlib import Path
from uuid import uuid4

import django


def write_mails(folder):
    from django.contrib.auth import get_user_model
    from django.test import override_settings
    from django.utils import translation
    from django.utils.safestring import mark_safe

    from persistent_messages.delivery.addresses import Site
    from persistent_messages.delivery.composing import DIGEST_LENGTH, Mail, compose
    from persistent_messages.models import DueMail, Message

    reader = get_user_model()(pk=1, username="sally", email="sally@example.com")
    conversation = uuid4()
    letter = {"from_name": "Harry", "letter": conversation, "thread": conversation}
    notice = {"subject": "Lunch?", "is_safe": True}
    messages = {
        "notice": [Message(pk=1, message=mark_safe("<p>At <b>noon</b>.</p>"), **notice)],
        "letter": [Message(pk=n, message="At noon.\n\nOr later.", **letter) for n in (1, 2)],
        "digest": [
            Message(pk=n, subject="Lunch?", message="At noon.", from_name="Harry")
            for n in range(1, DIGEST_LENGTH + 3)
        ],
    }
    site = {"SITE_URL": "https://example.org", "LETTERS": True}
    for kind, texts in messages.items():
        for each in texts:
            each.user, each.level = reader, 120
        mail = Mail(kind, reader, [DueMail(pk=1, user=reader, message_id=1)], texts)
        for language in ("en", "ar"):
            with override_settings(PERSISTENT_MESSAGES=site), translation.override(language):
                html = compose(mail, Site(), {}).alternatives[0][0]
            (folder / f"{kind}-{language}.html").write_text(html)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    write_mails(Path(sys.argv[1]))
