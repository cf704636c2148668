"""What gunicorn and the flask command load."""

import os
import sys

from webapp import create_app, logs
from webapp.config import Config, ConfigError

if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
    logs.install(os.environ.get("LOG_LEVEL", "info"))
try:
    application = create_app(Config.from_env(os.environ))
except ConfigError as error:
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
        raise
    sys.exit(f"Error: config: {error}")  # an operator needs the sentence, not the traceback
