"""How the web processes run: gunicorn with threads. `gunicorn wsgi` reads this file by itself.

Settings: HOST, PORT, WEB_WORKERS, WEB_THREADS, PROMETHEUS_MULTIPROC_DIR.

Promises:
1. Workers share nothing: each imports the application after the fork.
2. No log line of gunicorn's contains a query string, a header or a token.
3. Metrics of an earlier run are gone before the application is imported.
4. A client that connects and says nothing costs no thread, nor does what is known without waiting
   (webapp/web/reception.py). One that stops in the middle of a request has a thread for READ_SECONDS, one that takes
   nothing of its answer for WRITE_SECONDS. (One that trickles it byte by byte keeps it: in front of the public internet
   stands a proxy that reads requests whole, and answers.)
   Nobody is waited for where all connections wait.
5. A request costs the same however many connections are kept.
6. When more come than can be served, who has begun goes before who has just come.
"""

import gc
import logging
import os
import queue
import re
import resource
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from gunicorn.workers import gthread

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

# More threads than connections on purpose: what they want of the database at the same moment they do
# together, and the more there are, the less it costs each of them (measured: docs/benchmarks.md).
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "24"))

# False on purpose. Preloading would save memory, and would hand every worker the same open
# database connections, locks and random numbers; a post_fork hook would have to undo each of
# them, and the one it forgot would be a seat sold twice. It also keeps promise 3 simple.
preload_app = False

# For threads this is a heartbeat of the worker, not a limit on a request: what limits a request is
# its deadline in the kernel and statement_timeout. It must be longer than importing the application.
timeout = 60
# Longer than the longest request, so that a restart cuts nobody off between COMMIT and answer.
graceful_timeout = 30
# The heartbeat is a file; on a disk that is busy a worker could be killed for the disk's slowness.
if os.access("/dev/shm", os.W_OK):
    worker_tmp_dir = "/dev/shm"

# Longer than the pauses between two polls of the waiting room (at most 72 s), so that each is not a new
# connection; idle ones cost a file descriptor but no thread. Near the limit gunicorn keeps no more of
# them, so the limit is what the machine has.
keepalive = 75
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_files = 65_536 if _hard == resource.RLIM_INFINITY else min(_hard, 65_536)
if _soft < _files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _hard))
worker_connections = max(100, min(_files - 256, 30_000))
# The kernel cuts this down to net.core.somaxconn.
backlog = 4096
# No reuse_port: over a dozen runs it spread 32 connections no better (12:20 at worst, against 22:10)
# and it lets a second server start on the same port unnoticed, resets what a dying worker had not
# accepted yet, and refuses connections until the first worker has booted.
reuse_port = False

# For the rest of a request of which the first bytes are there, also of one that was refused unread.
READ_SECONDS = 5

# For a client that takes nothing of its answer meanwhile: without a limit 60 of them stopped a worker (measured).
WRITE_SECONDS = 10

# A connection on which nothing was ever asked is kept so long.
SILENT_SECONDS = 10

# gunicorn has one constant for both, and no setting. With 10 ms for the rest of a refused request, which
# a busy process does not read in time, it closed kept connections under their clients' next request: 6
# in 20,000 were lost. The check is for the day when it renames what is changed here.
if not hasattr(gthread, "DEFAULT_WORKER_DATA_TIMEOUT") or not hasattr(gthread, "TConn"):
    raise RuntimeError("gunicorn has changed: see how gthread makes and reads connections now")
gthread.DEFAULT_WORKER_DATA_TIMEOUT = READ_SECONDS

# How many are seen off at the same time, and how many more may wait for that.
CLOSERS, CLOSING_MAX = 4, 32
_closers = ThreadPoolExecutor(CLOSERS, "closer")
_closing = threading.BoundedSemaphore(CLOSERS + CLOSING_MAX)


class Connection(gthread.TConn):
    """A connection for which nobody waits who has other connections to look after."""

    begun = False  # whether something was asked on it before

    def close(self, graceful=False):
        """Close, and see the client off elsewhere.

        gunicorn waits up to 2 s until the client has closed its end, in the one thread that looks after
        all connections: five that asked for `Connection: close` and did not close stopped a worker for
        10 s (measured). With very many of them some lose the end of an answer to a request that was
        refused unread, and nobody else loses anything.
        """
        if graceful and _closing.acquire(blocking=False):
            seen_off = _closers.submit(super().close, graceful=True)
            seen_off.add_done_callback(lambda _: _closing.release())
        else:
            super().close()


gthread.TConn = Connection


class Connections:
    """What gunicorn has a deque for: connections in the order in which they will have waited too long.

    It takes each out when something is asked on it, and a deque looks for it from one end: with 4,000
    kept connections 0.1 ms of the worker's one thread, a fifth of what a poll costs (measured).
    """

    def __init__(self, seconds=None):
        self._seconds = seconds
        self._kept = OrderedDict()

    def append(self, conn):
        if self._seconds is not None:
            conn.timeout = time.monotonic() + self._seconds
        self._kept[conn] = None

    def remove(self, conn):
        del self._kept[conn]

    def popleft(self):
        return self._kept.popitem(last=False)[0]

    def __getitem__(self, index):
        if index:
            raise IndexError("only the first is known by its number")
        return next(iter(self._kept))

    def __iter__(self):
        return iter(self._kept)

    def __len__(self):
        return len(self._kept)


# Off: no leak is known, and a worker that restarts in the middle of a sale drops its kept
# connections and its caches at the worst moment. What is answered without a thread is not counted.
max_requests = 0
max_requests_jitter = 0

# A request line holds a path and a short query; a header at most a session cookie and a token of
# well under 2 KB. A token of 8 KB is refused before any Python of ours sees it.
limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190

# Since 25.1 gunicorn listens on a Unix socket below the home directory, shared by every instance of
# that user. Nothing here is steered that way.
control_socket_disable = True

# The application writes its own access log, one structured line a request, without query strings.
accesslog = None
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info").lower()


class WithoutRequestText(logging.Filter):
    """Cut what a client sent out of gunicorn's own complaints about it.

    Gunicorn quotes the offending line ("Invalid HTTP request line: 'GET /x?token=...'") or the URI
    of a request that failed outside of the application. What is kept says which kind of fault.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite such a record; let every record pass."""
        message = record.getMessage()
        if message.startswith(("Invalid request", "Error handling request")):
            record.msg, record.args = re.split(r"""[?'"\r\n]""", message, maxsplit=1)[0], ()
        if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):
            record.msg, record.args = "A client stopped in the middle of a request or answer", ()
            record.exc_info = None
        return True


_own_metrics_directory = None


def on_starting(server):
    """Give the metrics an empty directory, before any worker imports the application.

    Not at the top of this file, which is read again at every reload: that would delete the files
    of workers that still write to them.
    """
    global _own_metrics_directory  # noqa: PLW0603
    # Who stops in the middle would keep a thread: no time limit reaches below the encryption.
    if server.cfg.is_ssl:
        raise SystemExit("TLS is the matter of the proxy in front: see README.md")
    server.log.error_log.addFilter(WithoutRequestText())
    if server.master_pid:
        return  # A new master beside the old one (USR2): the files are in use.
    if given := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        Path(given).mkdir(parents=True, exist_ok=True)
        for file in Path(given).glob("*.db"):
            file.unlink()
    else:
        _own_metrics_directory = tempfile.mkdtemp(prefix="jari-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = _own_metrics_directory


def when_ready(server):
    """Let nobody be waited for in the middle of a request or an answer for longer than READ_SECONDS and WRITE_SECONDS.

    The options are the listening socket's, and every connection that it accepts inherits them.
    """
    for listener in server.LISTENERS:
        for option, seconds in (
            (socket.SO_RCVTIMEO, READ_SECONDS),
            (socket.SO_SNDTIMEO, WRITE_SECONDS),
        ):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))


# While both kinds wait, one request of so many is a newcomer's. A purchase has four: so those who have begun
# keep up, and nobody is kept outside by those who poll. (With 8, newcomers to a waiting room waited 5 s.)
NEWCOMER_EVERY = 4


class Threads:
    """The threads that answer, in place of gunicorn's pool: who has begun goes before who has just come.

    More than can be served at once wait here. Were they served in the order in which they came, everybody
    would wait everywhere: at twice what two cores take, 7 s for each step of a purchase (measured), and much
    work would be done for people who do not get to the end. A newcomer is a connection that has asked nothing
    yet; among themselves they keep their order.
    """

    def __init__(self, count, lateness):
        self._lateness = lateness  # is told how long each has waited
        self._mutex = threading.Lock()
        self._begun, self._new = deque(), deque()
        self._both = 0  # how often one was taken while both waited
        # One for each that waits. One for which nobody waits is the end of a thread.
        self._signals = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, handle, conn, ahead=False):
        """Have `handle(conn)` called, `ahead` of all others of the same kind: for who has waited already."""
        future = Future()
        lane = self._begun if conn.begun else self._new
        conn.begun = True
        with self._mutex:
            add = lane.appendleft if ahead else lane.append
            add((future, handle, conn, time.monotonic()))
        self._signals.put(None)
        return future

    def shutdown(self, wait=False):
        for _ in self._threads:
            self._signals.put(None)

    def _take(self):
        with self._mutex:
            self._both += bool(self._begun and self._new)
            turn = self._new and (not self._begun or self._both % NEWCOMER_EVERY == 0)
            lane = self._new if turn else self._begun
            return lane.popleft() if lane else None

    def _work(self):
        while True:
            self._signals.get()
            taken = self._take()
            if taken is None:
                return
            future, handle, conn, came = taken
            self._lateness.seconds = time.monotonic() - came
            try:
                future.set_result(handle(conn))
            except BaseException as error:  # noqa: BLE001 - gunicorn raises it where it looks
                future.set_exception(error)
            del taken, future, conn


# Thousands of kept connections and remembered tokens are thousands of objects, which the collector looks
# through each time 700 more have come than gone: a tenth of a worker's time in a rush (measured). What
# goes in circles is little here.
COLLECT_AFTER = 20_000


def post_worker_init(worker):
    """Let the worker find its connections, answer in our order and collect seldom, and report how booking goes,
    from a thread of its own: after the fork.
    """
    if not worker.keepalived_conns == worker.pending_conns == deque():
        raise RuntimeError("gunicorn has changed: see how gthread keeps connections now")
    worker.keepalived_conns, worker.pending_conns = Connections(), Connections(SILENT_SECONDS)
    house = getattr(worker.wsgi, "extensions", {}).get("jari")
    worker.tpool.shutdown()
    worker.tpool = Threads(threads, house.lateness if house else threading.local())
    lane = getattr(worker.wsgi, "extensions", {}).get("jari.fastlane")
    if lane:
        # Not at the top: what it imports decides at its import how metrics are kept.
        from webapp.web.reception import Reception

        Reception(worker, lane)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    if house is not None:
        house.health.start()
        house.stays.start()


def worker_exit(server, worker):
    """Note who came in during the last moment."""
    house = getattr(worker.wsgi, "extensions", {}).get("jari")
    if house is not None:
        house.stays.note()


def child_exit(server, worker):
    """Take a dead worker's gauges out of the sums; its counters stay, they happened."""
    # Not at the top: this library decides at its import whether metrics are shared between
    # processes, and the workers would inherit its answer from before on_starting.
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    """Remove the directory, if it was ours and no newer master uses it."""
    if _own_metrics_directory and not server.reexec_pid:
        shutil.rmtree(_own_metrics_directory, ignore_errors=True)
