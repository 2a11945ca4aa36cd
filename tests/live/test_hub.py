"""Waiting for events in a stream, in every version of Python."""

import asyncio

import pytest

from persistent_messages.live.hub import Stream


@pytest.mark.parametrize("steps", range(6))
def test_a_page_that_leaves_as_an_event_arrives_ends_its_stream(steps):
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


def test_a_stream_waits_no_longer_than_it_is_told():
    async def wait():
        stream = Stream("ann", "session")
        await stream.wait(0.01)
        return stream.take_changes()

    assert not asyncio.run(wait())
