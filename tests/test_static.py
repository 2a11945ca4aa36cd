"""The static files of a site."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command


@pytest.fixture
def manifest_storage(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
    return tmp_path


def test_manifest_storage_collects_our_files(manifest_storage):
    call_command("collectstatic", "--noinput", verbosity=0)
    manifest = json.loads((manifest_storage / "staticfiles.json").read_text(encoding="utf-8"))
    scripts = ("persistent_messages.js", "letters.js", "list.js", "tabs.js")
    for name in ("persistent_messages.css", *scripts):
        hashed = Path(manifest["paths"][f"persistent_messages/{name}"])
        assert hashed.name != name
        assert (manifest_storage / hashed).exists()
