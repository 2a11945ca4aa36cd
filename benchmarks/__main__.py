"""`python -m benchmarks`: fill a separate database, run the benchmarks, write RESULTS.md."""

import argparse
import os
import sys

import django

SIZES = (10, 1_000, 100_000, 1_000_000)
USERS = 1_000_000
SENT = 100_000


def main(arguments=None):
    """Run the benchmarks for each size; return 0 if all targets were met."""
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument(
        "--sizes", type=lambda text: [int(part) for part in text.split(",")], default=SIZES
    )
    parser.add_argument("--users", type=int, default=USERS, help="users for name completion")
    parser.add_argument("--print", action="store_true", help="do not write RESULTS.md")
    parser.add_argument(
        "--sends", action="store_true", help="only messages to many users; updates their rows"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()
    from django.db import connection

    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        return run_sends(options) if options.sends else run(options)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def run_sends(options):
    """Measure messages to many users only."""
    from . import cases, report, sends
    from .fill import fill, fill_users

    fill([size for size in options.sizes if size <= SENT])
    storage = report.storage_of_a_message()
    results = [cases.measure_fan_out()]
    say(line(results[-1]))
    fill_users(min(options.users, SENT))
    for result in sends.measure_all(min(options.users, SENT)):
        say(line(result))
        results.append(result)
    if not options.print:
        report.renew(results, storage)
    return 0 if all(result.met for result in results) else 1


def run(options):
    """Run all benchmarks."""
    from . import broadcasts, cases, people, report, sends
    from .fill import fill, fill_users

    say(f"Filling mailboxes of {', '.join(f'{size:,}' for size in options.sizes)} messages …")
    owners = fill(options.sizes)
    storage = report.storage_of_a_message()
    results = []
    results.append(cases.measure_fan_out())
    say(line(results[-1]))
    for size, owner in owners.items():
        for result in cases.measure_all(owner, size):
            say(line(result))
            results.append(result)
        if not options.print:
            report.write(results, storage)  # after each size, because the largest takes minutes
    # Last, so that the other benchmarks run without these users.
    say(f"Adding {options.users:,} users …")
    fill_users(options.users)
    measured = (
        people.measure_all(options.users),
        sends.measure_all(min(options.users, SENT)),
        broadcasts.measure_all(options.users),
    )
    for measure in measured:
        for result in measure:
            say(line(result))
            results.append(result)
    if not options.print:
        report.write(results, storage)
    return 0 if all(result.met for result in results) else 1


def line(result):
    """Return a result as one line."""
    return (
        f"{result.case:45} {result.size:>9,} {result.queries:>4} {result.visited:>6} "
        f"{result.measured:22} {'' if result.met else 'not met: ' + result.aim}"
    )


def say(words):
    """Print progress."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
