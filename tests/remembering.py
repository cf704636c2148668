"""`gunicorn tests.remembering` instead of `gunicorn wsgi`: what a process knows does not grow old.

For tests of what is answered from memory, however slow the machine is just then.
"""

from tests.conftest import let_snapshots_last
from webapp import clock
from wsgi import application

clock.MEASURE_EVERY_SECONDS = 3_600.0
let_snapshots_last(application.extensions["jari"])
