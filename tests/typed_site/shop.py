"""Code of a site for the type checker. Unused ignores are errors, so mistakes must be found."""

from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

import persistent_messages
from persistent_messages import WARNING, LetterRefused, Notice, Topic, audience
from persistent_messages.models import Broadcast, Message
from persistent_messages.storage import PersistentMessageStorage

storage = Topic("storage", _("Storage"))


class QuotaNearlyFull(Notice):
    topic = storage
    level = WARNING
    subject = _("Storage is %(percent)d %% full")
    message = "Uploads stop at 100 %%."
    key = "quota"
    min_interval = timedelta(hours=1)

    def url(self) -> str:
        return "/storage/"


@audience("trial", _("Trial users"))
def on_trial(user: User) -> bool:
    return user.is_staff


def shortcuts(request: HttpRequest, user: User) -> HttpResponse:
    persistent_messages.info(request, _("Saved."), subject="Settings", user=user)
    persistent_messages.success(request, "Saved.", expires=timezone.now(), close_timeout=500)
    row: Message | None = persistent_messages.add_message(request, WARNING, "Look here.")
    persistent_messages.info(request, 5)  # type: ignore[arg-type]
    persistent_messages.info(request, "Saved.", nobody=user)  # type: ignore[call-arg]
    return HttpResponse(row.subject if row is not None else "")


def sending(user: User, group: Group) -> int:
    count: int = persistent_messages.send_message(user, WARNING, "Look here.", topic=storage)
    count += persistent_messages.send_message([user.pk, user], WARNING, _("Look here."))
    count += persistent_messages.send_message(group, WARNING, "Look here.", url="/")
    count += persistent_messages.send_message(User.objects.filter(is_active=True), WARNING, "Hello")
    count += persistent_messages.resolve(User.objects.all(), "quota")
    persistent_messages.send_message(user, WARNING, b"Look here.")  # type: ignore[arg-type]
    persistent_messages.send_message(user, WARNING)  # type: ignore[call-arg]
    persistent_messages.send_message(2.5, WARNING, "Look here.")  # type: ignore[arg-type]
    return count


def notices(user: User, request: HttpRequest) -> int:
    notice = QuotaNearlyFull(percent=90)
    found: Broadcast = persistent_messages.broadcast(WARNING, _("Maintenance on Sunday"))
    found.withdraw()
    return notice.send(user) + notice.send(request=request) + QuotaNearlyFull.resolve([user])


async def waiting(user: User, request: HttpRequest) -> int:
    await persistent_messages.aload(request)
    return await QuotaNearlyFull(percent=90).asend(user)


def letters(sender: User, recipient: User) -> Message | None:
    try:
        return persistent_messages.send_letter(sender, [recipient], "Lunch?", "At noon.")
    except LetterRefused as refused:
        persistent_messages.send_letter(sender, recipient, "", str(refused), "first")  # type: ignore[arg-type]
    return None


def reading(request: HttpRequest) -> int:
    messages = PersistentMessageStorage(request)
    unread: int = messages.count_unread()
    return unread + messages.get_persistent_unread().count()
