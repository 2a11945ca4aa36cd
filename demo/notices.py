"""The topics and notice classes of the demo site."""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from persistent_messages import INFO, SUCCESS, WARNING, Notice, Topic

Topic("maintenance", _("Maintenance"))
Topic("billing", _("Billing"), mail="unread")
Topic("storage", _("Storage"))
Topic("team", _("Team"))


class StorageNearlyFull(Notice):
    """At most one in an inbox: sending it again renews it, and resolving removes it."""

    topic = "storage"
    level = WARNING
    subject = _("Storage is %(percent)d %% full")
    message = _("Uploads stop at 100 %%. The largest project is “%(project)s”.")
    action = _("See the project")
    key = "storage"
    example = {"percent": 90, "project": "Archive 2019"}

    def url(self) -> str:
        return reverse("project")


class InvitedToTeam(Notice):
    """At most one for each team."""

    topic = "team"
    level = SUCCESS
    subject = _("You are invited to “%(team)s”")
    message = _("%(inviter)s would like to work with you.")
    example = {"team": "Atlas", "inviter": "Priya Raman"}

    def key(self, team: str) -> str:
        return f"invited:{team}"


class Maintenance(Notice):
    """Broadcast to everybody."""

    topic = "maintenance"
    level = INFO
    subject = _("Read-only on Sunday")
    message = _("You can read everything from 06:00 to 06:30, and save nothing.")
    key = "maintenance"
