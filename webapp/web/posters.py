"""A picture for every event: an empty house before the doors open, in colours of its own.

Drawn from the event's name, so that an event has a face before anybody uploads one, always the same. As SVG:
2 KB, sharp at any size.
"""

import hashlib
import math

_PALETTES = (
    ("#1b1440", "#6d2f8f", "#ffcf8a"),
    ("#0b2239", "#1c6a8c", "#ffd9a0"),
    ("#2a0d1f", "#a5304f", "#ffd2b0"),
    ("#0d2b22", "#2b7a57", "#f6e3a1"),
    ("#2b1608", "#b3541e", "#ffe2b8"),
    ("#141a3c", "#3a55b4", "#c9e4ff"),
)
_WIDTH, _HEIGHT = 1200, 675
_ROWS = 7


def draw(name: str) -> str:
    """Return the picture of what has this name."""
    seed = hashlib.sha256(name.encode()).digest()
    dark, bright, light = _PALETTES[seed[0] % len(_PALETTES)]
    lean = (seed[1] - 128) / 128
    stage_x = _WIDTH / 2 + lean * 180
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        "<defs>",
        f'<radialGradient id="b" cx="{stage_x / _WIDTH:.2f}" cy=".1" r="1">'
        f'<stop offset="0" stop-color="{bright}"/><stop offset="1" stop-color="{dark}"/>'
        "</radialGradient>",
        f'<linearGradient id="l" x2="0" y2="1"><stop offset="0" stop-color="{light}" '
        f'stop-opacity=".75"/><stop offset="1" stop-color="{light}" stop-opacity="0"/>'
        "</linearGradient></defs>",
        f'<path fill="url(#b)" d="M0 0h{_WIDTH}v{_HEIGHT}H0z"/>',
    ]
    for beam in range(3):
        top = stage_x + (beam - 1) * (90 + seed[2 + beam] / 2)
        foot = stage_x + (beam - 1) * (170 + seed[5 + beam])
        wide = 60 + seed[8 + beam] / 3
        parts.append(
            f'<path fill="url(#l)" opacity=".55" d="M{top:.0f}-20L{foot - wide:.0f} 480h{2 * wide:.0f}z"/>'
        )
    parts += [_row(row, light, dark, seed) for row in range(_ROWS)]
    return "".join([*parts, "</svg>"])


def _row(row: int, light: str, dark: str, seed: bytes) -> str:
    """Draw one bow of seats as a dotted line: nearer rows are larger and darker."""
    y = 395 + row * (26 + 4 * row)
    size = 13 + 4.2 * row
    bow = 40 + 14 * row
    gap = size * 1.55
    shift = math.floor(gap * (seed[12 + row] / 255))
    path = f"M-60 {y}Q{_WIDTH / 2:.0f} {y + bow} {_WIDTH + 60} {y}"
    common = (
        f'fill="none" stroke-width="{size:.1f}" stroke-linecap="round" '
        f'stroke-dasharray=".1 {gap:.1f}" stroke-dashoffset="{shift}"'
    )
    glow = f'<path d="{path}" stroke="{light}" opacity="{0.5 - row * 0.05:.2f}" {common}/>'
    shade = f'<path transform="translate(0 {size / 4:.1f})" d="{path}" stroke="{dark}" {common}/>'
    return glow + shade
