"""Render forms with django-crispy-forms, in the site's template pack or in the app's own.

crispy-forms is imported when the first form is rendered, so a site without letters never loads it.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.template import Context
from django.utils.html import escape
from django.utils.safestring import SafeString

OWN_PACK = "persistent_messages/crispy"
"""The directory of the app's template pack, for sites that have none."""


def site_template_pack() -> str | None:
    """Return the setting `CRISPY_TEMPLATE_PACK`, or None."""
    return getattr(settings, "CRISPY_TEMPLATE_PACK", None)


def render_form(form: Any, context: Context) -> SafeString:
    """Render `form`, which has the attributes `html_attrs` and `buttons`, in `context`.

    A form may also have `groups`: pairs of a heading and the names of the fields on its line.
    """
    from crispy_forms.utils import render_crispy_form

    helper = _form_helper(form)
    if site_template_pack():
        return SafeString(render_crispy_form(form, helper, context.flatten()))
    # `render_crispy_form()` and `{% crispy %}` need the setting, but the helper does not.
    page: Any = context.template
    template = page.engine.get_template(f"{OWN_PACK}/whole_uni_form.html")
    attributes = helper.get_attributes(template_pack=OWN_PACK)
    form.form_html = helper.render_layout(form, Context(context.flatten()), template_pack=OWN_PACK)
    with context.push(form=form, **attributes):
        return SafeString(template.render(context))


def _form_helper(form: Any) -> Any:
    from crispy_forms.helper import FormHelper
    from crispy_forms.layout import HTML, Div, Layout, Submit

    helper = FormHelper()
    helper.form_class = "pm-form"
    helper.attrs = dict(form.html_attrs)
    buttons = [
        Submit(button.name, button.label)
        if button.is_primary
        else Submit(button.name, button.label, css_class="btn-secondary", formnovalidate="")
        for button in form.buttons
    ]
    lines = [
        part
        for label, names in getattr(form, "groups", [])
        for part in (HTML(_heading(label)), Div(*names, css_class="pm-actions"), HTML("</div>"))
    ]
    helper.layout = Layout(*(lines or form.fields), Div(*buttons, css_class="pm-actions"))
    return helper


def _heading(label: str) -> str:
    # crispy-forms renders the string as a template.
    return f"<div class='pm-bar pm-head'><h2><b>{escape(label).replace('{', '&#123;')}</b></h2>"
