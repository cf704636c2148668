"""What is known is answered where all connections wait: by gunicorn's thread that looks after them.

To hand a request to a thread and to have it back costs both several waits for the interpreter's lock, which is more
than most answers: with the same parser a poll was answered here at 1.2 times the rate of a Flask hello in a thread,
and at 0.8 times in one (docs/decisions/0010). Promises:

1. Nobody is waited for here. A request that is not there whole, that the fast lane does not answer from memory,
   or that is unusual in any way goes to a thread, as if nobody had looked at it. So does the rest of an answer that
   the kernel does not take at once.
2. A connection on which nothing has come yet costs no thread.
3. Those who may join wait in `joining`, where one thread works for all of a moment.
"""

import re
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.workers import gthread

from webapp.web.fastlane import FastLane, Join
from webapp.web.joining import Joiner, Joiners
from webapp.web.wire import DONE, GONE, KEPT, NOTHING_YET, Reply, may_keep, read, receive_now, send

Job = Callable[[Any], Any]  # of a thread, for a connection

_MAY_BE_KNOWN = re.compile(
    rb"GET /api/|GET /performances/[0-9]+/queue/place |POST /api/v1/performances/[0-9]+/queue "
)
_WANTS_SEATS = re.compile(rb"POST /api/v1/performances/([1-9][0-9]{0,8})/holds ")
ROUND_SECONDS = 0.25
ACCEPTED_AT_ONCE = 100  # with 16 a crowd of newcomers waited half a minute at the door


class Reception:
    """Takes the place of what a gthread worker does when a connection is new or readable."""

    def __init__(self, worker: Any, lane: FastLane) -> None:
        self._worker, self._lane = worker, lane
        self._joiners = Joiners(worker, lane, self._go_on)
        self._see_to_some = worker.wait_for_and_dispatch_events
        worker.wait_for_and_dispatch_events = self._see_to_events
        self._accept_one, worker.accept = worker.accept, self._accept
        worker.enqueue_req = self._receive
        worker.on_client_socket_readable = partial(self._look_again, worker.keepalived_conns)
        worker.on_pending_socket_readable = partial(self._look_again, worker.pending_conns)

    def _see_to_events(self, timeout: float) -> None:
        """See to what comes, again and again for ROUND_SECONDS: then gunicorn says that it lives, looks for its parent
        and for who has waited too long. It did so between any two events, and gave the interpreter's lock up for it.
        """
        worker = self._worker
        until = time.monotonic() + min(timeout, ROUND_SECONDS)
        left = min(timeout, ROUND_SECONDS)
        while left >= 0:
            self._see_to_some(left)
            has_room = worker.nr_conns < worker.worker_connections
            if not worker.alive or has_room != worker._accepting:
                return  # gunicorn has to do something
            left = until - time.monotonic()

    def _accept(self, listener: Any) -> None:
        """Take on some who wait at the door: gunicorn takes one each time that it has seen to all others."""
        room = self._worker.worker_connections - self._worker.nr_conns
        for _ in range(min(ACCEPTED_AT_ONCE, room)):
            before = self._worker.nr_conns
            self._accept_one(listener)
            if self._worker.nr_conns <= before:
                break

    def _receive(self, conn: Any) -> None:
        """Take on a connection that is new, or one whose next request has been read already."""
        if conn.parser is not None:
            self._hand_over(conn, self._worker.handle)
            return
        conn.parser = http.get_parser(conn.cfg, conn.sock, conn.client)
        self._go_on(conn, self._serve(conn))

    def _look_again(self, connections: Any, conn: Any, _: Any) -> None:
        """See what came on a connection that was one of `connections`."""
        outcome = self._serve(conn)
        if outcome is NOTHING_YET:
            return
        connections.remove(conn)
        if outcome is KEPT and connections is self._worker.keepalived_conns:
            conn.set_timeout()
            connections.append(conn)
            return
        self._worker.poller.unregister(conn.sock)
        self._go_on(conn, outcome)

    def _go_on(self, conn: Any, outcome: Any) -> None:
        worker = self._worker
        if outcome is NOTHING_YET:
            self._await(conn, worker.pending_conns, worker.on_pending_socket_readable)
        elif outcome is KEPT:
            self._await(conn, worker.keepalived_conns, worker.on_client_socket_readable)
        elif outcome is GONE or outcome is DONE:
            worker.nr_conns -= 1
            conn.close(graceful=outcome is DONE)  # which waits elsewhere: gunicorn.conf.py
        elif isinstance(outcome, Joiner):
            self._joiners.add(outcome)
        else:
            self._hand_over(conn, outcome)

    def _await(self, conn: Any, connections: Any, on_readable: Callable[..., None]) -> None:
        conn.set_timeout()
        connections.append(conn)
        if not self._worker.alive:  # as gunicorn does: a stop waits for nobody's next request
            conn.timeout = min(conn.timeout, time.monotonic() + gthread.STOP_KEEPALIVE_LINGER)
        self._worker.poller.register(conn.sock, selectors.EVENT_READ, partial(on_readable, conn))

    def _hand_over(self, conn: Any, job: Job) -> None:
        worker = self._worker
        done = worker.tpool.submit(job, conn)
        done.add_done_callback(
            lambda future: worker.method_queue.defer(worker.finish_request, conn, future)
        )

    def _serve(self, conn: Any) -> Any:
        """Read what is there, and answer if that needs no thread; else return the thread's job."""
        try:
            data = receive_now(conn.sock.fileno())
        except BlockingIOError:
            return NOTHING_YET
        except OSError:
            return GONE
        if not data:
            return GONE
        found = self._find_answer(conn, data)
        if found is None:
            conn.data_ready = True  # for gunicorn's thread, which would wait for it
            conn.parser.unreader.unread(data)
            return self._worker.handle
        if isinstance(found, Joiner):
            return found
        conn.begun = True
        return send(conn, *found)

    def _find_answer(self, conn: Any, data: bytes) -> "tuple[bytes, bool] | Joiner | None":
        """Return an answer and whether the connection outlasts it; None, and all is as it was, if a thread must."""
        if not (self._worker.alive and self._may_be_known(data)):
            return None
        given = read(data, conn.client)
        if given is None:
            return None
        reply = Reply(given)
        try:
            found = self._lane.answer_at_once(given, reply.start)
            if isinstance(found, Join):
                return Joiner(conn, reply, found)
            return None if found is None else reply.write(found, keep=may_keep(self._worker))
        except Exception:  # noqa: BLE001 - the thread meets the same, and tells it or does it
            return None

    def _may_be_known(self, data: bytes) -> bool:
        """Whether to look at a request at all. Who wants seats is refused here when there are none, and only then."""
        if _MAY_BE_KNOWN.match(data):
            return True
        wanted = _WANTS_SEATS.match(data)
        return wanted is not None and self._lane.may_refuse(int(wanted[1]))
