"""Waiting for events in a stream, in every version of Python."""

import asyncio

import pytest

from persistent_messages.live.hub import Stream


@pytest.mark.parametrize("steps", range(6))
def test_cancellation_during_event_ends_stream(steps):
    async def leave():
        stream = Stream("ann", "session")
        stream.notify()
        await stream.wait(60)
        waiting = asyncio.create_task(wait_forever(stream))
        await asyncio.sleep(0.01)
        stream.notify()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=1)
        is_cancelled = waiting.cancelled()
        waiting.cancel()
        return is_cancelled

    assert asyncio.run(leave())


async def wait_forever(stream):
    while True:
        await stream.wait(60)


def test_stream_wait_has_timeout():
    async def wait():
        stream = Stream("ann", "session")
        await stream.wait(0.01)
        return stream.take_changes()

    assert not asyncio.run(wait())
