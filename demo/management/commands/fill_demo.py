"""`manage.py fill_demo`: create users and realistic messages for the demo site."""

import random
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from persistent_messages import DEBUG, ERROR, INFO, SUCCESS, WARNING, send_letter, send_message
from persistent_messages.models import Message

PASSWORD = "demo"  # noqa: S105 (it is printed)
PEOPLE = [
    ("mara", "Mara", "Quill", True),
    ("priya", "Priya", "Raman", False),
    ("amara", "Amara", "Okafor", False),
    ("jun", "Jun", "Sato", False),
    ("tomas", "Tomas", "Lindqvist", False),
    ("layla", "ليلى", "حداد", False),
]
# level, subject, text
NOTICES = [
    (
        ERROR,
        "Nightly export failed",
        "The disk quota was reached before the file was complete. Nothing was lost; the next run is at 02:00.",
    ),
    (
        ERROR,
        "worker-17.queue.imports.contacts.2026-11-22T14:51:07Z.retry.exhausted.final",
        "Six attempts in forty minutes.",
    ),
    (
        ERROR,
        "Payment declined",
        "The bank refused the card ending 4242. Your plan stays as it is for seven days.",
    ),
    (
        WARNING,
        "Your card ending 4242 expires soon",
        "Update it before the end of the month to keep your plan.",
    ),
    (
        WARNING,
        "Storage is 90 % full",
        "11.2 GB of 12.5 GB are in use. The largest project is “Archive 2019”.",
    ),
    (
        WARNING,
        "New sign-in from Firefox on Linux",
        "If this was not you, change your password now.",
    ),
    (
        SUCCESS,
        "Contacts imported",
        "1,284 people added, 16 skipped because they were already here.",
    ),
    (SUCCESS, "Backup complete", "All 42 projects, in 3 minutes and 20 seconds."),
    (SUCCESS, "Invoice 2026-1107 is paid", "Thank you! The receipt is in your billing area."),
    (
        INFO,
        "Two-step sign-in is on for your team",
        "Everyone is asked for a code the next time they sign in.",
    ),
    (
        INFO,
        "Maintenance on Sunday",
        "The site is read-only from 06:00 to 06:30 UTC.\n\nYou need to do nothing; what you save before stays saved.",
    ),
    (INFO, "", "A short notice without a subject."),
    (INFO, "🎉 Five years with us", "Thank you for staying. Here is to the next five! 🥂"),
    (
        INFO,
        "تم تحديث شروط الخدمة",
        "تسري الشروط الجديدة اعتباراً من الأول من ديسمبر. لا يلزمك القيام بأي شيء.",
    ),
    (DEBUG, "Search index rebuilt in 4.2 s", "18,204 documents, no errors."),
    (
        INFO,
        "What changed in November",
        "Filters keep their place when you go back. Exports are twice as quick. " * 12
        + "\n\nRead more at https://example.com/changes.",
    ),
]
# From one person to another: a subject, and what the two write in turn.
CONVERSATIONS = [
    (
        "Venue for the spring meetup",
        [
            "Morning! I am looking for a room for the spring meetup. Same size as last time?",
            "A little bigger. We turned twelve people away in the autumn.",
            "I have seen two halls for March. The one on Dock Street is brighter, the library is cheaper by a third.",
            "Dock Street sounds right. Is it step-free?",
            "Yes, step-free from the street, and the lift reaches every floor.\n\nShall I put down the deposit?",
        ],
    ),
    ("December rota", ["Can you take Thursday?", "Thursday works for me, I will swap with Jun."]),
    (
        "Photos from the workshop",
        [
            "I picked twelve that work for the newsletter. The rest are at https://example.com/photos."
        ],
    ),
    (
        "Contract v2 (signed)",
        [
            "Did the contract come back?",
            "Signed. The scan is on the drive.",
            "Wonderful, thank you!",
        ],
    ),
    ("موعد لقاء الربيع", ["القاعة متاحة يوم الرابع عشر. هل أدفع العربون الآن؟", "نعم، من فضلك."]),
    ("Re: Re: minutes", ["Only two small corrections, both in the second part. 👍"]),
]
MESSAGES_EACH = 80


def dealt(cards, count, chance):
    """Deal `count` shuffled `cards`; none is repeated before all others have been dealt."""
    hand = []
    while len(hand) < count:
        hand += chance.sample(cards, len(cards))
    return hand[:count]


class Command(BaseCommand):
    """Creates the users once, and fills their mailboxes if all of them are empty."""

    help = "Creates the users of the demo, and fills their mailboxes if they are empty."

    def add_arguments(self, parser):
        parser.add_argument("--address", default="", help="URL of the site, to print it")

    def handle(self, *, address, **options):
        people = [self.make_person(*person) for person in PEOPLE]
        self.stdout.write("Filling the mailboxes …")
        if not Message.objects.filter(user__in=people).exists():
            self.fill(people)
        self.stdout.write(f"{Message.objects.count()} messages in {len(people)} mailboxes.")
        if address:
            self.stdout.write(self.style.SUCCESS(f"\nOpen {address}"))
            names = ", ".join(person.get_username() for person in people)
            self.stdout.write(f"Log in as one of: {names}. Password: {PASSWORD}")
            self.stdout.write(f"{people[0].get_username()} is staff: {address}admin/\n")

    def make_person(self, username, first_name, last_name, is_staff):
        person, new = get_user_model().objects.get_or_create(
            username=username,
            defaults={
                "first_name": first_name,
                "last_name": last_name,
                "email": f"{username}@example.com",
                "is_staff": is_staff,
                "is_superuser": is_staff,
            },
        )
        if new:
            person.set_password(PASSWORD)
            person.save()
        return person

    @transaction.atomic
    def fill(self, people):
        """Give each user a message in turn, so that all mailboxes cover the same weeks."""
        chance = random.Random(1)
        hands = {person: dealt(NOTICES + CONVERSATIONS, MESSAGES_EACH, chance) for person in people}
        for turn in range(MESSAGES_EACH):
            before = Message.objects.latest("pk").pk if turn else 0
            for person in people:
                card = hands[person][turn]
                if card in CONVERSATIONS:
                    others = [other for other in people if other != person]
                    self.correspond(chance.choice(others), person, *card)
                else:
                    self.tell(person, *card, chance)
            self.date(Message.objects.filter(pk__gt=before), MESSAGES_EACH - turn, chance)

    def tell(self, person, level, subject, text, chance):
        expires = None
        if chance.random() < 0.15:
            expires = timezone.now() + timedelta(days=chance.randint(1, 20))
        send_message(person, level, text, subject=subject, expires=expires)

    def correspond(self, one, other, subject, texts):
        last = send_letter(one, other, subject, texts[0])
        for number, text in enumerate(texts[1:], start=1):
            writer = other if number % 2 else one
            mine = Message.objects.get(user=writer, letter=last.letter)
            last = send_letter(writer, None, "", text, reply_to=mine)

    def date(self, rows, age, chance):
        """Set the age of `rows`, and mark most of the older ones as read."""
        now = timezone.now()
        for row in rows:
            row.created = now - timedelta(
                minutes=12 * age + 2 * age * age - (row.thread_position or 0)
            )
            if row.is_sent or chance.random() < min(0.95, age / 20):
                row.read_at = row.created + timedelta(minutes=5)
            row.save(update_fields=["created", "read_at"])
