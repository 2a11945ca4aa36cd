"""Pages that iterate over `messages` themselves: admin sites, Wagtail, and PLAIN_PAGES."""

import pytest
from django.contrib import admin
from django.contrib import messages as contrib_messages
from django.contrib.admin.sites import AdminSite
from django.contrib.messages import constants
from django.contrib.messages.storage.base import Message as ContribMessage
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.template import engines
from django.test import Client, override_settings
from django.urls import include, path
from django.views import View

import persistent_messages
from persistent_messages import send_message
from persistent_messages.storage import PersistentMessageStorage

# Copied from the templates of these packages.
LOOPS = {
    # Wagtail's tag returns `level_tag` of the level; for None there is no icon, which is an error.
    "wagtail": """{% for message in messages %}
        <li class="{{ message.own_tag }}">{{ message.message }}</li>{% endfor %}""",
    "jazzmin": """{% for message in messages %}{% if message.tags == "success" %}
        <div class="success">{{ message|capfirst }}</div>{% elif message.tags == "error" %}
        <div class="error">{{ message|capfirst }}</div>{% elif message.tags == "warning" %}
        <div class="warning">{{ message|capfirst }}</div>{% elif message.tags == "info" %}
        <div class="info">{{ message|capfirst }}</div>{% endif %}{% endfor %}""",
    "unfold": """{% for message in messages %}{% if message.level == DEFAULT_MESSAGE_LEVELS.INFO %}
        <div class="info">{{ message }}</div>
        {% elif message.level == DEFAULT_MESSAGE_LEVELS.SUCCESS %}
        <div class="success">{{ message }}</div>
        {% elif message.level == DEFAULT_MESSAGE_LEVELS.WARNING %}
        <div class="warning">{{ message }}</div>
        {% elif message.level == DEFAULT_MESSAGE_LEVELS.ERROR %}
        <div class="error">{{ message }}</div>
        {% else %}<div class="debug">{{ message }}</div>{% endif %}{% endfor %}""",
    "grappelli": """{% for message in messages %}
        <li{% if message.tags %} class="{{ message.tags }}"{% endif %}>{{ message }}</li>
        {% endfor %}""",
    "oscar": """{% for message in messages %}
        <div class="{% for tag in message.tags.split %}{{ tag }} {% endfor %}">
        {% if 'safe' in message.tags %}{{ message|safe }}{% else %}{{ message }}{% endif %}</div>
        {% endfor %}""",
}
LEVELS = {20: "info", 25: "success", 30: "warning", 40: "error"}
TEXT = "Order 17 was paid."


def looped(request, name):
    context = {}
    if name == "wagtail":
        found = list(contrib_messages.get_messages(request))
        # Its tag finds an icon by that, and fails for None.
        tags = [constants.DEFAULT_TAGS[message.level] for message in found]
        rows = [{"own_tag": tag, "message": m} for tag, m in zip(tags, found, strict=True)]
        context["messages"] = rows
    return HttpResponse(engines["django"].from_string(LOOPS[name]).render(context, request))


SEEN = {}


def adding(request):
    contrib_messages.warning(request, "<b>Look</b> here.", extra_tags=request.GET["extra"])
    return seeing(request) if "show" in request.GET else HttpResponse()


def seeing(request):
    SEEN[request.user.is_authenticated] = list(contrib_messages.get_messages(request))
    return HttpResponse()


def of_wagtail(request, name):
    return looped(request, name)


of_wagtail.__module__ = "wagtail.admin.views.home"


class WagtailView(View):
    __module__ = "wagtail.admin.views.generic.base"

    def get(self, request, name):
        return looped(request, name)


class SitesOwn(WagtailView):
    """A site's view in Wagtail's admin."""

    __module__ = "shop.views"


def served(request, name):
    return looped(request, name)


served.__module__ = "wagtail.views"


class Office(AdminSite):
    def get_urls(self):
        return [path("loop/<str:name>/", self.admin_view(looped)), *super().get_urls()]


urlpatterns = [
    path("admin/report/<str:name>/", looped),
    path("admin/", admin.site.urls),
    path("office/", Office(name="office").urls),
    path("cms/<str:name>/", of_wagtail),
    path("cms/view/<str:name>/", WagtailView.as_view()),
    path("cms/own/<str:name>/", SitesOwn.as_view()),
    path("served/<str:name>/", served),
    path("shop/<str:name>/", looped),
    path("adding/", adding),
    path("seeing/", seeing),
    path("messages/", include("persistent_messages.urls")),
]


class AdminAtTheRoot:
    urlpatterns = [path("shop/<str:name>/", looped), path("", admin.site.urls)]


PLAIN = ["/office/loop/{}/", "/admin/report/{}/", "/cms/{}/", "/cms/view/{}/", "/cms/own/{}/"]


@pytest.fixture(autouse=True)
def site(settings, user):
    settings.ROOT_URLCONF = __name__
    user.is_staff = user.is_superuser = True
    user.save()
    return settings


@pytest.fixture
def unread(user, other):
    for level in persistent_messages.PERSISTENT_MESSAGE_LEVELS:
        send_message(user, level, "Stays", extra_tags="own")
    send_message(user, persistent_messages.INFO, "From Harry", from_user=other)


@pytest.mark.parametrize("address", PLAIN)
@pytest.mark.parametrize("name", LOOPS)
def test_plain_page_shows_same_messages_as_contrib(client, user, unread, address, name):
    for level, tag in LEVELS.items():
        send_message(user, level, TEXT)
        page = client.get(address.format(name))
        assert page.status_code == 200
        assert page.text.count(TEXT) == 1
        assert f'class="{tag}' in page.text
        assert "Stays" not in page.text
        assert "Harry" not in page.text


@pytest.mark.parametrize("address", ["/admin/", "/admin/auth/user/", "/office/"])
def test_admin_pages_show_no_persistent_messages(client, user, unread, address):
    send_message(user, constants.WARNING, TEXT)
    page = client.get(address)
    assert f'<li class="warning">{TEXT}</li>' in page.text
    assert "Stays" not in page.text


@pytest.mark.parametrize("address", ["/shop/{}/", "/served/{}/"])
@pytest.mark.parametrize("name", ["grappelli", "oscar"])
def test_site_pages_show_persistent_messages(client, unread, address, name):
    """Includes pages that Wagtail serves, which are the site's own."""
    page = client.get(address.format(name))
    assert page.text.count("Stays") == 5
    for tag in LEVELS.values():
        assert f'class="own {tag} unread' in page.text


def test_admin_at_root_url_does_not_make_other_pages_plain(client, unread, settings):
    settings.ROOT_URLCONF = AdminAtTheRoot
    assert client.get("/shop/oscar/").text.count("Stays") == 5
    assert "Stays" not in client.get("/auth/user/").text


def test_plain_pages_setting_is_used(site, client, unread):
    site.PERSISTENT_MESSAGES = {"PLAIN_PAGES": lambda request: request.path.startswith("/shop/")}
    assert "Stays" not in client.get("/shop/grappelli/").text
    assert "Stays" in client.get("/cms/grappelli/").text


def test_persistent_message_added_by_plain_page_is_not_shown_there(rf, user, settings):
    settings.PERSISTENT_MESSAGES = {"PLAIN_PAGES": lambda request: True}
    request = rf.get("/")
    request.user, request.session = user, {}
    storage = PersistentMessageStorage(request)
    assert len(storage) == 0
    storage.add(persistent_messages.INFO, "Stays")
    storage.add(constants.INFO, "Passes")
    assert [str(message) for message in storage] == ["Passes"]
    assert [str(message) for message in storage.get_persistent()] == ["Stays"]


def test_error_in_plain_pages_setting_names_it(client, site):
    site.PERSISTENT_MESSAGES = {"PLAIN_PAGES": lambda request: 1 / 0}
    with pytest.raises(ImproperlyConfigured, match="PLAIN_PAGES"):
        client.get("/shop/grappelli/")


# What every loop gets


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("extra", ["", "own other"])
def test_tags_start_with_tags_of_contrib(user, send, level, extra):
    contribs = ContribMessage(level, TEXT, extra)
    for own in ({}, {constants.ERROR: "danger"}):
        with override_settings(MESSAGE_TAGS=own):
            passing = send(TEXT, level, extra_tags=extra)
            stays = send(TEXT, level + 100, extra_tags=extra)
            assert passing.tags == contribs.tags
            assert stays.tags == f"{contribs.tags} unread"
            assert passing.level_tag == stays.level_tag == contribs.level_tag
            assert (passing.level, stays.level) == (level, level + 100)


ATTRIBUTES = [
    "pk",
    "id",
    "subject",
    "message",
    "level",
    "base_level",
    "level_tag",
    "tags",
    "extra_tags",
    "is_persistent",
    "read",
    "read_at",
    "created",
    "url",
    "expires",
    "close_timeout",
    "from_user",
    "from_name",
    "title",
    "snippet",
    "plain_text",
    "is_letter",
    "has_expired",
    "thread",
    "user",
    "user_id",
]


@pytest.mark.parametrize("extra", ["", "own"])
@pytest.mark.parametrize("query", [{}, {"show": 1}], ids=["the next page", "the same page"])
def test_visitor_message_equals_user_message(client, visitor, query, extra):
    for browser in (client, visitor):
        browser.get("/adding/", {"extra": extra, **query})
        if not query:
            browser.get("/seeing/")
    (users,), (visitors,) = SEEN[True], SEEN[False]

    for name in ATTRIBUTES:
        assert hasattr(visitors, name), name
        if name not in {"pk", "id", "created", "user", "user_id"}:
            assert getattr(visitors, name) == getattr(users, name), name
    assert visitors.pk is visitors.user is visitors.user_id is None
    assert abs(visitors.created - users.created).total_seconds() < 600
    contribs = ContribMessage(constants.WARNING, "<b>Look</b> here.", extra)
    assert visitors == contribs == visitors
    assert str(visitors) == str(users)


def test_visitor_cookie_equals_cookie_of_fallback_storage(site, db):
    cookies = []
    for storage in (
        "persistent_messages.storage.PersistentMessageStorage",
        "django.contrib.messages.storage.fallback.FallbackStorage",
    ):
        site.MESSAGE_STORAGE = storage
        browser = Client()
        for extra in ("", "own"):
            browser.get("/adding/", {"extra": extra})
        cookies.append(browser.cookies["messages"].value)

    assert cookies[0] == cookies[1]
