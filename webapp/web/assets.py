"""Scripts, styles and pictures, under addresses that change when their content does.

Promises:

1. The hash of everything in `static/` is part of every address: browsers may keep a file for a year, and
   never mix the files of two versions. One hash for all, because modules import each other by
   relative names, and there is no build step that could rewrite them.
2. During a deployment an address of the other version still answers, and is kept by nobody.
3. Texts travel packed to whoever can read that: a style sheet is then a quarter of its size, also where no
   proxy stands in front that would do it.
"""

import gzip
import hashlib
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request, send_from_directory

from webapp.web.guards import public

FOLDER: Final = Path(__file__).resolve().parent.parent / "static"
YEAR_SECONDS: Final = 365 * 24 * 3600
PACKED: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def install(app: Flask) -> None:
    """Serve the files as endpoint `static`."""
    current = _digest()
    packed = {
        path.relative_to(FOLDER).as_posix(): gzip.compress(path.read_bytes(), 9, mtime=0)
        for suffix in PACKED
        for path in FOLDER.rglob(f"*{suffix}")
    }

    def serve(version: str, filename: str) -> Response:
        if filename in packed and request.accept_encodings["gzip"]:
            response = Response(packed[filename], mimetype=PACKED[Path(filename).suffix])
            response.headers["Content-Encoding"] = "gzip"
        else:
            response = send_from_directory(FOLDER, filename)
        response.vary.add("Accept-Encoding")
        fresh = f"public, max-age={YEAR_SECONDS}, immutable"
        response.headers["Cache-Control"] = fresh if version == current else "no-store"
        return response

    app.add_url_rule("/static/<version>/<path:filename>", endpoint="static", view_func=serve)

    @public
    def offline() -> Response:
        """Serve the script that keeps tickets: only from the root may it answer for every page."""
        response = send_from_directory(FOLDER, "offline.js")
        response.headers["Cache-Control"] = "no-cache"
        return response

    app.add_url_rule("/offline.js", endpoint="offline", view_func=offline)

    @app.url_defaults
    def _add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("version", current)


def _digest() -> str:
    content = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            content.update(path.relative_to(FOLDER).as_posix().encode())
            content.update(path.read_bytes())
    return content.hexdigest()[:12]
