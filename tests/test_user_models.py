"""Other user models: run `accounts.cases` in a separate process for each.

AUTH_USER_MODEL cannot be changed within a process.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("MailAccount", "NumberAccount", "TextAccount", "FoldingAccount")


@pytest.mark.parametrize("model", MODELS)
def test_letters_work_with_other_user_model(model):
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    site = {"ACCOUNT_MODEL": model, "ACCOUNT_DATABASE": uuid.uuid4().hex[:8]}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += ["-p", "no:xdist", "--ds=tests.accounts.settings", "tests/accounts/cases.py"]

    done = subprocess.run(
        command, cwd=ROOT, env={**ours, **site}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
