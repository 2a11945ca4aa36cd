"""The icons of the templates, as inline SVG."""

from __future__ import annotations

from django.utils.safestring import mark_safe

# Paths on a 16 by 16 grid, drawn in the current color.
ICONS = {
    "archive": '<path d="M2.2 3h11.6v3H2.2ZM3.2 6v7h9.6V6M6.4 8.6h3.2"/>',
    "back": '<path d="M9.9 3.2 5.1 8l4.8 4.8"/>',
    "bell": (
        '<path d="M8 2.2A3.9 3.9 0 0 0 4.1 6v2.7L2.7 11.4h10.6l-1.4-2.7V6A3.9 3.9 0 0 0 8 2.2Z'
        'M6.4 13.4a1.8 1.8 0 0 0 3.2 0"/>'
    ),
    "blocked": '<circle cx="8" cy="8" r="5.8"/><path d="m4 4 8 8"/>',
    "close": '<path d="m4.2 4.2 7.6 7.6M11.8 4.2l-7.6 7.6"/>',
    "debug": '<path d="M5.4 4.6 2.1 8l3.3 3.4M10.6 4.6 13.9 8l-3.3 3.4M8.8 3.8 7.2 12.2"/>',
    "delete": (
        '<path d="M2.6 4.4h10.8M6 4.2V2.7h4v1.5M4 4.6l.6 8.7h6.8l.6-8.7M6.7 7.2v3.6M9.3 7.2v3.6"/>'
    ),
    "due": '<circle cx="8" cy="8" r="5.8"/><path d="M8 4.9V8l2.2 1.4"/>',
    "error": (
        '<path d="M5.6 2.2h4.8l3.4 3.4v4.8l-3.4 3.4H5.6l-3.4-3.4V5.6ZM8 5.1v3.4M8 10.8v.1"/>'
    ),
    "filter": '<path d="M2.4 4h11.2M4.6 8h6.8M6.8 12h2.4"/>',
    "inbox": (
        '<path d="M2 9.3v3.2a1 1 0 0 0 1 1h10a1 1 0 0 0 1-1V9.3L11.9 4.2a1 1 0 0 0-.9-.6H5'
        'a1 1 0 0 0-.9.6ZM2 9.3h3.4l.8 1.5h3.6l.8-1.5H14"/>'
    ),
    "info": '<circle cx="8" cy="8" r="5.8"/><path d="M8 7.5v3.3M8 5.1v.1"/>',
    "more": '<path stroke-width="2" d="M3.5 8h.1M8 8h.1M12.5 8h.1"/>',
    "open": '<path d="M6.2 3.2H3.2v9.6h9.6v-3M9 2.8h4.2V7M13 3 7.6 8.4"/>',
    "preferences": (
        '<circle cx="9.4" cy="5" r="1.8"/><circle cx="6.6" cy="11" r="1.8"/>'
        '<path d="M2.4 5h5.2M11.2 5h2.4M2.4 11h2.4M8.4 11h5.2"/>'
    ),
    "read": (
        '<path d="M2.2 6.5 8 2.6l5.8 3.9v5.8a1.2 1.2 0 0 1-1.2 1.2H3.4a1.2 1.2 0 0 1-1.2-1.2Z'
        'M2.6 7 8 10.6 13.4 7"/>'
    ),
    "read-all": '<path d="m1.4 8.8 2.9 2.8 5.9-6.2M7.7 11.1l.6.5 6.3-6.2"/>',
    "restore": (
        '<path d="M2.2 9.3v3.2a1 1 0 0 0 1 1h9.6a1 1 0 0 0 1-1V9.3M8 10V2.6M5 5.4l3-3 3 3"/>'
    ),
    "search": '<circle cx="7" cy="7" r="4.4"/><path d="m10.3 10.3 3.3 3.3"/>',
    "success": '<circle cx="8" cy="8" r="5.8"/><path d="m5.4 8.2 1.8 1.8 3.4-3.8"/>',
    "topic": '<path d="M2.4 2.6h5.2l6 6-5 5-6.2-6.2ZM5.2 5.4v.1"/>',
    "undo": '<path d="M5.7 2.9 2.6 6l3.1 3.1M2.9 6h6.3a3.7 3.7 0 0 1 0 7.4H6.3"/>',
    "unread": (
        '<path d="M3.4 3.4h9.2a1.2 1.2 0 0 1 1.2 1.2v6.8a1.2 1.2 0 0 1-1.2 1.2H3.4a1.2 1.2 0 0 1'
        '-1.2-1.2V4.6a1.2 1.2 0 0 1 1.2-1.2ZM2.6 4.6 8 8.8l5.4-4.2"/>'
    ),
    "write": '<path d="M9.6 3.8 12.2 6.4 5.6 13H3v-2.6ZM8.4 13h4.8"/>',
    "warning": '<path d="M8 2.4 14.1 13H1.9ZM8 6.4v3M8 11.1v.1"/>',
}

# Icons that are mirrored in right-to-left languages.
DIRECTED = ("back", "undo")

# Built once, because a page of the inbox shows a hundred icons.
SVGS = {
    name: mark_safe(  # noqa: S308 (nothing but the constants above)
        f'<svg class="pm-icon{" pm-flip" * (name in DIRECTED)}" viewBox="0 0 16 16" '
        f'width="16" height="16" aria-hidden="true">{paths}</svg>'
    )
    for name, paths in ICONS.items()
}
