// The console page: asks for a one-time ticket, shows the machine's screen, and says in a sentence why it ended.
import RFB from "../lib/novnc/core/rfb.js";
import { strokesOf, press } from "./console-keys.js";

const RETRY = 3000;
const ANSWER = 15000;
const UNREACHED = 4502;
const AWAY = new Set([1001, 1006, 1012]); // the server or the line went: worth another try by itself

const part = (name) => document.getElementById(`console-${name}`);
const page = document.getElementById("console");
const words = part("words-said").dataset;
const endings = JSON.parse(part("endings").textContent);
let rfb = null;
let busy = false;
let retry = null;

const head = () => document.querySelector("#console-head .head");
const isPossible = () => head()?.dataset.possible === "yes";
let wasPossible = isPossible();

const cover = (text, { again = false } = {}) => {
  part("cover-text").textContent = text;
  part("again").hidden = !again;
  part("cover").hidden = false;
  part("note").textContent = "";
};

const setUsable = (usable) => {
  for (const name of ["cad", "keyboard"]) part(name).disabled = !usable;
};

const ticket = async () => {
  const answer = await fetch(page.dataset.consoles, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": page.dataset.csrf },
    body: JSON.stringify({ protocol: "vnc" }),
    signal: AbortSignal.timeout(ANSWER),
  });
  if (answer.status === 401) location.assign(`${page.dataset.login}?next=${encodeURIComponent(location.pathname)}`);
  return { ok: answer.ok, later: answer.status >= 500, body: await answer.json().catch(() => ({})) };
};

const later = (text) => {
  cover(text, { again: true });
  clearTimeout(retry);
  retry = setTimeout(open, RETRY);
};

const open = async () => {
  clearTimeout(retry);
  if (busy || rfb) return;
  if (!isPossible()) {
    cover(head()?.dataset.reason || words.lost);
    return;
  }
  busy = true;
  cover(words.opening);
  try {
    const { ok, later: isLater, body } = await ticket();
    if (ok) connect(body);
    else if (isLater) later(body.detail || words.unreached);
    else cover(body.detail || words.lost, { again: true });
  } catch {
    later(words.unreached);
  } finally {
    busy = false;
  }
};

const connect = ({ url, ticket: secret }) => {
  const socket = new WebSocket(url, ["binary", `ticket.${secret}`]);
  socket.addEventListener("close", (event) => ended(event.code, event.reason));
  rfb = new RFB(part("screen"), socket, { shared: true });
  rfb.scaleViewport = part("size").getAttribute("aria-pressed") !== "true";
  rfb.addEventListener("connect", () => {
    part("cover").hidden = true;
    part("note").textContent = words.open;
    setUsable(true);
    rfb.focus({ preventScroll: true });
  });
  rfb.addEventListener("disconnect", () => socket.close());
};

const ended = (code, reason) => {
  rfb = null;
  setUsable(false);
  if (code === 4401) location.reload(); // the log-in page comes, and leads back here
  else if (AWAY.has(code)) later(words.unreached);
  else if (isPossible()) cover(endings[reason] || (code === UNREACHED ? endings.unreachable : words.lost), { again: true });
  else cover(head()?.dataset.reason || words.lost);
};

// Status changes come as a new head. A machine that went off says so, one that comes up shows its screen.
new MutationObserver(() => {
  const came = isPossible() && !wasPossible;
  wasPossible = isPossible();
  if (rfb || busy) return;
  if (came) open();
  else if (!wasPossible) cover(head()?.dataset.reason || words.lost);
}).observe(document.getElementById("console-head"), { childList: true });

part("again").addEventListener("click", open);
part("cad").addEventListener("click", () => {
  rfb?.sendCtrlAltDel();
  rfb?.focus();
});
part("size").addEventListener("click", () => {
  const actual = part("size").getAttribute("aria-pressed") !== "true";
  part("size").setAttribute("aria-pressed", String(actual));
  part("stage").classList.toggle("console-actual", actual);
  if (rfb) rfb.scaleViewport = !actual;
});
part("full").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else part("stage").requestFullscreen?.().then(() => rfb?.focus());
});

// A text is typed key by key: a machine without a desktop has no clipboard that could take it.
part("text").addEventListener("submit", (event) => {
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!rfb) return;
  const { strokes, skipped } = strokesOf(part("words").value);
  for (const stroke of strokes) press(rfb, stroke);
  part("note").textContent = skipped ? `${words.skipped} ${skipped}` : words.open;
  part("words").value = "";
  part("type").open = false;
  rfb.focus();
});

// On a touch screen the keyboard opens for a field only; one character stands in it, so that deleting is noticed.
const keys = part("keys");
const emptied = () => {
  keys.value = "x";
  keys.setSelectionRange(1, 1);
};
part("keyboard").addEventListener("click", () => {
  emptied();
  keys.focus();
});
keys.addEventListener("beforeinput", (event) => {
  event.preventDefault();
  if (!rfb) return;
  const named = { deleteContentBackward: "\b", insertLineBreak: "\n", insertParagraph: "\n" }[event.inputType];
  for (const stroke of strokesOf(named ?? event.data ?? "").strokes) press(rfb, stroke);
  emptied();
});

open();
