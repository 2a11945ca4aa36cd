/* persistent_messages: what renews itself, and the tabs of a browser. Loaded by persistent_messages.js where a user is logged in. */
(() => {
  const one = (css, root = document) => root.querySelector(css);
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const on = (names, fn, root = document) => names.split(" ").forEach((name) => root.addEventListener(name, fn));

  // Ask again and again while the tab is in front, and when it comes there. `ask` returns the seconds
  // to wait, 0 for no more; each failure doubles them.
  const repeat = (ask, seconds) => {
    let timer, busy, again, last = 0, failures = 0;
    const plan = (wait, shown) => { clearTimeout(timer); if (wait) timer = setTimeout(go, wait * 1000, shown); };
    const go = async (shown) => {
      if (document.hidden) return;
      if (busy) return (again = true);
      if (Date.now() - last < 1000) return plan(1, shown);
      busy = last = Date.now();
      let wait;
      try {
        wait = await ask(shown);
        failures = 0;
      } catch { wait = 2 ** Math.min(++failures, 5) * (20 + 20 * Math.random()); }
      plan(again ? 1 : wait, again);
      busy = again = false;
    };
    on("visibilitychange", () => go(true));
    on("pageshow", (e) => e.persisted && go(true), window);
    plan(seconds);
    return go;
  };

  // One tab of the browser asks for all, and each tells the others of its user when something changed.
  const tabs = one("[data-pm-news]")?.dataset, label = () => one(".pm-badge, .pm-unread-num")?.textContent ?? "";
  const swap = (html) => [...new DOMParser().parseFromString(html, "text/html").body.children].forEach((part) => {
    const [how, css] = part.getAttribute("hx-swap-oob").split(/:(.*)/);
    all(css).forEach((old) => {
      const fresh = part.cloneNode(true);
      if (one(".pm-check:checked", old)) one(".pm-check", fresh)?.click();
      if (how === "innerHTML") old.replaceChildren(...fresh.childNodes);
      else old.replaceWith(...(how === "delete" ? [] : [fresh]));
      window.htmx?.process(how === "innerHTML" ? old : fresh);
    });
  });
  if (tabs) {
    // `due`: 1 since another tab told so, 2 since somebody looks now.
    let due = 0, known = "", changes = 0, moved = 0, channel, queued, free, leads = !navigator.locks;
    const name = "pm-" + tabs.pmUser, tell = (number) => channel?.postMessage(number);
    const go = repeat(async (shown) => {
      if (shown) due = 2;
      if (!due && !leads) return 30;
      if (due < 2 && Date.now() - moved < 2000) return 2; // nothing moves under the hand
      const before = changes, query = new URLSearchParams({ "pm-fragment": "part", user: tabs.pmUser, known, unread: label() });
      all(".pm output, .pm-part").slice(0, 120).forEach((it) =>
        query.append(it.name, it.value + (it.closest(".pm-item:has(.pm-row--unread)") ? "u" : "")));
      const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
      const answer = await fetch(tabs.pmNews + "?" + query, { headers, redirect: "manual" });
      const html = await answer.text(), state = answer.headers.get("PM-State") ?? "";
      if (!state && answer.status >= 400) throw 0;
      if (before !== changes) return 1; // the answer is older than what was done here
      if (due !== 1 && (!state || (known && known !== state))) tell("+");
      [due, known] = [0, state];
      if (!state) return 0; // logged out
      swap(html);
      // Nothing is below the pointer there.
      if (!one(".pm-pane .pm-item")) one(".pm-news a")?.click();
      if (html) all(".pm-pop:popover-open:not(:hover, :focus-within)").forEach((pop) => pop.previousElementSibling.dispatchEvent(new Event("pm:again")));
      return 30;
    }, 30);

    // The tab that holds the lock asks; no hidden one does.
    const lead = () => {
      if (document.hidden) return free?.();
      if (leads || queued) return;
      queued = navigator.locks.request(name, () => document.hidden || new Promise((end) => {
        leads = true;
        free = () => { leads = false; end(); };
      })).catch(() => (leads = true)).finally(() => { queued = 0; lead(); });
    };
    on("visibilitychange", lead);
    lead();

    // What comes through the channel makes the tab ask, no more.
    const listen = () => {
      try { channel = new BroadcastChannel(name); } catch { return; }
      on("message", ({ data }) => /^\d*\+?$/.test(data) && data !== label() && ((due ||= 1), go()), channel);
      tell(label());
    };
    on("pageshow", (e) => e.persisted && listen(), window);
    on("pagehide", () => channel?.close(), window);
    listen();
    on("pm:changed", () => { changes++; known = ""; tell("+"); });
    on("pm:refresh", () => go(true));
    on("pointermove pointerdown", () => (moved = Date.now()));
  }

  // The title of the inbox says how many are unread, and in which folder one is.
  let folder;
  const entitle = () => {
    const now = one(".pm-inbox h1")?.textContent, number = one(".pm-unread-num")?.textContent;
    if (!now) return;
    const title = (number && `(${number}) `) + document.title.replace(/^\(\d+\+?\) /, "").replace(folder ?? now, () => now);
    folder = now;
    if (document.title !== title) document.title = title;
  };
  new MutationObserver(entitle).observe(document.documentElement, { childList: true, subtree: true });
  entitle();
})();
