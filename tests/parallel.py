"""Several connections that work at the same time.

SQLite allows one write at a time, and its tests share one connection, so there they run in turn.
"""

from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Barrier

from django.db import connection, connections

from persistent_messages import LetterRefused

CONNECTIONS = 1 if connection.vendor == "sqlite" else 6


def run_concurrently(tasks):
    """Run all `tasks` concurrently; return their results, including errors."""
    tasks = list(tasks)
    hands = min(CONNECTIONS, len(tasks))
    if hands < 2:
        return [result_or_refusal(task) for task in tasks]
    results, todo, start = [None] * len(tasks), SimpleQueue(), Barrier(hands)
    for numbered in enumerate(tasks):
        todo.put(numbered)

    def work(_hand):
        try:
            connection.ensure_connection()  # or the first would be done before the others begin
            start.wait(timeout=60)
            while True:
                number, task = todo.get_nowait()
                results[number] = result_or_refusal(task)
        except Empty:
            pass
        finally:
            connections.close_all()

    with ThreadPoolExecutor(hands) as pool:
        list(pool.map(work, range(hands)))
    return results


def result_or_refusal(task):
    try:
        return task()
    except LetterRefused as refused:
        return refused
