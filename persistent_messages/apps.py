"""The app configuration."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core import checks as django_checks
from django.db.models.signals import post_delete
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class PersistentMessagesConfig(AppConfig):
    """Registers the checks and connects the receivers."""

    name = "persistent_messages"
    verbose_name = _("Messages")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the models, and register everything that needs them."""
        from . import checks, signals
        from .delivery import channels, outbox
        from .delivery import checks as mail_checks
        from .delivery import live as live_channel
        from .http import draft_cookie, visits
        from .live import events
        from .mailbox import locks
        from .notices import arrivals
        from .notices import checks as notice_checks
        from .users import accounts, switches

        django_checks.register(checks.check_site)
        django_checks.register(notice_checks.check_notices)
        django_checks.register(mail_checks.check_mail, django_checks.Tags.database)
        autodiscover_modules("notices")
        signals.mail_due.connect(outbox.send_at_once, dispatch_uid="persistent_messages.email")
        signals.messages_delivered.connect(
            channels.receive, dispatch_uid="persistent_messages.channels"
        )
        for signal, receiver in (
            (signals.messages_delivered, live_channel.receive_delivery),
            (signals.messages_copied, live_channel.receive_copies),
            (signals.mailbox_changed, live_channel.receive_change),
            (signals.letter_sent, live_channel.receive_letter),
            (user_logged_out, events.receive_log_out),
        ):
            signal.connect(receiver, dispatch_uid="persistent_messages.live")
        visits.mailbox_visited.connect(
            arrivals.receive, dispatch_uid="persistent_messages.broadcasts"
        )
        locks.connect_deletion_lock()
        user_logged_out.connect(
            draft_cookie.remember_log_out, dispatch_uid="persistent_messages.draft_cookie"
        )
        user_logged_out.connect(
            switches.remember_log_out, dispatch_uid="persistent_messages.log_out"
        )
        user_logged_in.connect(switches.remember_switch, dispatch_uid="persistent_messages.switch")
        user = apps.get_model(settings.AUTH_USER_MODEL)
        for model in apps.get_models():
            if model._meta.concrete_model is user:  # the user model and its proxies
                post_delete.connect(
                    accounts.remember_deleted,
                    sender=model,
                    dispatch_uid="persistent_messages.accounts",
                )
