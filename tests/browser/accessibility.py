"""Check pages with axe-core."""

from axe_playwright_python.sync_playwright import Axe

from tests.effort import is_slow

ALL_RULES = {"resultTypes": ["violations"]}
# The rules that depend on the color scheme.
COLORS = {**ALL_RULES, "runOnly": ["color-contrast", "link-in-text-block"]}
STATES = [("light", 360, ALL_RULES), ("light", 1280, ALL_RULES), ("dark", 1280, COLORS)]
if is_slow():  # the colors hardly depend on the width
    STATES.append(("dark", 360, COLORS))


def open_all(page):
    """Open all `<details>` elements, so that they are checked, too."""
    for summary in page.locator("summary:visible").all():
        # Only one menu can be open at a time, and it would cover the others.
        summary.evaluate("it => { it.parentNode.name = ''; it.parentNode.open = true }")


def examine(page, name):
    """Check the open page with axe-core on narrow and wide screens, light and dark."""
    found = []
    for scheme, width, rules in STATES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        found += [
            f"{name}, {scheme}, {width}px: {rule['id']}: {node['html']} {node['failureSummary']}"
            for rule in Axe().run(page, options=rules).response["violations"]
            for node in rule["nodes"]
        ]
        room = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if room > 0:
            found.append(f"{name}, {scheme}, {width}px: scrolls sideways by {room}px")
    return found
