"""The result as one SVG picture: each figure in units of nginx's, with the bound as a mark."""

from __future__ import annotations

from html import escape
from typing import Final

from bench.table import YARDSTICK, Result

WIDTH: Final = 960
LEFT: Final = 330
BAR: Final = 14
COLOURS: Final = {"nginx": "#8a8886", "burncloud": "#0f6cbd", "compiled": "#038387", "prototype": "#c19c00"}
OTHER_COLOUR: Final = "#8764b8"
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#242424}.s{font-size:11px;fill:#616161}"
    "@media(prefers-color-scheme:dark){text{fill:#fff}.s{fill:#adadad}}"
)


def _bars(result: Result) -> list[tuple[str, str, float, float, float]]:
    """(title or "", gateway, µs, ratio, bound) of every bar, from top to bottom."""
    bars = []
    for row in result.rows:
        title = row.title
        for gateway in result.gateways(row):
            value, ratio = result.value(row, gateway), result.ratio(row, gateway)
            if gateway == "direct" or value is None or ratio is None:
                continue
            bars.append((title, gateway, value, ratio, row.bound))
            title = ""
    return bars


def chart(result: Result) -> str:
    """A complete SVG document."""
    bars = _bars(result)
    scale = (WIDTH - LEFT - 120) / max([3.2, *(ratio for _, _, _, ratio, _ in bars)])
    parts: list[str] = []
    y = 44
    for title, gateway, value, ratio, bound in bars:
        if title:
            y += 10
            parts.append(f'<text x="{LEFT - 90}" y="{y + 11}" text-anchor="end">{escape(title)}</text>')
        parts.append(f'<text class="s" x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(gateway)}</text>')
        colour = COLOURS.get(gateway, OTHER_COLOUR)
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{ratio * scale:.1f}" height="{BAR}" fill="{colour}" rx="2"/>')
        text = f"{value:.1f} µs" + ("" if gateway == YARDSTICK else f" = {ratio:.2f} x")
        end = max(ratio, bound if gateway != YARDSTICK else 0) * scale
        parts.append(f'<text class="s" x="{LEFT + end + 6:.1f}" y="{y + 11}">{text}</text>')
        if bound and gateway != YARDSTICK:
            x = LEFT + bound * scale
            parts.append(f'<path d="M{x:.1f} {y - 3}V{y + BAR + 3}" stroke="#c50f1f" stroke-width="2"/>')
        y += BAR + 5
    height = y + 34
    about = escape(f"{result.about['machine']} · {result.about['rounds']} · {result.about['time']}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"><style>{STYLE}</style>'
        f'<text x="16" y="26">CPU and latency in units of nginx (red: the bound; less is better)</text>'
        f'{"".join(parts)}<text class="s" x="16" y="{height - 12}">{about}</text></svg>\n'
    )
