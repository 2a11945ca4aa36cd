"""How Sphinx builds this documentation: `python3 dev.py docs`."""

from importlib.metadata import version as version_of

import django
from django.conf import settings

# To read the docstrings of the package, Django needs its models.
settings.configure(
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django_htmx",
        "persistent_messages",
    ],
    USE_TZ=True,
)
django.setup()

project = "django-persistent-inbox"
author = "the authors of persistent_messages"
project_copyright = f"2011-2026, {author}"
release = version = version_of("django-persistent-inbox")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
# Headings can be linked to, as in `settings.md#letters`.
myst_heading_anchors = 4

# The docstrings put code between single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
nitpicky = True
# Types are written out, and not linked: Django and Python are not part of this documentation.
nitpick_ignore_regex = [("py:class", ".*")]

html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
