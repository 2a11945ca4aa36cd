"""Refuse to run beside another distribution that ships a package with the same name.

The one that was installed last has overwritten files of the other. `constants` imports this module,
so it runs before any other code of the app.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

from django.core.exceptions import ImproperlyConfigured

NAME: Final = "django-persistent-messages"
MESSAGE: Final = f"The distribution {NAME} is installed too, and ships the same import name."
HINT: Final = (
    f"pip uninstall {NAME}, then pip install --force-reinstall --no-deps django-persistent-inbox."
)


def is_installed() -> bool:
    """Return whether the distribution is installed, by its name, as listing its files is slow."""
    try:
        distribution(NAME)
    except PackageNotFoundError:
        return False
    return True


if is_installed():
    raise ImproperlyConfigured(f"{MESSAGE} {HINT}")
