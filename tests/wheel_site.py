"""A site with only the wheel, which fails if a file is missing in it.

Run it as a script outside the checkout, with a Python that has only the wheel installed.
"""

import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.urls import include, path

urlpatterns = []


def configure():
    settings.configure(
        SECRET_KEY="only for this check",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}},
        STATIC_URL="static/",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "django_htmx",
            "persistent_messages",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django_htmx.middleware.HtmxMiddleware",
            "persistent_messages.middleware.HtmxMessagesMiddleware",
        ],
        MESSAGE_STORAGE="persistent_messages.storage.PersistentMessageStorage",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ],
                },
            },
        ],
    )
    django.setup()
    # Imported late, because the pages import the model.
    urlpatterns.append(path("messages/", include("persistent_messages.urls")))


def main():
    configure()
    from django.contrib.auth import get_user_model
    from django.contrib.staticfiles import finders
    from django.test import Client

    import persistent_messages

    place = Path(persistent_messages.__file__).resolve()
    assert Path(sys.prefix).resolve() in place.parents, f"not from the wheel: {place}"
    assert (place.parent / "py.typed").exists(), "py.typed is missing"

    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    call_command("prune_messages", verbosity=0)

    sally = get_user_model().objects.create_user("sally", password="secret")
    assert persistent_messages.send_message(sally, persistent_messages.INFO, "From the wheel.") == 1
    message = sally.persistent_messages.get()
    browser = Client(raise_request_exception=True)
    browser.force_login(sally)
    pages = ["", f"detail/{message.pk}/", f"delete/message/{message.pk}/", "delete/all/"]
    for page in pages:
        answer = browser.get(f"/messages/{page}")
        assert answer.status_code == 200, f"{page}: {answer.status_code}"
        assert "From the wheel." in answer.text or page == "delete/all/", page
    parts = {"pm-part": ["list", "strip", "counter", f"row-{message.pk}"]}
    for action in ("mark_unread", "mark_read", "delete/message"):
        answer = browser.post(
            f"/messages/{action}/{message.pk}/", parts, headers={"HX-Request": "true"}
        )
        assert answer.status_code == 200, f"{action}: {answer.status_code}"
    for name in ("persistent_messages/persistent_messages.css", "django_htmx/htmx-2.min.js"):
        assert finders.find(name), f"{name} is not found"
    print(f"The wheel works: {len(pages)} pages, 3 actions, Django {django.get_version()}.")


if __name__ == "__main__":
    main()
