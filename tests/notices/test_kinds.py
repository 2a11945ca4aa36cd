"""Notices as classes: parameters, texts, languages, sending and resolving."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages import INFO as ONCE
from django.contrib.messages import MessageFailure
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from django.template import TemplateDoesNotExist
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy, override

import persistent_messages
from persistent_messages import WARNING, Notice, Topic
from persistent_messages.models import Message
from persistent_messages.storage import PersistentMessageStorage

pytestmark = pytest.mark.django_db

Topic("storage", "Storage")


class QuotaNearlyFull(Notice):
    topic = "storage"
    level = WARNING
    subject = "Storage is %(percent)d %% full"
    message = "Uploads stop at 100 %%. The largest project is “%(project)s”."
    url = "/storage/"
    action = "Upgrade"
    key = "quota"


class Invited(Notice):
    """With methods of its parameters, and a text that the app's own catalog translates."""

    subject = gettext_lazy("Archive “%(title)s”")
    message = "%(inviter)s invites you."
    level = WARNING

    def url(self, team):
        return reverse("message_list") + f"?q={team}"

    def key(self, team):
        return f"invited:{team}"


class Seldom(Notice):
    message = "Build %(number)d failed."
    key = "build"
    min_interval = timedelta(hours=1)
    email = True


@pytest.fixture(autouse=True)
def no_other_notices(monkeypatch):
    monkeypatch.setattr("persistent_messages.notices.kinds.classes", [])


@pytest.fixture
def weekly():
    class Weekly(Notice):
        subject = "Your week"
        template_name = "notices/weekly.html"
        parameters = ("builds",)

    return Weekly


@pytest.fixture(autouse=True)
def site(settings):
    weekly = "<ul>{% for build in builds %}<li>{{ build }}</li>{% endfor %}</ul>"
    templates = {"notices/weekly.html": weekly, "notices/broken.html": "{{ builds|divisibleby:0 }}"}
    loaders = [("django.template.loaders.locmem.Loader", templates)]
    options = {**settings.TEMPLATES[0]["OPTIONS"], "loaders": loaders}
    settings.TEMPLATES = [
        *settings.TEMPLATES,
        {**settings.TEMPLATES[0], "NAME": "texts", "APP_DIRS": False, "OPTIONS": options},
    ]
    return settings


@pytest.fixture
def request_of_user(client, user):
    request = client.get("/").wsgi_request
    request.user = user
    request._messages = PersistentMessageStorage(request)
    return request


def make_notice(**kwargs):
    return QuotaNearlyFull(**{"percent": 90, "project": "Archive", **kwargs})


# Parameters


def test_notice_class_is_imported_lazily():
    assert persistent_messages.Notice is Notice
    with pytest.raises(AttributeError, match="has no attribute 'Notise'"):
        persistent_messages.Notise  # noqa: B018


def test_parameters_come_from_texts_methods_and_template(weekly):
    assert QuotaNearlyFull.parameter_names() == ("percent", "project")
    assert Invited.parameter_names() == ("title", "inviter", "team")
    assert weekly.parameter_names() == ("builds",)


def test_missing_parameter_is_named_in_error():
    with pytest.raises(TypeError, match=r"^QuotaNearlyFull is missing the parameter 'project'"):
        QuotaNearlyFull(percent=90)


def test_unknown_parameter_is_named_in_error(weekly):
    with pytest.raises(TypeError, match=r"^QuotaNearlyFull has no parameter 'team'; it takes"):
        make_notice(team="A")
    with pytest.raises(TypeError, match="it takes 'builds'"):
        weekly(builds=[], team="A")


def test_parameter_may_have_any_name():
    class Mixed(Notice):
        message = "%(self)s %(request)s %(users)s"

    assert Mixed(self=1, request=2, users=3).preview().message == "1 2 3"


def test_value_of_wrong_type_is_rejected_on_creation():
    with pytest.raises(ValueError, match=r"^QuotaNearlyFull: .*wrong type.*(number|int|float)"):
        make_notice(percent="ninety")


@pytest.mark.parametrize("text", ["100 % full", "%s full", "%(percent) full", "full %", "%(a.b)s"])
def test_text_with_lone_percent_sign_is_rejected(text):
    kind = type("Wrong", (Notice,), {"subject": text, "message": "Hello"})

    with pytest.raises(ValueError, match="begins no placeholder"):
        kind(percent=1)


# Texts


def test_texts_are_formatted_with_parameters(user):
    assert make_notice().send(user) == 1

    row = Message.objects.get()
    assert row.subject == "Storage is 90 % full"
    assert row.message == "Uploads stop at 100 %. The largest project is “Archive”."
    assert (row.level, row.topic, row.url, row.action) == (
        WARNING,
        "storage",
        "/storage/",
        "Upgrade",
    )
    assert row.key == "quota"


@pytest.mark.parametrize("value", ["<b>bold</b>", mark_safe("<b>bold</b>")])
def test_value_is_escaped(user, client, value):
    make_notice(project=value).send(user)

    row = Message.objects.get()
    assert not row.is_safe
    page = client.get(f"/messages/detail/{row.pk}/").text
    assert "“&lt;b&gt;bold&lt;/b&gt;”" in page
    assert "<b>bold</b>" not in page


@pytest.mark.parametrize("value", ["<b>bold</b>", mark_safe("<b>bold</b>")])
def test_value_in_markup_is_escaped(user, value):
    class Marked(Notice):
        message = mark_safe("<em>%(name)s</em> is %(percent)d %%")

    Marked(name=value, percent=9).send(user)

    row = Message.objects.get()
    assert row.is_safe
    assert row.message == "<em>&lt;b&gt;bold&lt;/b&gt;</em> is 9 %"


def test_subject_is_not_escaped():
    class Marked(Notice):
        subject = mark_safe("%(name)s")
        message = "Hello"

    assert Marked(name="Tom & Jerry").preview().subject == "Tom & Jerry"


def test_template_renders_text_and_escapes_values(user, weekly):
    weekly(builds=["Fine", "<b>Broken</b>"]).send(user)

    row = Message.objects.get()
    assert row.is_safe
    assert row.message == "<ul><li>Fine</li><li>&lt;b&gt;Broken&lt;/b&gt;</li></ul>"
    assert isinstance(row.message, SafeString)


@pytest.mark.parametrize(
    ("name", "error"),
    [("notices/missing.html", TemplateDoesNotExist), ("notices/broken.html", ZeroDivisionError)],
)
def test_failing_template_raises_before_anything_is_stored(user, weekly, name, error):
    kind = type("Failing", (weekly,), {"template_name": name})

    with pytest.raises(error):
        kind(builds=7).send(user)

    assert not Message.objects.exists()


def test_empty_text_is_rejected(user):
    class Empty(Notice):
        message = "%(text)s"

    with pytest.raises(ValueError, match="Empty has no text"):
        Empty(text="").send(user)


def test_too_long_subject_is_rejected(user):
    class Long(Notice):
        subject = "%(text)s"
        message = "Hello"

    with pytest.raises(ValueError, match="subject may have 255 characters"):
        Long(text="x" * 256).send(user)


def test_url_and_key_may_be_methods(user):
    Invited(title="A", inviter="Harry", team="red").send(user)

    row = Message.objects.get()
    assert (row.url, row.key) == ("/messages/?q=red", "invited:red")


@pytest.mark.parametrize("decorate", [staticmethod, classmethod])
def test_url_and_key_may_be_static_and_class_methods(user, decorate):
    def named(team):
        return f"invited:{team}"

    def named_by_class(kind, team):
        assert issubclass(kind, Notice)
        return named(team)

    function = named if decorate is staticmethod else named_by_class
    kind = type("Joined", (Notice,), {"message": "%(team)s", "key": decorate(function)})

    assert kind(team="red").send(user) == 1
    assert Message.objects.get().key == "invited:red"
    assert kind.parameter_names() == ("team",)
    assert kind.resolve(user, team="red") == 1
    with pytest.raises(TypeError, match="missing the parameter 'team'"):
        kind.resolve(user)


def test_url_and_key_methods_may_have_defaults(user):
    class Joined(Notice):
        message = "%(name)s joined."

        def url(self, tab="members"):
            return f"/team/?tab={tab}"

        def key(self, name="", team="red"):
            return f"joined:{team}:{name}"

    Joined(name="Sally").send(user)

    row = Message.objects.get()
    assert (row.url, row.key) == ("/team/?tab=members", "joined:red:Sally")
    assert Joined(name="Sally", tab="all").preview().url == "/team/?tab=all"
    with pytest.raises(TypeError, match="missing the parameter 'name'"):
        Joined(team="blue")
    assert Joined.resolve(user, name="Sally", team="blue") == 0
    assert Joined.resolve(user, name="Sally") == 1


def test_url_method_may_return_none():
    class Joined(Notice):
        message = "Hello"

        def url(self):
            return None

    assert Joined().preview().url == ""


def test_unknown_topic_is_rejected(user):
    kind = type("Elsewhere", (QuotaNearlyFull,), {"topic": "gone"})

    with pytest.raises(ValueError, match="topic must be registered, not 'gone'"):
        kind(percent=1, project="A").send(user)


def test_preview_is_not_saved():
    preview = make_notice().preview()

    assert (preview.pk, preview.subject) == (None, "Storage is 90 % full")
    invited = Invited(title="X", inviter="Harry", team="red")
    assert invited.preview("de").subject == "„X“ archivieren"
    assert not Message.objects.exists()


def test_sample_has_values_for_all_parameters():
    assert QuotaNearlyFull.sample().preview().subject == "Storage is 1 % full"
    kind = type("Example", (QuotaNearlyFull,), {"example": {"percent": 50}})
    assert kind.sample().preview().subject == "Storage is 50 % full"


# Languages


def in_german(user):
    return {"sally": "de", "harry": "fr"}.get(user.username)


def test_default_language_is_active_language(user):
    with override("de"):
        Invited(title="X", inviter="Harry", team="red").send(user)

    assert Message.objects.get().subject == "„X“ archivieren"


def test_each_user_gets_own_language(user, other, site):
    site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": in_german}
    third = get_user_model().objects.create(username="third")

    sent = Invited(title="X", inviter="Harry", team="red").send([user, other, third])

    assert sent == 3
    subjects = dict(Message.objects.values_list("user__username", "subject"))
    assert subjects == {
        "sally": "„X“ archivieren",
        "harry": "Archiver «\N{NO-BREAK SPACE}X\N{NO-BREAK SPACE}»",
        "third": "Archive “X”",
    }


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("languages", [False, True])
def test_progress_is_called_for_notices(transactional_db, site, monkeypatch, atomic, languages):
    people = [get_user_model().objects.create(username=f"u{n}") for n in range(7)]
    monkeypatch.setattr("persistent_messages.mailbox.delivery.BATCH_SIZE", 3)
    monkeypatch.setattr("persistent_messages.notices.sending.BATCH_SIZE", 4)
    if languages:
        site.PERSISTENT_MESSAGES = {
            "LANGUAGE_OF": lambda user: "de" if user.username == "u1" else None
        }
    told, committed = [], []

    def tell(count):
        told.append(count)
        committed.append(not connection.in_atomic_block)

    notice = QuotaNearlyFull(percent=90, project="Archive")

    assert notice.send(people, progress=tell, atomic=atomic) == 7
    # Of every four users, first those of one language, then those of the other.
    assert told == ([3, 4, 7] if languages else [3, 6, 7])
    assert committed == [not atomic] * 3
    assert async_to_sync(notice.asend)(people, progress=tell, atomic=atomic) == 7
    assert told == told[:3] * 2
    assert Message.objects.count() == 7


@pytest.mark.parametrize(("atomic", "left"), [(True, 0), (False, 4)])
@pytest.mark.parametrize("languages", [False, True])
def test_error_keeps_no_notices_or_whole_batches(
    transactional_db, site, monkeypatch, atomic, left, languages
):
    people = [get_user_model().objects.create(username=f"u{n}") for n in range(7)]
    monkeypatch.setattr("persistent_messages.mailbox.delivery.BATCH_SIZE", 4)
    monkeypatch.setattr("persistent_messages.notices.sending.BATCH_SIZE", 4)
    if languages:
        site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": in_german}

    def stop(count):
        raise LookupError("Enough")

    notice = QuotaNearlyFull(percent=90, project="Archive")

    with pytest.raises(LookupError, match="Enough"):
        notice.send(people, progress=stop, atomic=atomic)
    assert Message.objects.count() == left
    assert notice.send(people, atomic=atomic) == 7
    assert Message.objects.count() == 7


@pytest.mark.parametrize("languages", [False, True])
def test_progress_must_be_callable(user, site, languages):
    if languages:
        site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": in_german}
    with pytest.raises(TypeError, match="progress must be callable, not 'yes'"):
        QuotaNearlyFull(percent=90, project="Archive").send(user, progress="yes")
    assert not Message.objects.exists()


def test_texts_are_rendered_once_per_language(user, other, site):
    rendered = []

    class Counted(Notice):
        message = "Hello"

        def url(self):
            rendered.append(1)
            return "/"

    site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": in_german}
    people = [get_user_model().objects.create(username=f"u{n}") for n in range(5)]

    Counted().send([user, other, *people])

    assert len(rendered) == 3


def test_query_count_does_not_depend_on_number_of_users(user, other, site):
    site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": in_german}
    people = [get_user_model().objects.create(username=f"u{n}") for n in range(20)]
    notice, counts = Seldom(number=1), []

    for users in ([user, other, people[0]], [user, other, *people]):
        with CaptureQueriesContext(connection) as queries:
            notice.send(users)
        counts.append(len(queries))
        Message.objects.all().delete()

    assert counts[0] == counts[1]


@pytest.mark.parametrize("atomic", [True, False])
def test_deleted_user_is_refused_if_named_and_left_out_of_queryset(
    transactional_db, user, other, site, atomic
):
    people = get_user_model().objects.filter(pk__in=[user.pk, other.pk]).order_by("pk")
    named = list(people)

    def language_of(user):
        get_user_model().objects.filter(pk=other.pk).delete()
        return in_german(user)

    site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": language_of}

    assert make_notice().send(people, atomic=atomic) == 1
    assert [row.user for row in Message.objects.all()] == [user]
    with pytest.raises(ValueError, match=f"there is no user with the key {other.pk}"):
        make_notice().send(named[1:], atomic=atomic)
    with pytest.raises(ValueError, match=f"there is no user with the key {other.pk}"):
        make_notice().send(named, atomic=atomic)
    assert [row.times for row in Message.objects.all()] == [1]


def test_failing_language_of_setting_sends_nothing(user, other, site):
    site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": lambda user: {"sally": "de"}[user.username]}

    with pytest.raises(ImproperlyConfigured, match="LANGUAGE_OF"):
        make_notice().send([user, other])

    assert not Message.objects.exists()


def test_translation_with_other_placeholder_sends_nothing(user, other, site, monkeypatch):
    class Translated(Notice):
        message = gettext_lazy("Hello %(name)s")

    site.PERSISTENT_MESSAGES = {"LANGUAGE_OF": in_german}
    with override("fr"):
        monkeypatch.setitem(catalog(), "Hello %(name)s", "Bonjour %(nom)s")

    with pytest.raises(ValueError, match="placeholder without a value: 'nom'"):
        Translated(name="Sally").send([user, other])

    assert not Message.objects.exists()


def catalog():
    """The texts of the active language."""
    from django.utils.translation import trans_real

    return trans_real.catalog()._catalog._catalogs[0]


# Sending


def test_sending_again_renews_keyed_notice(user, other):
    make_notice(percent=90).send([user, other])
    make_notice(percent=95).send(user)

    row = Message.objects.get(user=user)
    assert (row.subject, row.times) == ("Storage is 95 % full", 2)


def test_renewal_within_interval_sends_no_mail(user, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        Seldom(number=1).send(user)
        Seldom(number=2).send(user)

    assert [letter.body for letter in mail.outbox] == ["Build 1 failed."]
    row = Message.objects.get()
    assert (row.message, row.times) == ("Build 2 failed.", 2)


def test_empty_queryset_sends_nothing(user):
    assert make_notice().send(get_user_model().objects.none()) == 0
    assert make_notice().send([]) == 0

    assert QuotaNearlyFull.resolve(get_user_model().objects.none()) == 0
    assert QuotaNearlyFull.resolve([]) == 0


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("users", [Message.objects.all(), Message(pk=1), "nobody", 1.5])
def test_users_argument_that_is_no_user_is_rejected(user, users, listed):
    make_notice().send(user)
    users = [user, users] if listed else users
    with pytest.raises(TypeError, match=r"^users must be"):
        make_notice().send(users)
    with pytest.raises(TypeError, match=r"^users must be"):
        QuotaNearlyFull.resolve(users)
    assert Message.objects.get().times == 1


@pytest.mark.parametrize("listed", [False, True])
def test_unsaved_user_is_rejected(user, listed):
    make_notice().send(user)
    new = get_user_model()(username="new")
    users = [user, new] if listed else new
    with pytest.raises(ValueError, match="users must be a saved user"):
        make_notice().send(users)
    with pytest.raises(ValueError, match="users must be a saved user"):
        QuotaNearlyFull.resolve(users)
    assert Message.objects.get().times == 1


def test_users_argument_is_required_without_request(db):
    with pytest.raises(TypeError, match="users is required without a request"):
        make_notice().send()


def test_notice_for_request_user_is_shown_in_same_request(request_of_user, user):
    request_of_user._messages.load()

    assert make_notice().send(request=request_of_user) == 1

    assert [row.subject for row in request_of_user._messages] == ["Storage is 90 % full"]
    assert Message.objects.get().user == user


@pytest.mark.parametrize("in_list", [False, True])
def test_notice_with_request_can_go_to_other_users(request_of_user, user, other, in_list):
    assert make_notice().send([other] if in_list else other, request=request_of_user) == 1

    assert Message.objects.get().user == other


def test_renewal_within_interval_by_request_changes_only_text(request_of_user, user):
    Seldom(number=1).send(request=request_of_user)

    assert Seldom(number=2).send(request=request_of_user) == 1

    row = Message.objects.get()
    assert (row.message, row.times) == ("Build 2 failed.", 2)


def test_visitor_cannot_get_persistent_notice(request_of_user):
    request_of_user.user = AnonymousUser()

    with pytest.raises(NotImplementedError):
        make_notice().send(request=request_of_user)


def test_notice_may_be_one_shot(request_of_user):
    class Saved(Notice):
        level = ONCE
        message = "Saved %(name)s."

    Saved(name="it").send(request=request_of_user)

    assert [str(message) for message in request_of_user._messages] == ["Saved it."]
    assert not Message.objects.exists()


def test_notice_below_message_level_is_not_stored(request_of_user, site):
    site.MESSAGE_LEVEL = 40

    assert make_notice().send(request=request_of_user) == 0
    assert not Message.objects.exists()


def test_request_without_middleware_is_rejected(rf, user):
    request = rf.get("/")
    request.user = user

    with pytest.raises(MessageFailure):
        make_notice().send(request=request)


@pytest.mark.django_db(transaction=True)
def test_notice_can_be_sent_asynchronously(user):
    async def send():
        try:
            return await make_notice().asend(user)
        finally:
            await sync_to_async(connections.close_all)()

    assert async_to_sync(send)() == 1
    assert Message.objects.get().subject == "Storage is 90 % full"


# Resolving


def test_resolve_removes_notice(user, other):
    make_notice().send([user, other])

    assert QuotaNearlyFull.resolve([user, other]) == 2
    assert not Message.objects.exists()


def test_resolve_takes_parameters_of_key(user):
    Invited(title="A", inviter="Harry", team="red").send(user)
    Invited(title="A", inviter="Harry", team="blue").send(user)

    assert Invited.resolve(user, team="red") == 1
    assert [row.key for row in Message.objects.all()] == ["invited:blue"]


def test_resolve_checks_parameters_of_key(user):
    with pytest.raises(TypeError, match="resolve is missing the parameter 'team'"):
        Invited.resolve(user)
    with pytest.raises(TypeError, match="The key of Invited has no parameter 'title'"):
        Invited.resolve(user, team="red", title="A")


def test_notice_without_key_cannot_be_resolved(user, weekly):
    with pytest.raises(TypeError, match="Weekly has no key"):
        weekly.resolve(user)
