"""The one distribution that must not be installed beside ours: it ships a package of this name.

Whichever was installed last has overwritten files of the other, so that nothing can be relied on.
Imported by `constants`, and so before anything else of ours does its work.
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
    """Tell whether it is; by its name, since to ask which files it has takes far longer."""
    try:
        distribution(NAME)
    except PackageNotFoundError:
        return False
    return True


if is_installed():
    raise ImproperlyConfigured(f"{MESSAGE} {HINT}")
