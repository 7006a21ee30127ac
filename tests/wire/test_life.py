"""Each transition of a generation, and its repetition, on a real Redis."""

import json
import time
from typing import Any

import pytest
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from tests.wire.conftest import VERSION, World
from wire import keys, life
from wire.life import Canceled, Outcome
from wire.schemas import ErrorInfo, Status

FACTS = {"index": 0, "seed": 1, "class": "Circle", "sha256": "ab", "width": 8, "height": 8}
WHY = ErrorInfo(code="x", detail="because")


def repeated(world: World, call: Any) -> Any:
    """Run a call twice; the second time nothing changes in Redis."""
    answer = world.run(call)
    before = world.everything()
    world.run(call)
    assert world.everything() == before
    return answer


# admit


def test_admission_counts_and_indexes_what_waits(world: World) -> None:
    record = world.accepted("anna", batch=3, steps=10, guidance_scale=2.0)
    assert world.status(record) == "queued"
    assert world.queue() == [record.id]
    assert (world.queued(), world.queued("anna"), world.backlog("anna")) == (3, 3, 60)
    assert world.redis.zrange(keys.waiting(VERSION, "anna"), 0, -1) == [record.id.encode()]
    assert world.redis.smembers(keys.WAITING) == {VERSION.encode()}


def test_an_admission_sent_again_counts_once(world: World) -> None:
    record = world.accepted(batch=2)
    before = world.everything()
    assert world.admit(record).outcome is Outcome.ACCEPTED
    after = world.everything()
    job = keys.job(record.id)  # RQ notes the time anew
    assert {**after, job: None} == {**before, job: None}


def test_an_admission_sent_again_after_its_end_queues_nothing(world: World) -> None:
    record = world.running()
    world.run(life.finish(record, "a", Status.SUCCEEDED))
    assert world.admit(record).outcome is Outcome.ACCEPTED
    assert world.queue() == []
    assert not world.redis.exists(keys.job(record.id))


def test_an_idempotency_key_replays_or_conflicts(world: World) -> None:
    first, same, other = world.record(), world.record(), world.record()
    where = keys.idempotency("", "digest")
    assert world.admit(first, once=(where, "f")).outcome is Outcome.ACCEPTED
    answer = world.admit(same, once=(where, "f"))
    assert (answer.outcome, answer.detail) == (Outcome.REPLAY, first.id)
    assert world.admit(other, once=(where, "g")).outcome is Outcome.CONFLICT
    assert world.queue() == [first.id]
    assert not world.redis.exists(keys.job(same.id), keys.job(other.id))


def test_one_owner_cannot_fill_the_queue_for_another(world: World) -> None:
    assert world.admit(world.record("greedy", batch=8), most_queued=10).outcome == "accepted"
    full = world.admit(world.record("greedy", batch=4), most_queued=10)
    assert (full.outcome, full.detail) == (Outcome.FULL, "8")
    assert world.admit(world.record("greedy", batch=2), most_queued=10).outcome == "accepted"
    for owner in ("anna", "ben"):
        assert world.admit(world.record(owner, batch=4), most_queued=10).outcome == "accepted"
        assert world.admit(world.record(owner, batch=1), most_queued=10).outcome is Outcome.FULL


def test_results_are_reserved_then_counted_then_released(world: World) -> None:
    record = world.record("anna")
    assert world.admit(record, reserved=900, most_stored=1000).outcome == "accepted"
    assert world.stored("anna") == 900
    refused = world.admit(world.record("anna"), reserved=200, most_stored=1000)
    assert (refused.outcome, refused.detail) == (Outcome.STORED, "900")
    assert world.admit(world.record("ben"), reserved=900, most_stored=1000).outcome == "accepted"

    assert world.take(hand=world.hand("a")) == record.id
    world.run(life.start(record, "a", now=time.time()))
    world.run(life.image(record.id, "a", facts=FACTS, png=b"x" * 300))
    world.run(life.strip(record.id, "a", png=b"y" * 50))
    world.run(life.finish(record, "a", Status.SUCCEEDED))
    taken = world.stored("anna")
    assert 350 < taken < 5000, "the bytes and the events, no longer the reservation"

    world.redis.zadd(keys.kept("anna"), {record.id: time.time() - 1})  # a day later
    assert world.admit(world.record("anna"), reserved=7, most_stored=taken).outcome == "accepted"
    assert world.stored("anna") == 7


# look


def test_a_place_in_the_queue_counts_turns(world: World) -> None:
    mine = [world.accepted("anna") for _ in range(3)]
    late = world.accepted("ben")
    assert [world.run(life.look(record.id)).place for record in (*mine, late)] == [1, 3, 4, 2]


def test_what_a_worker_has_in_hand_and_not_begun_goes_before_what_waits(world: World) -> None:
    held = [world.opened("anna"), world.opened("anna")]
    waiting, other = world.accepted("anna"), world.accepted("ben")
    places = [world.run(life.look(record.id)).place for record in (*held, waiting, other)]
    assert places == [1, 2, 4, 2], "ben and anna take turns"
    world.run(life.start(held[0], "a", now=time.time()))
    assert world.run(life.look(waiting.id)).place == 3
    assert world.requeue(held[1], how="back")
    assert [world.run(life.look(r.id)).place for r in (held[1], waiting)] == [1, 3]


def test_evaluations_until_the_end_share_the_workers_evenly(world: World) -> None:
    first = world.accepted("anna", batch=8, steps=100)
    second = world.accepted("anna", steps=10)
    other = world.accepted("ben", steps=10, guidance_scale=3.0)
    looks = [world.run(life.look(record.id)) for record in (first, second, other)]
    assert looks[0].evaluations == 810 + 20, "its own, and all that is less"
    assert looks[1].evaluations == 20 + 20, "of those beside it, no more than its own"
    assert looks[2].evaluations == 20 + 20, "of anna's, no more than its own"
    assert {look.backlog for look in looks} == {830}


def test_what_is_drawn_is_no_longer_in_front(world: World) -> None:
    first, second = world.running(batch=2, steps=10), world.accepted(steps=5)
    assert world.run(life.look(second.id)).evaluations == 10
    first.row_steps = 12
    repeated_events = world.run(life.progress(first, "a", now=time.time()))
    assert repeated_events
    assert world.run(life.look(second.id)).backlog == 13
    world.run(life.finish(first, "a", Status.CANCELED))
    assert world.run(life.look(second.id)).evaluations == 5
    assert world.backlog() == 5


# take


def test_take_gives_each_owner_a_turn_and_only_versions_that_can_be_drawn(world: World) -> None:
    greedy = [world.accepted("anna") for _ in range(3)]
    modest = world.accepted("ben")
    foreign = world.accepted("carl", model="tiny@0000009")
    assert world.take() == greedy[0].id
    assert world.take(held={"anna": 1}) == modest.id
    assert world.take(held={"anna": 1, "ben": 1}) == greedy[1].id
    assert world.take(held={"anna": 32}, room=0) is None
    assert world.take(held={"anna": 2}) == greedy[2].id
    assert world.take() is None
    assert world.take("tiny@0000009", VERSION) == foreign.id
    assert world.redis.zcard(keys.STARTED) == 5


def test_several_are_taken_at_once_as_one_by_one(world: World) -> None:
    greedy = [world.accepted("anna", batch=2) for _ in range(5)]
    modest = world.accepted("ben")
    first = world.run(world.takes(most=4, room=3, held={"anna": 30}))
    assert [one.id for one in first] == [modest.id, greedy[0].id, greedy[1].id], (
        "places for three pictures; then each owner may have 32 in hand, which anna has"
    )
    assert [one.id for one in world.run(world.takes(most=4, room=8))] == [r.id for r in greedy[2:]]


def test_a_job_that_is_taken_is_started_and_in_one_hand(world: World) -> None:
    record = world.accepted("anna")
    (taken,) = world.run(world.takes(hand=world.hand("a", "e1")))
    assert (taken.id, taken.fields[b"worker"], taken.canceled) == (record.id, b"a", False)
    assert world.queue() == []
    ((entry, _),) = world.redis.zrange(keys.STARTED, 0, -1, withscores=True)
    assert entry.decode() == f"{record.id}:e1"
    job = Job.fetch(record.id, world.redis, JSONSerializer)
    assert (job.get_status(), job.worker_name) == (JobStatus.STARTED, "rq-a")
    assert world.requeue(record, "e1", how="back")
    assert Job.fetch(record.id, world.redis, JSONSerializer).get_status() == JobStatus.QUEUED


def test_a_take_whose_answer_was_lost_answers_the_same_again(world: World) -> None:
    records = [world.accepted("anna") for _ in range(3)]
    call = world.takes(hand=world.hand("a", "e1"), room=2, most=2)
    assert [one.id for one in repeated(world, call)] == [r.id for r in records[:2]]
    assert world.requeue(records[0], "e1"), "meanwhile it was slow, and another took it"
    assert world.take(hand=world.hand("b", "e2")) == records[0].id
    assert [one.id for one in world.run(call)] == [records[1].id]
    assert world.take(hand=world.hand("a", "e3")) == records[2].id


def test_take_finds_what_is_no_generation_at_all(world: World) -> None:
    world.redis.rpush(keys.QUEUE_LIST, b"\xff", "no generation")
    world.redis.hset(keys.job("no generation"), "data", "junk")
    taken = world.run(world.takes())
    assert [(one.id, one.fields) for one in taken] == [("\xff", {}), ("no generation", {})]
    assert world.take() is None
    assert not world.redis.exists(keys.job("no generation"))
    assert world.redis.zcard(keys.STARTED) == 0


# open, start, progress, preview, image, strip


def test_start_counts_once_and_leaves_the_queue(world: World) -> None:
    record = world.opened(batch=4)
    assert world.queued() == 4
    assert repeated(world, life.start(record, "a", now=time.time()))
    assert (world.status(record), world.queued(), world.events(record)) == (
        "running",
        0,
        ["status"],
    )
    assert world.redis.zscore(keys.WAITS, record.id) is None


def test_an_image_is_announced_once_whoever_draws_it_again(world: World) -> None:
    record = world.running()
    assert repeated(world, life.image(record.id, "a", facts=FACTS, png=b"one")) == FACTS
    again = {**FACTS, "sha256": "other"}
    assert world.run(life.image(record.id, "a", facts=again, png=b"two")) == FACTS
    assert world.redis.hget(keys.images(record.id), "0") == b"one"
    assert world.events(record) == ["status", "image"]


@pytest.mark.parametrize("what", ["start", "progress", "preview", "image", "strip", "finish"])
def test_a_worker_that_no_longer_holds_it_says_nothing(world: World, what: str) -> None:
    record = world.running("sleeper", steps=10)
    assert world.requeue(record, "sleeper")
    stale: Any = {
        "start": life.start(record, "sleeper", now=time.time()),
        "progress": life.progress(record, "sleeper", now=time.time()),
        "preview": life.preview(record.id, "sleeper", index=0, step=1, png=b"x"),
        "image": life.image(record.id, "sleeper", facts=FACTS, png=b"x"),
        "strip": life.strip(record.id, "sleeper", png=b"x"),
        "finish": life.finish(record, "sleeper", Status.FAILED, WHY),
    }[what]
    before = world.everything()
    assert not world.run(stale)
    assert world.everything() == before, "nobody holds it"
    assert world.take(hand=world.hand("other")) == record.id
    before = world.everything()
    assert not world.run(stale)
    assert world.everything() == before, "another holds it"


# finish, cancel, lapse, delete


def test_an_end_is_told_once_and_everything_expires(world: World) -> None:
    record = world.running(batch=2)
    assert repeated(world, life.finish(record, "a", Status.FAILED, WHY))
    assert (world.status(record), world.events(record)[-1]) == ("failed", "done")
    assert json.loads(world.field(record, "error") or "") == WHY.model_dump()
    assert world.backlog() == 0
    assert 0 < world.redis.ttl(keys.generation(record.id)) <= 60
    assert world.redis.ttl(keys.gone(record.id)) > life.REMEMBER_SECONDS


def test_a_queued_generation_is_canceled_at_once(world: World) -> None:
    record = world.accepted(batch=3)
    assert repeated(world, life.cancel(record)) is Canceled.NOW
    assert world.run(life.cancel(record)) is Canceled.NOW, "the first answer may have been lost"
    assert (world.status(record), world.queue()) == ("canceled", [])
    assert (world.queued(), world.backlog()) == (0, 0)
    assert not world.redis.exists(keys.job(record.id))
    assert world.take() is None


def test_a_running_one_is_asked_for_and_canceled_by_its_worker(world: World) -> None:
    record = world.running()
    assert repeated(world, life.cancel(record)) is Canceled.ASKED
    assert world.redis.sismember(keys.CANCELS, record.id)
    assert world.run(life.finish(record, "a", Status.CANCELED))
    assert not world.redis.sismember(keys.CANCELS, record.id)
    assert world.run(life.cancel(record)) is Canceled.NOW


def test_what_has_ended_otherwise_is_not_canceled(world: World) -> None:
    record = world.running()
    world.run(life.finish(record, "a", Status.SUCCEEDED))
    assert repeated(world, life.cancel(record)) is Canceled.TOO_LATE


def test_a_wish_to_cancel_outlives_its_worker(world: World) -> None:
    record = world.running()
    world.run(life.cancel(record))
    assert world.requeue(record)
    (taken,) = world.run(world.takes())
    assert (taken.id, taken.canceled) == (record.id, True)


def test_what_waits_in_vain_fails_and_what_is_in_hand_does_not(world: World) -> None:
    waiting, held, running = world.accepted(), world.record(), world.running(model="tiny@2")
    assert repeated(world, life.lapse(waiting, WHY))
    assert world.status(waiting) == "failed"
    assert world.events(waiting) == ["done"]
    assert (world.queue(), world.queued()) == ([], 0)
    world.admit(held)
    assert world.take(hand=world.hand("a")) == held.id
    for record in (held, running):
        assert not world.run(life.lapse(record, WHY))
        assert world.status(record) in ("queued", "running")


@pytest.mark.parametrize("how", ["abandoned", "back"])
def test_what_a_worker_gave_back_waits_like_any_other(world: World, how: str) -> None:
    record, before = world.running(), time.time()
    assert world.redis.zscore(keys.WAITS, record.id) is None
    assert world.requeue(record, how=how)
    assert (world.status(record), world.queue()) == ("running", [record.id])
    assert before <= world.redis.zscore(keys.WAITS, record.id) <= time.time()
    assert repeated(world, life.lapse(record, WHY))
    assert (world.status(record), world.queue()) == ("failed", [])
    assert world.backlog("") == 0
    assert not world.redis.hexists(keys.UNFINISHED, "")
    assert world.redis.zscore(keys.WAITS, record.id) is None


def test_a_deleted_generation_leaves_nothing(world: World) -> None:
    running, waiting = world.running(), world.accepted("anna", batch=2)
    for record in (waiting, running):
        world.redis.zadd(keys.IMAGES_KEPT, {record.id: time.time() + 60})
        assert repeated(world, life.delete(record))
        assert not world.redis.keys(f"emaki:*{record.id}*")
        assert world.redis.zscore(keys.IMAGES_KEPT, record.id) == 0
        assert world.queue() == []
    assert (world.queued(), world.backlog("anna"), world.stored("anna")) == (0, 0, 0)
    assert world.redis.smembers(keys.CANCELS) == {running.id.encode()}, (
        "its worker is asked to stop"
    )


def test_files_of_a_generation_deleted_while_it_was_drawn_go_soon(world: World) -> None:
    record = world.running()
    world.run(life.delete(record))
    world.redis.zadd(keys.IMAGES_KEPT, {record.id: time.time() + 60})  # one more file came
    assert not world.run(life.finish(record, "a", Status.SUCCEEDED))
    assert world.redis.zscore(keys.IMAGES_KEPT, record.id) == 0


def test_files_of_what_was_deleted_and_is_not_finished_go_soon_too(world: World) -> None:
    record = world.running()
    world.run(life.delete(record))
    world.redis.zadd(keys.IMAGES_KEPT, {record.id: time.time() + 60})  # one more file came
    assert world.run(life.forget(record.id, f"{record.id}:a"))
    assert world.redis.zscore(keys.IMAGES_KEPT, record.id) == 0


# requeue


def test_a_job_goes_back_once_to_the_front(world: World) -> None:
    record, next_ = world.running(), world.accepted()
    assert repeated(
        world,
        life.requeue(
            record.id, place=keys.STARTED, entry=f"{record.id}:a", now=time.time(), how="back"
        ),
    )
    assert world.queue() == [record.id, next_.id]
    assert world.field(record, "suspected") is None
    assert world.field(record, "worker") is None
    assert world.take() == record.id


def test_what_a_worker_cannot_draw_goes_last(world: World) -> None:
    record, next_ = world.opened(), world.accepted()
    assert world.requeue(record, how="elsewhere")
    assert world.queue() == [next_.id, record.id]
    assert world.take() == next_.id


def test_only_what_was_in_the_last_step_is_suspected(world: World) -> None:
    inside, outside = world.running(), world.opened()
    world.redis.set(keys.batch("a"), f"{'0' * 32} {inside.id}")
    for record in (inside, outside):
        assert world.requeue(record)
    assert (world.field(inside, "suspected"), world.field(outside, "suspected")) == ("1", None)
    assert world.field(inside, "strikes") is None, "it was in company"


def test_deaths_while_it_was_isolated_are_strikes(world: World) -> None:
    record = world.running()
    for strikes in (None, "1", "2"):  # the first death only makes it suspected
        world.redis.set(keys.batch("a"), record.id)
        assert world.requeue(record)
        assert world.field(record, "strikes") == strikes
        world.open(record, "a")


def test_what_dies_with_its_workers_again_and_again_is_suspected_all_the_same(
    world: World,
) -> None:
    record = world.running()
    for death in (1, 2, 3):
        assert world.requeue(record)
        assert world.field(record, "suspected") == ("1" if death == 3 else None)
        world.open(record, "a")


# forget, settle


def test_the_job_ends_with_its_generation(world: World) -> None:
    record = world.running()
    assert repeated(world, life.finish(record, "a", Status.SUCCEEDED))
    assert not world.redis.exists(keys.job(record.id), keys.STARTED)


def test_what_a_worker_lets_go_of_is_forgotten_and_no_job_that_another_needs(world: World) -> None:
    deleted, taken_over = world.running(), world.running()
    world.run(life.delete(deleted))
    assert world.requeue(taken_over)
    assert world.take(hand=world.hand("b")) == taken_over.id
    assert repeated(world, life.forget(deleted.id, f"{deleted.id}:a"))
    assert not world.run(life.forget(taken_over.id, f"{taken_over.id}:a"))
    assert not world.redis.exists(keys.job(deleted.id))
    assert world.redis.exists(keys.job(taken_over.id))
    assert world.redis.zrange(keys.STARTED, 0, -1) == [f"{taken_over.id}:b".encode()]


def test_counts_start_anew_only_where_nothing_is_to_be_done(world: World) -> None:
    world.accepted(batch=3)
    world.run(life.settle())
    assert world.queued() == 3
    world.redis.delete(keys.QUEUE_LIST)  # a Redis that was restored without it
    repeated(world, life.settle())
    assert (world.queued(), world.backlog()) == (0, 0)
