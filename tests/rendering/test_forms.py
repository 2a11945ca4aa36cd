"""Forms as HTML."""

import os
import subprocess
import sys

import pytest
from django.template import engines
from django.test import RequestFactory

from persistent_messages.letters.forms import LetterForm, ReportForm
from persistent_messages.rendering.forms import site_template_pack


def test_crispy_forms_is_imported_when_form_is_rendered():
    """Sites that render no forms do not import it."""
    code = """
import sys
import django
django.setup()
from django.template import Context, engines
from persistent_messages import urls
from persistent_messages.letters.forms import ReportForm
page = engines["django"].from_string("{% load persistent_messages %}{% letter_form form %}")
loaded = [name for name in sys.modules if name.startswith("crispy")]
assert not loaded, loaded
assert "<form " in page.render({"form": ReportForm()})
assert "crispy_forms.helper" in sys.modules
"""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=env)


@pytest.mark.parametrize("pack", [None, "", "bootstrap5"])
def test_template_pack_is_read_at_each_use(settings, pack):
    settings.CRISPY_TEMPLATE_PACK = pack
    assert (site_template_pack() or None) == (pack or None)


def render_form(form):
    template = engines["django"].from_string("{% load persistent_messages %}{% letter_form form %}")
    return template.render({"form": form}, RequestFactory().get("/"))


@pytest.mark.django_db
def test_form_posts_to_its_url_with_csrf_token(user):
    page = render_form(LetterForm(user, url="/messages/write/"))

    assert page.count("<form ") == 1
    for text in (
        'action="/messages/write/"',
        'hx-post="/messages/write/"',
        'method="post"',
        'class="pm-form"',
        'name="csrfmiddlewaretoken"',
    ):
        assert text in page


def test_form_without_url_posts_to_current_page():
    page = render_form(ReportForm())

    assert " action=" not in page
    assert 'name="reason"' in page
