/* persistent_messages: only what HTML, CSS and htmx cannot do. Every action works without this file. */
(() => {
  const one = (css, root = document) => root.querySelector(css);
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const on = (name, fn, root = document) => root.addEventListener(name, fn);

  // Where the focus was: what goes away with it hands it to its successor, else to the heading.
  let last;
  on("focusin", ({ target }) => {
    const item = target.closest(".pm-item, .pm-notice");
    last = item && { item, list: item.parentNode, at: [...item.parentNode.children].indexOf(item) };
  });
  const hand = () => {
    if (!last || last.item.isConnected || document.activeElement !== document.body) return;
    const css = last.item.matches(".pm-item") ? ".pm-row-link" : ".pm-notice button";
    const next = [...last.list.children].slice(last.at).map((li) => one(css, li)).find(Boolean);
    const to = next ?? all(css, last.list).pop() ?? last.list.closest(".pm-pop") ?? one("h1");
    last = null;
    if (to?.matches("h1, .pm-pop")) to.tabIndex = -1;
    to?.focus();
  };

  // The last row of a page, or of the bell, is gone: fetch the next ones.
  const refill = () => {
    all(".pm-pane").forEach((pane) => {
      if (!one(".pm-item", pane)) one(".pm-list .pm-more:not([data-pm-asked])", pane)?.click();
    });
    all(".pm-latest:not(:has(.pm-item)) > .pm-more[hx-get]:not([data-pm-asked])").forEach((more) => {
      more.dataset.pmAsked = "";
      more.dispatchEvent(new Event("pm:refill"));
    });
  };
  on("click", ({ target }) => target.closest?.(".pm-list .pm-more")?.setAttribute("data-pm-asked", ""), window);

  // Selecting: all that are shown, or from the last one ticked to this one.
  const ready = () => all(".pm-pick-all[hidden]").forEach((label) => (label.hidden = false));
  const tell = (pane) => {
    const status = one(".pm-status", pane.closest(".pm-inbox"));
    if (status) status.textContent = all(".pm-check:checked", pane).length + " " + one(".pm-picked", pane).textContent;
  };
  let ticked;
  on("click", (e) => {
    const box = e.target;
    if (!box.matches?.(".pm-check")) return;
    const boxes = all(".pm-check", box.closest(".pm-pane")), [a, b] = [boxes.indexOf(ticked), boxes.indexOf(box)];
    if (e.shiftKey && a >= 0) boxes.slice(Math.min(a, b), Math.max(a, b)).forEach((other) => (other.checked = box.checked));
    ticked = box;
  });
  on("change", ({ target }) => {
    const pane = target.closest(".pm-pane");
    if (!pane || !target.matches(".pm-check, .pm-check-all")) return;
    if (target.matches(".pm-check-all")) all(".pm-check", pane).forEach((box) => (box.checked = target.checked));
    tell(pane);
  });
  on("reset", ({ target: pane }) => {
    if (!pane.matches(".pm-pane")) return;
    if (one(".pm-bulk:focus-within", pane)) one(".pm-check:checked", pane)?.focus();
    setTimeout(tell, 0, pane);
  });

  // Single keys act only while the focus is inside a list (WCAG 2.1.4).
  on("keydown", (e) => {
    const here = e.target.closest?.(".pm-item"), list = here?.closest(".pm-list");
    if (!list || e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    const links = all(".pm-row-link", list), at = links.indexOf(one(".pm-row-link", here));
    const move = { j: at + 1, ArrowDown: at + 1, k: at - 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[e.key];
    if (move !== undefined) links[move]?.focus();
    else if (e.key === "x") one(".pm-pane .pm-check", here)?.click();
    else if (e.key === "u" || e.key === "e" || e.key === "Delete") one(`[data-pm-key="${e.key}"]`, here)?.click();
    else if (e.key === "/") one(".pm-search .pm-input", list.closest(".pm-inbox") ?? document)?.focus();
    else if (e.key === "Escape" && list.closest(".pm-pane")) list.closest("form").reset();
    else return;
    e.preventDefault();
  });

  // The field for recipients is a combobox: list autocomplete by the ARIA Authoring Practices.
  const combos = () => all(".pm-combo").forEach((box) => {
    const input = one("input", box), list = one(".pm-options", box);
    const shown = list.children.length > 0 && document.activeElement === input;
    list.hidden = !shown;
    Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": shown })
      .forEach(([name, value]) => input.setAttribute(name, value));
    if (!shown) input.removeAttribute("aria-activedescendant");
  });
  const take = (option) => {
    const input = one("input", option.closest(".pm-combo"));
    input.value = [...input.value.split(",").slice(0, -1).map((name) => name.trim()), option.dataset.pmName, ""].join(", ");
    option.parentNode.replaceChildren();
  };
  on("pointerdown", (e) => {
    const option = e.target.closest?.(".pm-option");
    if (option) e.preventDefault(), take(option);
  });
  on("keydown", (e) => {
    const list = e.target.matches?.(".pm-combo input") && one(".pm-options:not([hidden])", e.target.parentNode);
    if (!list) return;
    const options = all(".pm-option", list), at = options.findIndex((option) => option.ariaSelected === "true");
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? -1 : at - 1 }[e.key];
    if (to !== undefined) {
      const active = options.at(to % options.length);
      options.forEach((option) => (option.ariaSelected = option === active));
      e.target.setAttribute("aria-activedescendant", active.id);
    } else if (e.key === "Escape") list.replaceChildren();
    else if (e.key === "Enter" && at >= 0) take(options[at]);
    else return;
    e.preventDefault();
  });
  on("focusin", combos);
  on("focusout", () => setTimeout(combos));

  // A letter: Ctrl + Enter sends; the counter of its characters; no field is replaced while in use.
  on("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && e.target.matches(".pm-letter textarea")) e.target.form.requestSubmit();
  });
  on("input", ({ target }) => {
    if (!target.dataset.pmLimit) return;
    if (!target.nextElementSibling?.matches(".pm-left")) target.insertAdjacentHTML("afterend", '<p class="pm-note pm-left" dir="ltr"></p>');
    target.nextElementSibling.textContent = [...target.value].length + " / " + target.dataset.pmLimit;
  });
  ["htmx:beforeSwap", "htmx:before:swap"].forEach((name) => on(name, (e) => {
    const target = e.detail.target ?? e.detail.ctx?.target;
    if (target?.matches?.('[id^="div_pm-"]') && target.contains(document.activeElement)) e.preventDefault();
  }));

  // The bell opens its popover; htmx fills it.
  on("click", (e) => {
    const bell = e.target.closest?.("[data-pm-opens]"), pop = bell && one(".pm-pop", bell.parentNode);
    if (!pop?.togglePopover || e.ctrlKey || e.metaKey) return;
    e.preventDefault();
    pop.togglePopover({ source: bell });
  });

  // Ask for news once a minute, while somebody looks.
  const refresh = () => document.hidden || document.body.dispatchEvent(new CustomEvent("pm:refresh", { bubbles: true }));
  setInterval(refresh, 60000);
  on("visibilitychange", refresh);

  // The server did not answer: say so.
  const failed = () => all(".pm-said").forEach((said) => {
    const kept = one("template", said.parentNode);
    if (kept) said.replaceChildren(kept.content.cloneNode(true));
  });
  ["htmx:sendError", "htmx:responseError", "htmx:error", "htmx:response:error"].forEach((name) => on(name, failed));

  new MutationObserver(() => { hand(); refill(); ready(); combos(); }).observe(document.body, { childList: true, subtree: true });
  ready();
  combos();
})();
