/* persistent_messages: selection and keyboard shortcuts. Loaded by persistent_messages.js if a page has a list, a message or a bell. */
(() => {
  const one = (css, root = document) => root.querySelector(css);
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const on = (name, fn) => document.addEventListener(name, fn);
  const put = (to) => to?.focus({ preventScroll: true });
  let kept;
  try { kept = sessionStorage; } catch { kept = {}; }

  // Selection: one row, a range with Shift, all shown rows, or all rows.
  const boxes = (pane) => all(".pm-check", pane);
  const every = (pane) => one("[name=every]", pane);
  const count = (pane) => {
    const found = boxes(pane), some = found.filter((box) => box.checked).length, box = one(".pm-check-all", pane), more = one(".pm-every", pane);
    one(".pm-picked", pane).dataset.pmCount = some;
    box.checked = some > 0 && some === found.length;
    box.indeterminate = some > 0 && !box.checked;
    all(".pm-nth", more ?? box).forEach((place) => { if (place.textContent != some) place.textContent = some; });
    return box.checked && more && one(".pm-list .pm-more", pane) ? more : null;
  };
  const say = (pane) => {
    const status = one(".pm-status", pane.closest(".pm-inbox")), picked = one(".pm-of:not([hidden])", pane) ?? one(".pm-picked", pane);
    if (status) status.textContent = (picked.dataset.pmCount ?? "") + " " + picked.textContent.trim();
  };
  const chosen = (pane) => {
    every(pane).disabled = true;
    one(".pm-every", pane)?.replaceChildren();
    const more = count(pane);
    more?.dispatchEvent(new Event("pm:every"));
    armed = true;
    say(pane);
  };
  let ticked, armed, from, stay;
  on("click", (e) => {
    const box = e.target;
    if (!box.matches?.(".pm-pane .pm-check")) return;
    const found = boxes(box.closest(".pm-pane")), [a, b] = [found.indexOf(ticked), found.indexOf(box)];
    if (e.shiftKey && a >= 0) found.slice(Math.min(a, b), Math.max(a, b)).forEach((other) => (other.checked = box.checked));
    ticked = box;
  });
  on("change", ({ target }) => {
    const pane = target.closest(".pm-pane");
    if (!pane || !target.matches(".pm-check, .pm-check-all")) return;
    if (target.matches(".pm-check-all")) boxes(pane).forEach((box) => (box.checked = target.checked));
    chosen(pane);
  });
  on("reset", ({ target: pane }) => {
    if (!pane.matches(".pm-pane")) return;
    if (one(".pm-bulk:focus-within", pane)) put(one(".pm-check:checked", pane));
    setTimeout(chosen, 0, pane);
  });
  on("click", ({ target }) => {
    const button = target.closest?.("[data-pm-every]"), pane = button?.closest(".pm-pane");
    if (!pane) return;
    every(pane).disabled = false;
    put(one(".pm-bulk button[name=do]", pane));
    all(".pm-every > *", pane).forEach((part) => (part.hidden = !part.hidden));
    say(pane);
  });

  // Shortcuts of a single key work only while the focus is in a list or a message (WCAG 2.1.4).
  const reply = () => {
    const field = one(".pm-letter textarea");
    field?.focus();
    return field;
  };
  const help = () => {
    const dialog = one(".pm-kit")?.content.querySelector(".pm-keys")?.cloneNode(true);
    if (!dialog) return;
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.showModal();
    return dialog;
  };
  // After a shortcut, the focus stays on its row, or moves to the row that takes its place.
  const act = (button, item, scope) => {
    const css = scope.matches(".pm-pop") ? ".pm-latest" : ".pm-pane";
    stay = button && { css, key: item?.dataset.pmMessage, at: item ? all(".pm-item", one(css)).indexOf(item) : 0 };
    button?.click();
    return button;
  };
  on("focusin", ({ target }) => {
    if (!stay || !target.matches(".pm-pane, .pm-latest, .pm-row-actions *")) return;
    const rows = all(".pm-item", one(stay.css)), row = rows.find((item) => item.dataset.pmMessage === stay.key) ?? rows[stay.at] ?? rows.at(-1);
    stay = null;
    if (row) put(one(".pm-row-link", row));
  });
  on("pointerdown", () => (stay = null));
  const acting = ["u", "e", "Delete"], bulk = { e: "archive", Delete: "delete" };
  const keys = (key, { item, scope, list, pane }) => {
    if (key === "?") return help();
    if (key === "c") return one("[data-pm-key=c]")?.click();
    if (key === "z") return act(all(".pm-toasts li:not([hidden]) form[method=post] button").at(-1), item, scope);
    if (key === "/") return put(one(".pm-search .pm-input", scope) ?? one(".pm-search .pm-input")), 1;
    if (!list) {
      const way = { j: "next", "]": "next", k: "prev", "[": "prev" }[key];
      if (way) return one(`[rel=${way}]`, scope)?.click(), 1;
      if (key === "r") return reply();
      return acting.includes(key) && act(one(`[data-pm-key="${key}"]`, scope), item, scope);
    }
    const links = all(".pm-row-link", list), at = item ? links.indexOf(one(".pm-row-link", item)) : -1;
    const far = item && { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[key], to = { j: at + 1, k: at - 1 }[key] ?? far;
    const selected = pane && one(".pm-check:checked", pane);
    if (to != null) {
      armed = !!selected;
      return links[to]?.focus(), 1;
    }
    if (key === "Escape") return selected && (pane.reset(), 1);
    if (acting.includes(key)) {
      if (!selected) return item && act(one(`[data-pm-key="${key}"]`, item), item, scope);
      const unread = one(".pm-row--unread:has(.pm-check:checked)", pane);
      return act(one(`.pm-bulk [value=${bulk[key] ?? (unread ? "read" : "unread")}]`, pane), item ?? selected.closest(".pm-item"), scope);
    }
    if (key === "x") return item && (one(".pm-pane .pm-check", item)?.click(), 1);
    if (key === "r" && item && !one(".pm-avatar--system", item)) return location.assign(one(".pm-row-link", item).href + "#pm-reply"), 1;
  };
  on("keydown", (e) => {
    const { key, target } = e, scope = target.closest?.(".pm-inbox, .pm-pop, .pm-thread-page");
    // On some layouts, brackets need AltGr.
    const held = (e.ctrlKey || e.metaKey || e.altKey) && !e.getModifierState("AltGraph");
    if (!scope || e.defaultPrevented || held || e.isComposing) return;
    if (target.matches("input:not([type=checkbox]), textarea, select") || target.isContentEditable) return;
    const item = target.closest(".pm-item"), list = one(".pm-list", scope), pane = list?.closest(".pm-pane");
    if (key === "Tab") return tab(e, item, pane);
    stay = null;
    if (keys(key, { item, scope, list, pane })) e.preventDefault();
  });

  // After a selection, Tab moves to its actions, and from there back to the row.
  const tab = (e, item, pane) => {
    const buttons = all(".pm-bulk button", pane ?? undefined).filter((button) => button.checkVisibility());
    if (item && armed && !e.shiftKey && buttons[0]) {
      [from, armed] = [e.target, false];
      put(buttons[0]);
    } else if (from?.isConnected && e.target === buttons.at(e.shiftKey ? 0 : -1)) {
      put(from);
      const back = e.shiftKey;
      from = null;
      if (!back) return; // the browser moves the focus
    } else return;
    e.preventDefault();
  };

  // Focus the row in a list after going back from a message, and the title of a message.
  on("click", ({ target }) => {
    const link = target.closest?.(".pm-pane .pm-row-link");
    if (link) kept.pmOpened = location.href + " " + all(".pm-pane .pm-row-link").indexOf(link);
  });
  const begin = () => {
    // The browser may apply autofocus a moment later.
    if (document.activeElement !== document.body || one("[autofocus]")) return;
    if (location.hash === "#pm-reply" && reply()) return;
    const title = one(".pm-thread-page .pm-thread-title"), [address, at] = (kept.pmOpened ?? "").split(" ");
    if (title) return put(title);
    delete kept.pmOpened;
    const links = all(".pm-pane .pm-row-link");
    if (address === location.href) put(links[at] ?? links.at(-1));
  };

  // Scroll the current folder into view. scroll-initial-target would scroll the page if all fit.
  const show = (nav) => {
    const place = (elt) => { const { left, width } = elt.getBoundingClientRect(); return left + width / 2; };
    const here = one("[aria-current]", nav);
    nav.dataset.pmShown = "";
    if (here) nav.scrollLeft += place(here) - place(nav);
  };
  const ready = () => {
    all(".pm-filters:not([data-pm-shown])").forEach(show);
    all(".pm-pick-all[hidden], [data-pm-keys][hidden]").forEach((elt) => (elt.hidden = false));
    all(".pm-pane").forEach(count);
  };
  on("click", ({ target }) => target.closest?.("[data-pm-keys]") && help());
  new MutationObserver(ready).observe(document.documentElement, { childList: true, subtree: true });
  ready();
  begin();
})();
