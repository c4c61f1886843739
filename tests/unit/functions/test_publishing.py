import asyncio

from isolet.functions.publishing import Publishing
from isolet.ids import FunctionId

A, B = FunctionId("a"), FunctionId("b")


async def test_a_reader_waits_for_what_is_under_way_and_for_nothing_else() -> None:
    publishing = Publishing()
    await asyncio.wait_for(publishing.settled(A), 1)
    with publishing.of(A):
        reader = asyncio.ensure_future(publishing.settled(A))
        await asyncio.wait_for(publishing.settled(B), 1)
        assert not reader.done()
    await asyncio.wait_for(reader, 1)
    await asyncio.wait_for(publishing.settled(A), 1)


async def test_a_publish_that_fails_lets_its_readers_go() -> None:
    publishing = Publishing()
    try:
        with publishing.of(A):
            reader = asyncio.ensure_future(publishing.settled(A))
            await asyncio.sleep(0)
            raise OSError
    except OSError:
        await asyncio.wait_for(reader, 1)
