"""What gunicorn and the flask command load."""

import os

from webapp import create_app
from webapp.config import Config

application = create_app(Config.from_env(os.environ))
