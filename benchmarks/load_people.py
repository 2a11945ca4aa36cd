"""Users with browsers, simulated by locust; `load.py` starts this as a separate process.

Each user logs in, and sends the next request as soon as the last one has been answered. Prints the
measurements as JSON.
"""

from __future__ import annotations

# Import locust first, because it patches modules that others import.
from locust import FastHttpUser, task  # isort: skip
from locust.env import Environment  # isort: skip

import argparse
import json
import re
import time
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from itertools import count, cycle
from typing import Any
from urllib.parse import urlencode

import gevent

from .load_cases import LETTER, MIX, NAME, PASSWORD, PREPARATION

ROUNDS = 4
PATIENCE = 120
"""Seconds to wait for log-ins and for the last responses; a request times out after 60."""


class Person(FastHttpUser):
    """One user, who repeats the requests of `case`."""

    case: str | None = None
    numbers = count()
    logged_in = turned_away = 0
    busy = 0
    letters_sent = letters_refused = 0
    people = 0

    def on_start(self) -> None:
        """Log in with the form."""
        self.number = next(self.numbers)
        self.others = cycle(
            NAME.format(number) for number in range(self.people) if number != self.number
        )
        self.turn = cycle(MIX[self.number % len(MIX) :] + MIX[: self.number % len(MIX)])
        self.forms: list[str] = []
        self.unread: list[str] = []
        self.token = ""
        # The cookies are secure, and TLS ends at the proxy.
        policy = DefaultCookiePolicy(secure_protocols=("http", "https"))
        self.client.cookiejar.set_policy(policy)
        self.ask("log in", "/log-in/")
        data = {"username": NAME.format(self.number), "password": PASSWORD, "next": "/"}
        if self.ask("log in", "/log-in/", data, status=302) and self.home():
            Person.logged_in += 1
        else:
            Person.turned_away += 1

    @task
    def act(self) -> None:
        """Run the current case, if there is one."""
        if self.case is None:
            gevent.sleep(0.01)
            return
        Person.busy += 1
        try:
            self.do(next(self.turn) if self.case == "mix" else self.case)
        finally:
            Person.busy -= 1

    def do(self, case: str) -> None:
        """Send the requests of one case."""
        if case == "nothing":
            self.ask("nothing", "/nothing/", find="Nothing.")
        elif case == "home":
            self.home()
        elif case == "inbox":
            self.ask("inbox", "/messages/", find="data-pm-message=")
        elif case == "form":
            self.open_form()
        elif case == "close":
            self.close()
        elif case == "list beforehand":
            self.list_unread()
        elif case == "form beforehand":
            self.open_form()
        else:
            self.compose(case, htmx="HTMX" in case)

    def home(self) -> str:
        """Open the home page, which greets the user."""
        return self.ask("home", "/", find=f"Good to see you, {NAME.format(self.number)}<")

    def close(self) -> None:
        """Close a message, as the strip on the home page does."""
        if not self.unread:
            self.list_unread()
        if self.unread:
            pk = self.unread.pop(0)
            data = {
                "next": "/",
                "pm-from": "strip",
                "pm-part": ["strip", "counter", "latest"],
                "pm-notice": pk,
            }
            self.ask("close", f"/messages/mark_read/{pk}/", data, htmx=True, find="marked as read")

    def list_unread(self) -> None:
        """Open a page of unread messages, older than those that are already known."""
        path = "/messages/?box=unread" + (f"&before={self.unread[-1]}" if self.unread else "")
        # During the preparation, a user may reach the end of the list.
        find = "" if self.unread else "data-pm-message="
        page = self.ask(self.own("list"), path, find=find)
        self.unread += re.findall(r'data-pm-message="(\d+)"', page)

    def open_form(self) -> None:
        """Open the form of a letter, and keep its token for later."""
        page = self.ask(self.own("form"), "/messages/write/", find='name="letter"')
        self.forms += re.findall(r'name="letter" value="([^"]+)"', page)

    def own(self, name: str) -> str:
        """Return a different name for a request that only prepares another one."""
        return name if self.case in (name, "mix") else f"{name} beforehand"

    def compose(self, case: str, *, htmx: bool) -> None:
        """Send a letter to somebody else."""
        if not self.forms:
            self.open_form()
        if self.forms:
            data = {
                "letter": self.forms.pop(),
                "to": next(self.others),
                "subject": "Rota",
                "message": LETTER,
            }
            status = 200 if htmx else 302
            if self.ask(case, "/messages/write/", data, htmx=htmx, status=status, sends=True):
                Person.letters_sent += 1
            else:
                Person.letters_refused += 1

    def ask(
        self,
        name: str,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        htmx: bool = False,
        status: int = 200,
        find: str = "",
        sends: bool = False,
    ) -> str:
        """Send one request; return the body, or "" after an error, which locust counts."""
        # The header that a proxy adds.
        headers = {"X-Forwarded-Proto": "https"}
        if htmx:
            headers |= {"HX-Request": "true", "HX-Current-URL": f"{self.origin}/"}
        body = None
        if data is not None:
            headers |= {
                "Origin": self.origin,
                "Content-Type": "application/x-www-form-urlencoded",
            }
            body = urlencode({"csrfmiddlewaretoken": self.token, **data}, doseq=True)
        with self.client.request(
            "GET" if data is None else "POST",
            path,
            name=name,
            data=body,
            headers=headers,
            allow_redirects=False,
            catch_response=True,
        ) as response:
            text, headers = response.text or "", response.headers or {}  # None without a response
            target = headers.get("HX-Redirect") or headers.get("Location") or ""
            if response.status_code != status:
                response.failure(f"{response.status_code}, not {status}")
            elif find not in text:
                response.failure(f"{find} is not in the response")
            elif sends and "/messages/detail/" not in target:
                response.failure("the letter was not sent")
            else:
                response.success()
                token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text)
                self.token = token[1] if token else self.token
                return text or target
        return ""

    @property
    def origin(self) -> str:
        """The site as browsers see it."""
        return str(self.host).replace("http:", "https:")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` is true, for at most `PATIENCE` seconds."""
    until = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < until:
        gevent.sleep(0.01)


def drive(
    host: str, people: int, cases: list[str], seconds: float, warm_up: float
) -> dict[str, Any]:
    """Run each of `cases` with `people` users for `seconds`; return measurements and errors.

    The cases run in rounds, so that other load on the machine affects all of them.
    """
    Person.people = people
    environment = Environment(user_classes=[Person], host=host, stop_timeout=PATIENCE)
    runner = environment.create_local_runner()
    runner.start(people, spawn_rate=people, wait=False)
    wait_for(lambda: Person.logged_in + Person.turned_away == people)
    _do("mix", warm_up)
    errors = _errors(environment)
    if Person.logged_in < people:
        errors.append(f"only {Person.logged_in} of {people} people could log in")
    environment.stats.reset_all()
    took = dict.fromkeys(cases, 0.0)
    rounds = ROUNDS if len(cases) > 1 else 1
    for case in [] if errors else cases * rounds:
        if case in PREPARATION:
            before, share = PREPARATION[case]
            _do(before, share * seconds / rounds)
        took[case] += _do(case, seconds / rounds)
    errors += _errors(environment)
    measured = _figures(environment, took)
    runner.quit()
    return {
        "measured": measured,
        "errors": errors,
        "letters": Person.letters_sent,
        "refused": Person.letters_refused,
    }


def _do(case: str, seconds: float) -> float:
    # Returns the number of seconds until the last response.
    begun = time.perf_counter()
    Person.case = case
    gevent.sleep(seconds)
    Person.case = None
    wait_for(lambda: not Person.busy)
    return time.perf_counter() - begun


def _figures(environment: Environment, took: dict[str, float]) -> dict[str, Any]:
    return {
        entry.name: {
            "requests": entry.num_requests,
            "errors": entry.num_failures,
            "rate": entry.num_requests / seconds,
            "median": entry.get_response_time_percentile(0.5),
            "p99": entry.get_response_time_percentile(0.99),
        }
        for entry in [*environment.stats.entries.values(), environment.stats.total]
        if entry.num_requests and (seconds := took.get(entry.name, took.get("mix")))
    }


def _errors(environment: Environment) -> list[str]:
    failed = [
        f"{error.occurrences} times {error.method} {error.name}: {error.error}"
        for error in environment.stats.errors.values()
    ]
    crashed = [
        f"{exception['count']} times {exception['msg']}\n{exception['traceback']}"
        for exception in environment.runner.exceptions.values()
    ]
    environment.runner.exceptions.clear()
    return failed + crashed


def main() -> None:
    """Run the cases that are given as arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--cases", nargs="+", required=True)
    print(json.dumps(drive(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
