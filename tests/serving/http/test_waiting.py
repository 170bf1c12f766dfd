"""The loop hears of every answer, however they come, and of one that does not come in time."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from serving.http import waiting
from serving.http.errors import TooLate
from serving.http.waiting import Wakes, done_within


def test_answers_from_another_thread_all_arrive_and_in_few_wake_ups() -> None:
    async def main() -> tuple[list[int], int]:
        loop, calls = asyncio.get_running_loop(), 0
        honest = loop.call_soon_threadsafe

        def counted(*given: object) -> asyncio.Handle:
            nonlocal calls
            calls += 1
            return honest(*given)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        futures: list[Future[int]] = [Future() for _ in range(200)]
        tasks = [asyncio.ensure_future(done_within(10, one)) for one in futures]
        await asyncio.sleep(0)
        answering = threading.Thread(target=lambda: [one.set_result(n) for n, one in enumerate(futures)])
        answering.start()
        found = await asyncio.gather(*tasks)
        answering.join()
        return found, calls

    found, calls = asyncio.run(main())
    assert found == list(range(200))
    assert calls < 200


@pytest.mark.parametrize("seed", range(3))
def test_none_is_left_behind_when_the_loop_wakes_while_others_are_answered(seed: int) -> None:
    async def main() -> int:
        done = 0
        for _ in range(300):
            one, other = Future[int](), Future[int]()
            threads = [threading.Thread(target=each.set_result, args=(1,)) for each in (one, other)]
            waiting_ = [asyncio.ensure_future(done_within(5, each)) for each in (one, other)]
            await asyncio.sleep(0)
            for thread in threads:
                thread.start()
            done += sum(await asyncio.gather(*waiting_))
        return done

    assert asyncio.run(main()) == 600


def test_an_error_of_the_work_is_raised_and_a_late_one_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.0)
    failed: Future[int] = Future()
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        asyncio.run(done_within(1, failed))
    with pytest.raises(TooLate, match="not known yet"):
        asyncio.run(done_within(0.01, Future()))


def test_a_closed_loop_is_not_called() -> None:
    loop = asyncio.new_event_loop()
    waiter = loop.create_future()
    loop.close()
    Wakes(loop).answered(waiter)
