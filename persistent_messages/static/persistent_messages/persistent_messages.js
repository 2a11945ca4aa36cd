/* persistent_messages: features beyond HTML, CSS and htmx. Every action works without this script. */
(() => {
  const one = (css, root = document) => root.querySelector(css);
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const on = (names, fn, root = document) => names.split(" ").forEach((name) => root.addEventListener(name, fn));

  // Focus never scrolls. A swap says which element gets it; a removed element passes it on.
  let last, outside;
  const put = (to) => to?.focus({ preventScroll: true });
  on("focusin", ({ target }) => {
    const item = target.closest(".pm-item, .pm-notice");
    last = item && { item, list: item.parentNode, at: [...item.parentNode.children].indexOf(item) };
    if (!target.closest(".pm-toasts")) outside = target;
  });
  const successor = () => {
    const css = last.item.matches(".pm-item") ? ".pm-row-link" : ".pm-notice:not([hidden]) button";
    const next = [...last.list.children].slice(last.at).map((li) => one(css, li)).find(Boolean);
    const back = last.list.closest(".pm-toasts") && outside?.isConnected && outside;
    return next ?? all(css, last.list).pop() ?? last.list.closest(".pm-pop") ?? (back || one("h1"));
  };
  const hand = () => {
    const wanted = one("[data-pm-focus]");
    if (document.activeElement !== document.body) {
      if (wanted) setTimeout(() => wanted.removeAttribute("data-pm-focus"), 300);
    } else if (wanted) {
      wanted.removeAttribute("data-pm-focus");
      put(wanted.checkVisibility() ? wanted : one(".pm-row-link", wanted.closest(".pm-item") ?? document));
    } else if (last && !last.item.isConnected) {
      const to = successor();
      last = null;
      if (to?.matches("h1, .pm-pop")) to.tabIndex = -1;
      put(to);
    }
  };

  // Toasts: one region at the edge of the window.
  let region, toasts = [], arrived = 0;
  const isError = (toast) => toast.matches(".pm-error"), isUsed = (elt) => elt.matches(":hover, :focus-within");
  const kit = (css) => one(".pm-kit")?.content.querySelector(css)?.cloneNode(true);
  const gather = () => {
    if (!region?.isConnected) {
      region = kit(".pm-toasts");
      if (!region) return;
      document.body.append(region);
      region.showPopover();
    }
    // A second strip has the same toasts.
    all(".pm-flash > .pm-toasts").forEach((strip, at) => {
      if (!at) [".pm-passing", ".pm-said"].forEach((css) => one(css, region).append(...one(css, strip).children));
      strip.remove();
    });
    toasts = toasts.filter((toast) => toast.isConnected);
    const news = all("li", region).filter((toast) => !toasts.includes(toast));
    // A new toast replaces an older one that is neither an error nor in use, or else waits.
    const old = toasts.filter((toast) => !toast.hidden), passing = old.filter((toast) => !isError(toast) && !isUsed(toast));
    let room = 3 - old.length;
    if (news.length && one(".pm-pop:popover-open, dialog:modal")) region.hidePopover(), region.showPopover();
    news.forEach((toast) => {
      if (isError(toast)) {
        one("p", toast).setAttribute("role", "alert");
        one(".pm-alerts", region).append(toast);
      } else if (toast.matches(".pm-said > :not(.pm-going), :not(:has(button))")) {
        toast.dataset.pmTimeout ??= 15000;
        // The “Undo” buttons of older toasts get longer names.
        all(".pm-toasts form[method=post] button:not([aria-label])").forEach((undo) => {
          if (!toast.contains(undo)) undo.ariaLabel = undo.textContent.trim() + ": " + one("p bdi", undo.closest("li")).textContent;
        });
      }
      toast.style.order = arrived++;
      if (room < 1 && passing[0]) passing.shift().remove(), room++;
      toast.hidden = room-- < 1;
    });
    toasts.push(...news);
    toasts.forEach((toast) => { if (toast.hidden && room-- > 0) toast.hidden = false; });
  };
  on("click", (e) => {
    const button = e.target.closest?.(".pm-toasts form[method=get] button, [data-pm-close]");
    if (!button) return;
    e.preventDefault(); // already removed on the server
    button.closest(".pm-notice").remove();
  }, window);

  // The timer of a message pauses while it is hovered, focused or not visible.
  const tick = (item, passed) => {
    const { pmTimeout: total, pmLeft = total } = item.dataset, toasted = item.closest(".pm-toasts");
    const waits = isUsed(toasted ?? item) || !item.checkVisibility();
    if (waits || (toasted && isError(item))) passed = 0;
    const left = (item.dataset.pmLeft = Math.max(pmLeft - passed, 0)), text = one(".pm-closing", item)?.firstChild;
    item.style.setProperty("--pm-left", left / total);
    if (text) text.data = text.data.replace(/\d[\d.,]*/, Math.ceil(left / 1000));
    if (left) return;
    delete item.dataset.pmTimeout;
    if (!item.dataset.pmNotice) item.remove();
    else if (window.htmx) one("form", item)?.requestSubmit();
  };
  let then = Date.now();
  setInterval(() => {
    const passed = Math.min(Date.now() - then, 1000);
    then = Date.now();
    if (!document.hidden) all(".pm-notice[data-pm-timeout]").forEach((item) => tick(item, passed));
  }, 100);

  // When the last row is removed, load the next page.
  const refill = () => {
    all(".pm-pane").forEach((pane) => {
      if (!one(".pm-item", pane)) one(".pm-list .pm-more:not([data-pm-asked])", pane)?.click();
    });
    all(".pm-latest:not(:has(.pm-item)) > .pm-more[hx-get]:not([data-pm-asked])").forEach((more) => {
      more.dataset.pmAsked = "";
      more.dispatchEvent(new Event("pm:again"));
    });
  };
  on("click", ({ target }) => target.closest?.(".pm-list .pm-more")?.setAttribute("data-pm-asked", ""), window);

  // Turn the link of the bell into a button that opens a popover, which htmx fills.
  const ring = () => window.htmx && all("a.pm-bell[data-pm-opens]").forEach((link) => {
    const bell = document.createElement("button"), pop = link.nextElementSibling, empty = pop.innerHTML;
    [...link.attributes].forEach(({ name, value }) => name !== "href" && bell.setAttribute(name, value));
    bell.append(...link.childNodes);
    link.replaceWith(bell);
    [bell.type, bell.popoverTargetElement, bell.ariaExpanded] = ["button", pop, false];
    on("beforetoggle", ({ newState }) => {
      bell.ariaExpanded = newState === "open";
      // Load the current messages instead of showing old ones.
      if (newState === "open") pop.innerHTML = empty, bell.dispatchEvent(new Event("pm:again"));
    }, pop);
    window.htmx.process(bell);
  });
  on("DOMContentLoaded load", ring, window); // htmx may be loaded after this script

  // Menus, including the actions of a row on devices without hover.
  const shut = (but) => all(".pm-menu[open], .pm-drop[open]").forEach((menu) => menu.contains(but) || (menu.open = false));
  on("click", ({ target }) => shut(target));
  on("keydown", ({ key }) => key === "Escape" && shut());

  // Loading: the style sheet shows it, and aria-busy announces it.
  const source = ({ detail }) => detail.ctx?.sourceElement ?? detail.elt ?? document.body;
  const asksItself = (elt) => !elt.closest(".pm") || elt.matches(".pm-news, .pm-options, .pm-replies, .pm-every");
  const popOf = (elt) => elt.matches(".pm-bell") && elt.nextElementSibling;
  const busy = (is) => (e) => {
    const elt = source(e);
    if (!asksItself(elt)) (popOf(elt) || elt.closest(".pm-inbox, .pm-pop"))?.setAttribute("aria-busy", is);
  };
  on("htmx:beforeRequest htmx:before:request", busy(true));
  on("htmx:afterRequest htmx:finally:request", busy(false));

  // Errors are shown as toasts that offer to try again.
  const again = (elt) => {
    if (elt.matches("form")) elt.requestSubmit(one("button:enabled", elt));
    else if (elt.matches(".pm-bell, .pm-latest > *")) elt.dispatchEvent(new Event("pm:again"));
    else elt.click();
  };
  const fail = (elt, why) => {
    const list = kit(".pm-failure"), toast = list?.children[0];
    if (asksItself(elt) || !toast) return;
    toast.className = "pm-notice pm-error";
    const named = elt.matches("form") ? one("button:enabled", elt) ?? elt : elt;
    one("bdi", toast).textContent = ((popOf(elt) || named).ariaLabel || named.textContent.trim()) + ":";
    all(`[data-pm-when]:not([data-pm-when="${why}"])`, toast).forEach((other) => other.remove());
    one(why === "stale" ? "[data-pm-again]" : "[data-pm-reload]", toast).remove();
    on("click", ({ target }) => {
      if (target.closest("[data-pm-reload]")) location.reload();
      if (!target.closest("[data-pm-again]")) return;
      toast.remove();
      if (elt.isConnected) again(elt);
    }, toast);
    const pop = popOf(elt);
    if (pop) return pop.replaceChildren(list);
    gather();
    toasts.filter((other) => other.textContent === toast.textContent).forEach((other) => other.remove());
    one(".pm-alerts", region).append(toast);
    gather();
  };

  // If another tab has rotated the CSRF token, fetch the new one and try again.
  let renewed = 0;
  const renew = async (elt) => {
    const answer = Date.now() - renewed > 5000 && await fetch(region.dataset.pmToken).catch(() => 0);
    if (!answer?.ok) return fail(elt, answer === 0 ? "offline" : "stale");
    const token = await answer.text();
    all("[name=csrfmiddlewaretoken]").forEach((field) => (field.value = token));
    renewed = Date.now();
    again(elt);
  };
  const refused = (elt, status) => {
    if (asksItself(elt)) return;
    if (status === 403) renew(elt);
    else fail(elt, !status ? "offline" : status >= 500 || status === 429 ? "server" : "stale");
  };
  on("htmx:sendError htmx:timeout htmx:responseError", (e) => refused(source(e), e.detail.xhr.status));
  on("htmx:error", (e) => {
    const { ctx, error } = e.detail;
    if (ctx && !ctx.response && error?.name !== "AbortError") refused(source(e));
  });

  // If the session has expired, offer the action again after the log-in.
  let kept;
  try { kept = sessionStorage; } catch { kept = {}; }
  const leave = (elt, to) => {
    if (to?.includes("next=") && elt.closest(".pm-item, .pm-notice")) kept.pmUndone = elt.getAttribute("hx-post");
  };
  on("htmx:beforeOnLoad", (e) => leave(source(e), e.detail.xhr.getResponseHeader("HX-Redirect")));
  on("htmx:before:response", (e) => {
    const { status, headers } = e.detail.ctx.response, elt = source(e);
    leave(elt, headers.get("HX-Redirect"));
    // htmx 4 would swap the error in.
    if (status >= 400 && elt.closest(".pm")) e.preventDefault(), refused(elt, status);
  });

  // Some parts have their own script, which is loaded once when the first of them appears.
  const brought = new Set();
  const bring = () => all("[data-pm-script]").forEach(({ dataset: { pmScript: src } }) => {
    if (brought.has(src)) return;
    brought.add(src);
    document.head.append(Object.assign(document.createElement("script"), { src }));
  });

  // Logging out deletes the cookie with the names of drafts, and then the drafts.
  try {
    if (!document.cookie.includes("pm_drafts=")) Object.keys(localStorage).forEach((key) => key.startsWith("pm-draft:") && localStorage.removeItem(key));
  } catch { /* forbidden */ }

  // An updated list must not scroll: browsers would anchor to the focused row of the old list.
  on("htmx:beforeSwap htmx:before:swap", ({ detail }) => {
    if (!/ class="pm-pane"/.test(detail.serverResponse ?? detail.ctx?.text)) return;
    const { style } = document.documentElement;
    style.overflowAnchor = "none";
    setTimeout(() => (style.overflowAnchor = ""), 100);
  });
  // htmx 4 may set attributes after it has swapped an element in.
  new MutationObserver(() => { gather(); hand(); refill(); ring(); bring(); }).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["data-pm-focus"] });
  gather();
  ring();
  bring();
  const undone = all(".pm-item [hx-post], .pm-notice [hx-post]").find((elt) => elt.getAttribute("hx-post") === kept.pmUndone);
  if (undone) delete kept.pmUndone, fail(undone, "session");
})();
