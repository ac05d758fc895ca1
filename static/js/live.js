// Live pages: says what the page watches, shows when the connection is lost, and looks by itself meanwhile.
(() => {
  "use strict";
  const POLL = 5000;
  const PATIENCE = 2000;
  const GROW = 1000;
  const FOLLOW = 1500;
  const SCREEN = 10000;
  const JUST_NOW = 10;
  const offline = document.getElementById("offline");
  let socket = null;
  let lost = null;
  let patience = null;
  let poll = null;
  let opened = false;
  let ended = false;

  // A page that answers a form: who comes back to it, or takes it anew, asks for its address, and sends nothing once more.
  if ("posted" in document.body.dataset) history.replaceState(null, "", location.href);

  // Whoever is refused a form goes on at the first field that was.
  const refused = document.querySelectorAll("main [aria-invalid=true]");
  if (!document.querySelector("[autofocus]")) [...refused].find((field) => field.checkVisibility())?.focus();

  const watched = () => [...new Set([...document.querySelectorAll("[data-watch]")].flatMap((e) => e.dataset.watch.split(" ")))];

  const watch = () => {
    const uids = watched();
    if (socket && uids.length) socket.sendImmediately(JSON.stringify({ watch: uids }));
  };

  // Takes the page anew and puts in place what is live in it; what has the focus is left alone.
  const refresh = async (what = "[data-live]") => {
    let answer;
    try {
      answer = await fetch(location.href, { headers: { "X-Live-Refresh": "1" }, redirect: "manual", signal: AbortSignal.timeout(10000) });
    } catch {
      return false;
    }
    if (answer.type === "opaqueredirect") {
      // The log-in ended. A page that keeps what was typed waits until its form is sent; others lead to the log-in.
      ended = document.querySelector("form[data-keeps]") !== null;
      if (!ended) location.reload();
      return false;
    }
    if (!answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll(what)) {
      const now = fresh.getElementById(old.id);
      if (!now || old.contains(document.activeElement) || old.outerHTML === now.outerHTML) continue;
      const placed = document.importNode(now, true);
      const box = old.querySelector("input[type=checkbox][form]");
      if (box) placed.querySelector("input[type=checkbox][form]")?.toggleAttribute("checked", box.checked);
      old.replaceWith(placed);
      window.htmx.process(placed);
    }
    return true;
  };

  // Ages grow under the reader's eyes, by the time passed since they came: the clocks of two machines may differ.
  const came = new WeakMap();
  const ages = new Intl.RelativeTimeFormat(document.documentElement.lang);
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const grow = () => {
    for (const age of document.querySelectorAll("time[data-age]")) {
      if (!came.has(age)) came.set(age, performance.now());
      const seconds = Number(age.dataset.age) + Math.floor((performance.now() - came.get(age)) / 1000);
      if (seconds < JUST_NOW) continue;
      const [unit, length] = UNITS.find((entry) => seconds >= entry[1]);
      const text = ages.format(-Math.floor(seconds / length), unit);
      if (age.textContent !== text) age.textContent = text;
    }
  };
  setInterval(grow, GROW);
  grow();

  const clock = (moment) => moment.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

  const showLost = () => {
    if (!offline) return;
    offline.textContent = `${offline.dataset.lost} ${clock(lost)}`;
    offline.hidden = false;
    poll ??= setInterval(async () => {
      const fresh = await refresh();
      if (!poll) return; // the line came back meanwhile
      if (fresh) {
        lost = new Date();
        offline.textContent = `${offline.dataset.polling} ${clock(lost)}`;
      } else if (ended) {
        clearInterval(poll);
        offline.textContent = offline.dataset.ended;
      }
    }, POLL);
  };

  document.addEventListener("htmx:wsOpen", (event) => {
    socket = event.detail.socketWrapper;
    clearTimeout(patience);
    clearInterval(poll);
    patience = poll = lost = null;
    if (offline) offline.hidden = true;
    watch();
    if (opened) refresh();
    opened = true;
  });

  document.addEventListener("htmx:wsClose", () => {
    socket = null;
    lost ??= new Date();
    patience ??= setTimeout(showLost, PATIENCE);
  });

  document.addEventListener("htmx:load", watch);

  // A part that is replaced keeps its open menu, and the focus stays on the same control. A click on a control that is replaced
  // between press and release reaches neither the old one nor the new one: the new one takes it, if the pointer is still over it.
  const alike = (control) => {
    const name = control.dataset.verb ? "data-verb" : "href";
    const value = control.getAttribute(name);
    return value ? `[${name}="${CSS.escape(value)}"]` : "details[data-menu] > summary";
  };
  let focused = null;
  let pressed = null;
  let missed = null;
  document.addEventListener("pointerdown", (event) => {
    const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey);
    pressed = isPlain ? event.target.closest("details[data-menu]:not([open]) > summary, [data-verb], a[href]") : null;
    missed = null;
  });
  document.addEventListener("pointerup", (event) => {
    const under = missed && document.elementFromPoint(event.clientX, event.clientY);
    const control = under && document.querySelector(missed);
    pressed = missed = null;
    if (!control?.contains(under) || control.matches("[aria-disabled]")) return;
    setTimeout(() => (control.matches("summary") ? (control.parentElement.open = true) : control.click()));
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (pressed && target.contains(pressed)) missed = `#${CSS.escape(target.id)} ${alike(pressed)}`;
    const active = document.activeElement;
    focused = target.contains(active) ? alike(active) : null;
    if (!target.querySelector("details[data-menu][open]")) return;
    for (const menu of fragment.querySelectorAll("details[data-menu]")) menu.open = true;
  });
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    const id = event.detail.target.id;
    if (focused && id) document.getElementById(id)?.querySelector(focused)?.focus();
    focused = null;
  });

  // A list that follows another part (a machine's events, its head) is taken anew when that was replaced, but not at each
  // step of a job: once in a while, and once more at the end.
  let follow = null;
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    const followers = `[data-follow="${CSS.escape(event.detail.target.id)}"]`;
    if (!event.detail.target.id || !document.querySelector(followers)) return;
    follow ??= setTimeout(() => {
      follow = null;
      refresh(followers);
    }, FOLLOW);
  });

  // The bar over a table acts on the rows that are ticked: it says how many, and acts on none.
  const bulk = document.querySelector("[data-bulk]");
  if (bulk) {
    const ticks = () => [...document.querySelectorAll(`input[type=checkbox][form="${bulk.id}"]`)];
    const every = bulk.querySelector("[data-select-all]");
    const all = every.textContent;
    const tell = () => {
      const boxes = ticks();
      const count = boxes.filter((box) => box.checked).length;
      bulk.querySelector("[data-count]").textContent = count || "";
      bulk.querySelector("[data-count-label]").hidden = count === 0;
      every.textContent = count && count === boxes.length ? every.dataset.none : all;
      for (const button of bulk.querySelectorAll("button")) button.disabled = count === 0;
    };
    every.addEventListener("click", (event) => {
      event.preventDefault();
      const boxes = ticks();
      const want = !boxes.every((box) => box.checked);
      for (const box of boxes) box.checked = want;
      tell();
    });
    document.addEventListener("change", (event) => {
      if (event.target.matches(`[form="${bulk.id}"]`)) tell();
    });
    // A row that is replaced stays ticked, or not, as its reader left it.
    document.addEventListener("htmx:oobBeforeSwap", (event) => {
      const box = event.detail.target.querySelector?.(`[form="${bulk.id}"]`);
      const fresh = box && event.detail.fragment.querySelector(`[form="${bulk.id}"]`);
      if (fresh) fresh.toggleAttribute("checked", box.checked);
    });
    document.addEventListener("htmx:oobAfterSwap", tell);
    window.addEventListener("pageshow", tell);
    tell();
  }

  // Screens that are looked at are looked at again: another fragment is the same address, which the browser asks for anew.
  let look = 0;
  setInterval(() => {
    if (document.hidden) return;
    look += 1;
    for (const screen of document.querySelectorAll("img[data-screen]")) {
      const { top, bottom } = screen.getBoundingClientRect();
      if (bottom > 0 && top < innerHeight) screen.src = `${screen.src.split("#")[0]}#${look}`;
    }
  }, SCREEN);

  // A refusal of a service comes with a place of its own on the page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status >= 400 && event.detail.xhr.getResponseHeader("HX-Retarget")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });

  // Menus close when one clicks elsewhere or presses Escape.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    // One that opens at the lower edge of the window is brought into it.
    const opening = event.target.closest("details[data-menu] > summary")?.parentElement;
    if (opening) requestAnimationFrame(() => opening.querySelector(".menu-sheet")?.scrollIntoView({ block: "nearest" }));
  });
  // So does a menu of which something was chosen.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const menu = event.target.closest("form") && event.target.closest("details[data-menu]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    if (location.hash === "#navigation") location.hash = "#content";
  });

  // A form that is being sent is not sent again by an impatient second click.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent && !form.hasAttribute("hx-post")) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    const button = event.submitter;
    if (button) button.classList.add("btn-loading");
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll(".btn-loading")) button.classList.remove("btn-loading");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    delete event.target.dataset.sent;
    for (const button of event.target.querySelectorAll?.(".btn-loading") ?? []) button.classList.remove("btn-loading");
  });
})();
