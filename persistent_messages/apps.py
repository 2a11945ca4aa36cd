"""The app as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks as django_checks
from django.utils.translation import gettext_lazy as _


class PersistentMessagesConfig(AppConfig):
    """Connects the checks and the receivers."""

    name = "persistent_messages"
    verbose_name = _("Messages")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what listens: only now may the models be imported."""
        from . import checks, email, signals

        django_checks.register(checks.check_site)
        signals.messages_delivered.connect(
            email.mail_delivered, dispatch_uid="persistent_messages.email"
        )
