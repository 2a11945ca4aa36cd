"""Check pages with axe-core."""

from itertools import product

from axe_playwright_python.sync_playwright import Axe

WIDTHS = (360, 1280)
ALL_RULES = {"resultTypes": ["violations"]}
# The rules that depend on the color scheme.
COLOURS = {**ALL_RULES, "runOnly": ["color-contrast", "link-in-text-block"]}


def open_all(page):
    """Open all `<details>` elements, so that they are checked, too."""
    for summary in page.locator("summary:visible").all():
        # Only one menu can be open at a time, and it would cover the others.
        summary.evaluate("it => { it.parentNode.name = ''; it.parentNode.open = true }")


def examine(page, name):
    """Check the open page with axe-core on each screen size, light and dark."""
    found = []
    for (scheme, rules), width in product({"light": ALL_RULES, "dark": COLOURS}.items(), WIDTHS):
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
