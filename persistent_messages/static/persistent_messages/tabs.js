/* persistent_messages: polling, and the tabs of a browser. Loaded by persistent_messages.js if a user is signed in. */
(() => {
  const one = (css, root = document) => root.querySelector(css);
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const on = (names, fn, root = document) => names.split(" ").forEach((name) => root.addEventListener(name, fn));

  // Poll while the tab is visible, and when it becomes visible. `ask` returns the seconds until the
  // next poll, or 0 to stop. Each failure doubles them.
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

  // One tab polls for all tabs of a user. Each tab tells the others when something has changed.
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
    // `due`: 1 after a message from another tab, 2 if the tab has just become visible.
    let due = 0, known = "", changes = 0, moved = 0, channel, queued, free, leads = !navigator.locks;
    const name = "pm-" + tabs.pmUser, tell = (number) => channel?.postMessage(number);
    const go = repeat(async (shown) => {
      if (shown) due = 2;
      if (!due && !leads) return 30;
      if (due < 2 && Date.now() - moved < 2000) return 2; // nothing moves under the pointer
      const before = changes, query = new URLSearchParams({ "pm-fragment": "part", user: tabs.pmUser, known, unread: label() });
      all(".pm output, .pm-part").slice(0, 120).forEach((it) =>
        query.append(it.name, it.value + (it.closest(".pm-item:has(.pm-row--unread)") ? "u" : "")));
      const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
      const answer = await fetch(tabs.pmNews + "?" + query, { headers, redirect: "manual" });
      const html = await answer.text(), state = answer.headers.get("PM-State") ?? "";
      if (!state && answer.status >= 400) throw 0;
      if (before !== changes) return 1; // the response is older than an action in this tab
      if (due !== 1 && (!state || (known && known !== state))) tell("+");
      [due, known] = [0, state];
      if (!state) return disconnect(), 0; // logged out
      swap(html);
      // In an empty list, nothing can move under the pointer.
      if (!one(".pm-pane .pm-item")) one(".pm-news a")?.click();
      if (html) all(".pm-pop:popover-open:not(:hover, :focus-within)").forEach((pop) => pop.previousElementSibling.dispatchEvent(new Event("pm:again")));
      return isLive() ? 60 : 30;
    }, 30);

    // Live updates: an event makes the polling tab poll. It has no content.
    // Without a connection, it polls as often as on a site without live updates.
    const changed = () => { due ||= 1; document.dispatchEvent(new Event("pm:live")); go(); };
    let stream, heard = 0, failed = 0, later;
    const isLive = () => stream && Date.now() - heard < 40000;
    const disconnect = () => { clearTimeout(later); stream &&= stream.close(); };
    const reconnectLater = () => { disconnect(); later = setTimeout(follow, 2 ** Math.min(failed++, 5) * (30 + 60 * Math.random()) * 1000); };
    const follow = () => {
      if (!tabs.pmEvents || stream || !leads || document.hidden) return;
      stream = new EventSource(tabs.pmEvents);
      // A connection may break without the browser noticing.
      const hear = () => {
        [heard, failed] = [Date.now(), 0];
        clearTimeout(later);
        later = setTimeout(() => { disconnect(); follow(); go(); }, 40000);
      };
      on("beat", hear, stream);
      on("change", () => { hear(); tell("+"); changed(); }, stream);
      on("end", () => { reconnectLater(); go(true); }, stream); // the user may still be logged in, with a new session key
      on("error", () => {
        heard = 0;
        if (stream?.readyState === EventSource.CLOSED) reconnectLater(); // else the browser reconnects
      }, stream);
    };
    on("visibilitychange", () => (document.hidden ? disconnect() : follow()));
    on("pageshow", (e) => e.persisted && follow(), window);
    on("pagehide", disconnect, window);

    // The tab that holds the lock polls. Hidden tabs release it.
    const lead = () => {
      if (document.hidden) return free?.();
      if (leads || queued) return;
      queued = navigator.locks.request(name, () => document.hidden || new Promise((end) => {
        leads = true;
        free = () => { leads = false; disconnect(); end(); };
        follow();
      })).catch(() => { leads = true; follow(); }).finally(() => { queued = 0; lead(); });
    };
    on("visibilitychange", lead);
    lead();
    follow();

    // A message in the channel only makes the tab poll.
    const listen = () => {
      try { channel = new BroadcastChannel(name); } catch { return; }
      on("message", ({ data }) => /^\d*\+?$/.test(data) && data !== label() && changed(), channel);
      tell(label());
    };
    on("pageshow", (e) => e.persisted && listen(), window);
    on("pagehide", () => channel?.close(), window);
    listen();
    on("pm:changed", () => { changes++; known = ""; tell("+"); });
    on("pm:refresh", () => go(true));
    on("pointermove pointerdown", () => (moved = Date.now()));
  }

  // The title of the inbox has the unread count and the name of the folder.
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
