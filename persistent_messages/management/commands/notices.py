"""`manage.py notices`: list the site's notice classes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from persistent_messages.notices.kinds import Notice, kinds, source_texts


class Command(BaseCommand):
    """Lists the site's notice classes."""

    help = "Lists the site's notice classes, with their texts and parameters."

    def handle(self, **options: Any) -> None:
        """Print a paragraph for each class."""
        for kind in kinds():
            self.stdout.write("\n".join(_lines(kind)) + "\n")
        if not kinds():
            self.stdout.write("There are none. Write one in the notices.py of an app.")


def _lines(kind: type[Notice]) -> list[str]:
    subject, message = source_texts(kind)
    text = message or f"by the template {kind.template_name}"
    key = "by a method" if callable(kind.key) else kind.key
    described = {
        "says": f"{subject}: {text}" if subject else text,
        "takes": ", ".join(kind.parameter_names()),
        "topic": getattr(kind.topic, "name", kind.topic),
        "key": key,
    }
    lines = [f"  {name}: {value}" for name, value in described.items() if value]
    return [f"{kind.kind()} ({kind.level})", *lines]
