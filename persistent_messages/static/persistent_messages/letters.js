/* persistent_messages: conversations and the forms of letters. Loaded by persistent_messages.js if a page has one. */
(() => {
  const one = (css, root = document) => root.querySelector(css);
  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const on = (names, fn, root = document) => names.split(" ").forEach((name) => root.addEventListener(name, fn));

  // Recipients: a combobox as in the ARIA Authoring Practices, with chips for known users.
  const entry = (box) => one("input[type=text]", box);
  const chips = (box) => all(".pm-chip", box);
  const add = (box, typed, name) => {
    if (chips(box).some((chip) => one("input", chip).value === typed)) return;
    const chip = one("template", box).content.firstElementChild.cloneNode(true), button = one("button", chip);
    one("bdi", chip).textContent = name;
    one("input", chip).value = typed;
    button.ariaLabel = button.ariaLabel.replace("{}", name);
    entry(box).before(chip);
  };
  const recognize = (box) => {
    const input = entry(box), names = JSON.parse(box.dataset.pmNames ?? "{}");
    const typed = input.value.split(",").map((name) => name.trim()).filter(Boolean);
    const known = typed.filter((name) => Object.hasOwn(names, name));
    if (!known.length) return;
    known.forEach((name) => add(box, name, names[name]));
    input.value = typed.filter((name) => !known.includes(name)).join(", ");
  };
  const combos = () => all(".pm-combo").forEach((box) => {
    const input = entry(box), list = one(".pm-options", box), status = one(".pm-found", box);
    recognize(box);
    const shown = list.children.length > 0 && document.activeElement === input;
    list.hidden = !shown;
    Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": list.id, "aria-expanded": shown })
      .forEach(([name, value]) => input.setAttribute(name, value));
    if (!shown) input.removeAttribute("aria-activedescendant");
    input.required = !chips(box).length;
    const none = one("[aria-disabled]", list)?.textContent ?? "";
    if (status.textContent !== none) status.textContent = none;
  });
  const changed = (box) => {
    const input = entry(box);
    one(".pm-options", box).replaceChildren();
    input.focus();
    save(input.form);
  };
  const take = (option) => {
    const box = option.closest(".pm-combo"), input = entry(box);
    add(box, option.dataset.pmName, one("bdi", option).textContent);
    input.value = input.value.split(",").slice(0, -1).map((name) => name.trim()).join(", ");
    changed(box);
  };
  on("click", ({ target }) => {
    const chip = target.closest?.(".pm-chip button")?.closest(".pm-chip"), box = chip?.parentNode;
    if (chip) chip.remove(), changed(box);
  });
  on("keydown", (e) => {
    const box = e.key === "Backspace" && e.target.matches?.(".pm-combo input") && e.target.parentNode;
    if (!box || e.target.value) return;
    chips(box).pop()?.remove();
    changed(box);
  });
  on("pointerdown", (e) => {
    const option = e.target.closest?.(".pm-option[data-pm-name]");
    if (option) e.preventDefault(), take(option);
  });
  on("keydown", (e) => {
    const list = e.target.matches?.(".pm-combo input") && one(".pm-options:not([hidden])", e.target.parentNode);
    if (!list) return;
    const options = all("[data-pm-name]", list), at = options.findIndex((option) => option.ariaSelected === "true");
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? -1 : at - 1 }[e.key];
    if (to !== undefined) {
      if (!options.length) return;
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

  // Letters: Ctrl+Enter sends, and a field is not replaced while it has the focus.
  on("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && e.target.matches(".pm-letter textarea")) e.target.form.requestSubmit();
  });
  on("input", ({ target }) => {
    if (!target.dataset.pmLimit) return;
    if (!target.nextElementSibling?.matches(".pm-left")) target.insertAdjacentHTML("afterend", '<p class="pm-note pm-left" dir="ltr"></p>');
    target.nextElementSibling.textContent = [...target.value].length + " / " + target.dataset.pmLimit;
  });
  on("htmx:beforeSwap htmx:before:swap", (e) => {
    const target = e.detail.target ?? e.detail.ctx?.target;
    if (target?.matches?.('[id^="div_pm-"]') && target.contains(document.activeElement)) e.preventDefault();
  });

  // The first focus puts the cursor at the end of the text.
  on("focusin", ({ target: text }) => {
    if (!text.matches(".pm-letter textarea") || text.dataset.pmBegun) return;
    text.dataset.pmBegun = "";
    text.setSelectionRange(text.textLength, text.textLength);
  });

  // Conversations: new replies are shown at once if the end is in view, or else announced.
  let asking, latest;
  const ask = (wait) => {
    clearTimeout(asking);
    asking = setTimeout(() => {
      if (!document.hidden) one(".pm-replies:not(:has(a))")?.dispatchEvent(new Event("pm:ask"));
      ask(Math.min(Math.max(wait * 1.5, 10000), 120000));
    }, wait);
  };
  const converse = () => {
    const replies = one(".pm-replies"), seen = new Map();
    if (!replies) return;
    // Two responses may contain the same letter.
    all(".pm-after").forEach((key) => (seen.has(key.value) ? key.parentNode.remove() : seen.set(key.value, key.parentNode)));
    const keys = [...seen.keys()], posts = [...seen.values()], from = keys.indexOf(latest) + 1;
    const news = one("a:not([data-pm-asked])", replies);
    if (!latest) ask(10000);
    else if (posts[from]) {
      replies.replaceChildren();
      ask(10000);
      [one(".pm-letter") ?? posts.at(-1), posts[from]].forEach((to) => to.scrollIntoView({ block: "nearest" }));
    } else if (news) {
      news.dataset.pmAsked = "";
      if (posts.at(-1).getBoundingClientRect().bottom < innerHeight) setTimeout(() => news.click(), 50);
    }
    latest = keys.at(-1);
  };
  on("visibilitychange pm:live", () => latest && ask(0));

  // Drafts: a text is kept in this browser as long as its name is in the cookie. The server removes
  // the name when the letter is sent, and all names when the user logs out.
  const PREFIX = "pm-draft:";
  let store;
  try { store = localStorage; } catch { store = {}; }
  const named = () => document.cookie.match(/(?:^|; )pm_drafts=([\w.-]+)/)?.[1].split(".") ?? [];
  const fields = (form) => all("input:not([type=hidden]), textarea", form);
  // The value of a field, with a line for each chip: the value and the name of the user.
  const whole = (field) => [...chips(field.parentNode).map((chip) => one("input", chip).value + "\t" + one("bdi", chip).textContent), field.value].filter(Boolean).join("\n");
  const fill = (field, text = "") => {
    const lines = field.type === "text" && text.includes("\t") ? text.split("\n") : [text];
    chips(field.parentNode).forEach((chip) => chip.remove());
    field.value = lines.filter((line) => !line.includes("\t")).join(", ");
    if (field.matches(".pm-combo input")) lines.filter((line) => line.includes("\t")).forEach((line) => add(field.parentNode, ...line.split("\t")));
  };
  const drop = (name) => { try { delete store[PREFIX + name]; } catch { /* forbidden */ } };
  const save = (form) => {
    const name = form.dataset.pmDraft, typed = Object.fromEntries(fields(form).map((field) => [field.name, whole(field)]));
    const others = named().filter((other) => other !== name), isEmpty = !Object.values(typed).some((text) => text.trim());
    drop(name);
    try { if (!isEmpty) store[PREFIX + name] = JSON.stringify(typed); } catch { return; /* full */ }
    const names = (isEmpty ? others : [...others, name]).slice(-20).join(".");
    document.cookie = `pm_drafts=${names}; path=/; samesite=lax; max-age=${names ? 2592000 : 0}${location.protocol === "https:" ? "; secure" : ""}`;
  };
  const draftOf = (name) => {
    const [owner] = name.split("-"), names = named();
    try {
      Object.keys(store).filter((key) => key.startsWith(PREFIX)).map((key) => key.slice(PREFIX.length)).forEach((other) => {
        if (!names.includes(other) || !other.startsWith(owner + "-") || store[PREFIX + other].length > 50000) drop(other);
      });
      const typed = JSON.parse(store[PREFIX + name] ?? "null");
      if (typed && Object.values(typed).every((text) => typeof text === "string")) return typed;
    } catch { /* not a draft */ }
    drop(name);
  };
  const offer = () => all("form[data-pm-draft]:not([data-pm-offered])").forEach((form) => {
    form.dataset.pmOffered = "";
    const draft = draftOf(form.dataset.pmDraft), given = fields(form);
    // Values of the page take precedence: a recipient, a quotation, a rejected form.
    if (!draft || given.some((field) => whole(field) && whole(field) !== draft[field.name]) || given.every((field) => whole(field) === (draft[field.name] ?? ""))) return;
    given.forEach((field) => fill(field, draft[field.name]));
    const note = one("[data-pm-restored]", form.closest(".pm-letter"));
    if (note) note.hidden = false;
  });
  // If the form is sent with the keyboard, a field fires `change` when the response replaces it.
  const sent = new WeakSet();
  on("submit", ({ target }) => sent.add(target));
  on("input change", ({ type, target: { form } }) => {
    if (!form?.matches("[data-pm-draft]") || (type === "change" && sent.has(form))) return;
    sent.delete(form);
    save(form);
  });
  on("click", ({ target }) => {
    const note = target.closest?.("[data-pm-discard]")?.closest("[data-pm-restored]");
    if (!note) return;
    const form = one("form", note.parentNode);
    fields(form).forEach((field) => fill(field));
    note.hidden = true;
    save(form);
    fields(form)[0].focus();
  });

  const look = () => { combos(); converse(); offer(); };
  // htmx 4 may set attributes after it has swapped an element in.
  new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["value"] });
  look();
})();
