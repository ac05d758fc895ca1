// Uploads of disk images: several files at once, each in parts, going on where they were after a reload or a lost connection.
const form = document.getElementById("upload");
const uploads = document.getElementById("uploads");
const chunkBytes = Number(form.dataset.chunk);
const words = form.dataset;
const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
const LANES = 2;
const PAUSE = 2000;
const LOOK = 2000;
const LOST = "upload_lost"; // to try again does not help
const SUM = /\b[0-9a-f]{64}\b/i;
const active = new Set();
const queue = [];
let running = 0;

const ask = (method, address, body, type) =>
  fetch(address, { method, body, headers: { "X-CSRFToken": token, "Content-Type": type, Accept: "application/json" } });

const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const answered = async (answer) => {
  try {
    return await answer.json();
  } catch {
    return { detail: String(answer.status) };
  }
};

// What an error says for the person who waits: the portal's own sentence, not that of a proxy before it.
const failure = (body) => Object.assign(new Error(body.detail), { told: body.code ? body.detail : "" });
const mayPass = (answer) => answer.status === 408 || answer.status === 409 || answer.status >= 500;

const remove = (uid) => ask("DELETE", `/api/v1/images/${uid}/`, undefined, "application/json").catch(() => null);

// Which file an upload was begun with, so that another of the same name and size does not go on with it. What another
// browser began has no mark here: there name and size must do.
const mark = (file) => `${file.name}/${file.size}/${file.lastModified}`;
const isOfAnother = (uid, file) => {
  const kept = localStorage[`upload:${uid}`];
  return kept !== undefined && kept !== mark(file);
};

// For whom the next files are, as it was chosen last.
const places = document.getElementById("data_center");
const nameOf = (place) => [...places.options].find((option) => option.value === (place ?? ""))?.text ?? "";
if ([...places.options].some((option) => option.value === localStorage["upload-place"])) places.value = localStorage["upload-place"];
places.addEventListener("change", () => (localStorage["upload-place"] = places.value));

// The checksum that was given for a file: of the line that names it, or the only one for the only file.
const sums = document.getElementById("sha256");
const sumFor = (file, isAlone) => {
  const lines = sums.value.split("\n").filter((line) => line.trim());
  const names = (line) => [line.replace(SUM, "").replace(/^[\s*]+/, "").trim(), /\((.+)\)/.exec(line)?.[1]];
  const line = lines.find((one) => names(one).includes(file.name)) ?? (isAlone && lines.length === 1 ? lines[0] : "");
  const missing = SUM.test(sums.value) ? words.sum : words.noSum;
  return { missing: lines.length > 0 && !SUM.test(line) ? missing : "", sha256: (SUM.exec(line)?.[0] ?? "").toLowerCase() };
};

// As the portal makes names of files: Greek in Latin letters, accents left out.
const LATIN = JSON.parse(words.latin);
const GREEK = new RegExp(Object.keys(LATIN).join("|"), "g");
const latin = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").replace(GREEK, (letter) => LATIN[letter]);
const nameFor = (file) => latin(file.name).replace(/[^A-Za-z0-9_.+ -]/g, "_").slice(0, 64).trim() || "image";

const formatOf = async (file) => {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  return String.fromCharCode(...head) === "QFI\u00fb" ? "qcow2" : "raw";
};

class Upload {
  constructor(file, place, sum) {
    this.file = file;
    this.place = place;
    this.sum = sum;
    this.offset = 0;
    this.isCancelled = false;
    this.isAtWork = false;
    this.state = "waiting";
    this.draw();
  }

  draw() {
    this.row = document.createElement("li");
    this.row.className = "list-group-item upload";
    this.name = Object.assign(document.createElement("span"), { className: "upload-name", textContent: this.file.name });
    this.note = Object.assign(document.createElement("span"), { className: "upload-note text-secondary" });
    this.bar = Object.assign(document.createElement("progress"), { max: this.file.size || 1, value: 0 });
    this.bar.setAttribute("aria-label", this.file.name);
    this.text = Object.assign(document.createElement("span"), { className: "upload-text text-secondary" });
    this.switch = this.button(words.pause, () => (this.state === "paused" ? this.goOn() : this.pause()));
    this.stop = this.button(words.cancel, () => this.cancel());
    this.row.append(this.name, this.note, this.bar, this.text, this.switch, this.stop);
    uploads.append(this.row);
    uploads.hidden = false;
    this.show(words.waiting);
  }

  button(label, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-sm", textContent: label });
    made.setAttribute("aria-label", `${label}: ${this.file.name}`);
    made.addEventListener("click", act);
    return made;
  }

  show(text) {
    this.bar.value = this.offset;
    this.text.textContent = text ?? `${Math.floor((100 * this.offset) / this.file.size)} %`;
    const label = this.state === "paused" ? words.resume : words.pause;
    this.switch.textContent = label;
    this.switch.setAttribute("aria-label", `${label}: ${this.file.name}`);
  }

  pause() {
    this.state = "paused";
    this.show(words.paused);
  }

  goOn() {
    if (this.isAtWork) {
      // What was under way when it was paused is under way still, and goes on by itself: two would send each part twice.
      this.state = "running";
      this.show();
      return;
    }
    this.state = "waiting";
    this.show(words.waiting);
    queue.push(this);
    next();
  }

  end(text, failed) {
    this.state = failed ? "failed" : "done";
    if (this.uid) localStorage.removeItem(`upload:${this.uid}`);
    active.delete(this.uid);
    this.show(text);
    this.row.classList.toggle("upload-failed", Boolean(failed));
    this.switch.remove();
    if (failed) this.stop.remove();
    else this.row.remove();
    uploads.hidden = !uploads.children.length;
    look();
  }

  async cancel() {
    this.isCancelled = true;
    this.state = "cancelled";
    if (this.uid) await remove(this.uid);
    this.end("", false);
  }

  async begin() {
    if (this.sum.missing) {
      this.end(this.sum.missing, true);
      return false;
    }
    const begun = await this.begun();
    if (this.isCancelled) return false;
    if (begun) return this.resume(begun);
    const wish = { name: nameFor(this.file), format: await formatOf(this.file), size_bytes: this.file.size, data_center: this.place || null, sha256: this.sum.sha256 };
    const answer = await ask("POST", "/api/v1/images/", JSON.stringify(wish), "application/json");
    const body = await answered(answer);
    if (this.isCancelled) {
      // It began all the same: nobody goes on with it.
      if (answer.ok) await remove(body.id);
      look();
      return false;
    }
    if (!answer.ok) {
      this.end(body.reasons?.map((reason) => reason.text).join(" ") || body.detail, true);
      return false;
    }
    this.uid = body.id;
    active.add(this.uid);
    localStorage[`upload:${this.uid}`] = mark(this.file);
    return true;
  }

  // What this person began with this file and did not finish, for whatever place, in whatever browser.
  async begun() {
    const asked = new URLSearchParams({ status: "uploading", name: nameFor(this.file), page_size: 200 });
    const answer = await fetch(`/api/v1/images/?${asked}`);
    if (!answer.ok) throw new Error(String(answer.status));
    const rows = (await answer.json()).results.filter((row) => row.uploader === words.user && row.size_bytes === this.file.size);
    const fit = rows.filter((row) => !isOfAnother(row.id, this.file) && (!this.sum.sha256 || row.sha256 === this.sum.sha256));
    return fit.find((row) => localStorage[`upload:${row.id}`]) ?? fit.find((row) => (row.data_center ?? "") === this.place) ?? fit[0];
  }

  resume(row) {
    if (active.has(row.id)) {
      this.end(words.already, true);
      return false;
    }
    this.uid = row.id;
    this.offset = row.received_bytes;
    this.note.textContent = words.goesOn.replace("{place}", nameOf(row.data_center));
    active.add(row.id);
    localStorage[`upload:${row.id}`] = mark(this.file);
    return true;
  }

  async run() {
    this.state = "running";
    this.isAtWork = true;
    try {
      while (this.state === "running" && !(await this.tried()));
    } finally {
      this.isAtWork = false;
    }
  }

  // One try to go on. True when there is nothing more to do.
  async tried() {
    try {
      return (!this.uid && !(await this.begin())) || (await this.send());
    } catch (error) {
      if (this.state === "running") {
        this.show(error.told || words.lost);
        await rest(PAUSE);
      }
      return false;
    }
  }

  // One part. True when there is nothing more to send.
  async send() {
    this.show();
    const part = this.file.slice(this.offset, this.offset + chunkBytes);
    const answer = await ask("PUT", `/api/v1/images/${this.uid}/content/?offset=${this.offset}`, part, "application/octet-stream");
    const body = await answered(answer);
    if (this.isCancelled) return true;
    if (answer.ok) this.offset = body.received_bytes;
    else if (answer.status === 409 && Number.isInteger(body.offset)) this.offset = body.offset;
    else if (mayPass(answer) && !body.reasons?.some((reason) => reason.code === LOST)) throw failure(body);
    else {
      this.end(body.detail, true);
      return true;
    }
    if (this.offset < this.file.size) return false;
    this.end(words.done, false);
    return true;
  }
}

const next = () => {
  while (running < LANES && queue.length) {
    const upload = queue.shift();
    if (upload.state !== "waiting") continue;
    running += 1;
    upload.run().finally(() => {
      running -= 1;
      next();
    });
  }
};

// The list as it is now; what this page itself is sending is shown above it, and only there.
const look = async () => {
  try {
    const answer = await fetch(location.href, { headers: { "X-Live-Refresh": "1" }, redirect: "manual" });
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("images-list");
      const old = document.getElementById("images-list");
      const isRead = old.contains(document.activeElement) || old.querySelector("details[open]");
      if (fresh && !isRead && old.outerHTML !== fresh.outerHTML) old.replaceWith(document.importNode(fresh, true));
    }
  } catch {
    // The bar above tells that the connection is lost.
  }
  for (const row of document.querySelectorAll("[data-image]")) row.hidden = active.has(row.dataset.image);
};
setInterval(() => {
  if (active.size || document.querySelector("[data-moving]")) look();
}, LOOK);

document.getElementById("files").addEventListener("change", (event) => {
  const { files } = event.target;
  // What failed of these before is over now.
  const names = new Set([...files].map((file) => file.name));
  for (const row of uploads.querySelectorAll(".upload-failed")) {
    if (names.has(row.querySelector(".upload-name").textContent)) row.remove();
  }
  for (const file of files) queue.push(new Upload(file, places.value, sumFor(file, files.length === 1)));
  event.target.value = "";
  if (!queue.some((upload) => upload.sum.missing)) sums.value = "";
  next();
});

window.addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});
