"use strict";

const $ = (id) => document.getElementById(id);
const about = {
  light: "soft light and shade",
  hue: "all hues turned",
  private_basis: "all hues turned, in a secret basis",
  tone: "a tone curve",
  tint: "a tint",
  hue_limited: "hues turned by a few degrees",
};
let state = { names: [], marks: {}, job: null };
let shown = 0;
let wanted = null;

async function post(step, body) {
  const options = { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body) };
  const answer = await fetch(step, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function say(error, lines, name) {
  $("job").hidden = false;
  $("job-name").textContent = name;
  $("job-error").textContent = error;
  $("job-lines").textContent = lines.join("\n");
  $("job-bar").hidden = $("stop").hidden = true;
  $("job-left").textContent = "";
  $("job-link").hidden = true;
  $("close").hidden = false;
}

async function attempt(name, work) {
  try {
    await work();
  } catch (error) {
    say(error.message, [], name);
  }
}

function chosenMark() {
  const strength = $("strength");
  return { mark: $("mark").value, strength: strength.disabled ? null : Number(strength.value) };
}

function setMark() {
  const limits = state.marks[$("mark").value];
  const strength = $("strength");
  strength.disabled = !limits;
  if (limits) {
    const [usual, most] = limits;
    strength.max = most;
    // A power of ten, so that the usual strength is among the steps.
    const digits = Math.ceil(-Math.log10(most / 50));
    strength.min = strength.step = (10 ** -digits).toFixed(Math.max(0, digits));
    strength.value = usual;
  }
  showMarked();
}

// One picture is asked for at a time, and then the newest.
function showMarked() {
  const { mark, strength } = chosenMark();
  $("strength-value").textContent = strength === null ? "none" : strength;
  if (!state.names.length) return;
  const query = new URLSearchParams({ mark });
  if (strength !== null) query.set("strength", strength);
  const isIdle = wanted === null;
  wanted = `photo/${shown}.jpg?${query}`;
  if (isIdle) $("after").src = wanted;
}

function pictureCame() {
  if (wanted && !$("after").src.endsWith(wanted)) $("after").src = wanted;
  else wanted = null;
}

function showPhoto(number) {
  const count = state.names.length;
  for (const id of ["compare", "browse", "hint"]) $(id).hidden = !count;
  if (!count) return;
  shown = (number + count) % count;
  $("before").src = `photo/${shown}.jpg?of=${encodeURIComponent(state.folder)}`;
  $("name").textContent = `${state.names[shown]} (${shown + 1} of ${count})`;
  showMarked();
}

async function refresh() {
  state = await (await fetch("state")).json();
  const job = state.job;
  const isRunning = job !== null && job.code === null;
  for (const button of document.querySelectorAll("form > button")) button.disabled = isRunning;
  if (isRunning) {
    say("", [], job.name);
    $("job-bar").hidden = $("stop").hidden = false;
    $("close").hidden = true;
    if (job.total) $("job-bar").value = job.done / job.total;
    else $("job-bar").removeAttribute("value");
    const of = job.total ? `${job.done} of ${job.total}` : "";
    $("job-left").textContent = job.left ? `${of}, ${job.left} left` : of;
    setTimeout(() => attempt(job.name, refresh), 400);
  } else if (job !== null) {
    say(job.error, job.lines, job.error ? job.name : `${job.name}: done`);
    $("job-link").hidden = !job.link;
    if (job.link) $("job-link").firstElementChild.href = job.link;
  }
}

async function start(step, body) {
  await post(step, body);
  await refresh();
}

async function opened(lines) {
  $("open-lines").textContent = lines.join("\n");
  $("job").hidden = true;
  state = await (await fetch("state")).json();
  const base = state.folder.replace(/[/\\]+$/, "");
  const isDropped = lines.some((line) => line.includes("temporary folder"));
  if (!$("out").value && !isDropped) $("out").value = `${base}-marked`;
  if (!$("key").value && !isDropped) $("key").value = `${base}.key`;
  wanted = null;
  showPhoto(0);
}

function values(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || (field.type === "radio" && !field.checked)) continue;
    found[field.name] = field.type === "checkbox" ? field.checked : field.value;
  }
  return found;
}

function onSubmit(id, name, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(name, () => work(values(event.target)));
  });
}

// Dropped photos

async function filesOf(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((yes, no) => entry.file(yes, no));
    found.push([entry.fullPath.slice(1), file]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((yes, no) => reader.readEntries(yes, no));
    if (!part.length) return;
    for (const inner of part) await filesOf(inner, found);
  }
}

async function upload(pairs) {
  // The folder that was dropped is the folder of originals, as if it had been typed.
  const tops = new Set(pairs.map(([path]) => path.split("/")[0]));
  const isOneFolder = tops.size === 1 && pairs.every(([path]) => path.includes("/"));
  await post("begin_drop", {});
  let done = 0;
  for (const [path, file] of pairs) {
    const name = isOneFolder ? path.slice(path.indexOf("/") + 1) : path;
    await post(`drop?${new URLSearchParams({ name, modified: file.lastModified })}`, file);
    $("open-lines").textContent = `copied ${++done} of ${pairs.length}`;
  }
  await opened((await post("end_drop", {})).lines);
}

function pairsOf(files) {
  return [...files].map((file) => [file.webkitRelativePath || file.name, file]);
}

function prepareDrop() {
  const zone = $("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", name === "dragover");
    });
  }
  document.addEventListener("drop", (event) => attempt("drop", async () => {
    const found = [];
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
    for (const entry of entries) if (entry) await filesOf(entry, found);
    if (found.length) await upload(found);
  }));
  for (const id of ["tree", "files"]) {
    $(id).addEventListener("change", (event) => attempt("drop", async () => {
      if (event.target.files.length) await upload(pairsOf(event.target.files));
      event.target.value = "";
    }));
  }
}

// What is where

onSubmit("open", "open", async (given) => opened((await post("open", given)).lines));
onSubmit("preview", "preview", () => start("preview", chosenMark()));
onSubmit("commit", "commit", (given) => start("commit", { ...given, ...chosenMark() }));
onSubmit("mark-form", "mark", (given) =>
  start("mark", { ...given, key: $("key").value, out: $("out").value }));
onSubmit("verdict", "verdict", (given) => start("verdict", given));
$("new-key").addEventListener("click", () => attempt("key", async () => {
  say("", (await post("key", { key: $("key").value })).lines, "key");
}));
$("mark").addEventListener("change", setMark);
$("strength").addEventListener("input", showMarked);
$("previous").addEventListener("click", () => showPhoto(shown - 1));
$("next").addEventListener("click", () => showPhoto(shown + 1));
$("stop").addEventListener("click", () => attempt("stop", () => post("stop", {})));
$("close").addEventListener("click", () => { $("job").hidden = true; });
for (const id of ["before", "after"]) {
  $(id).addEventListener("error", () => {
    $("name").textContent = `${state.names[shown]} cannot be shown: the contact sheet says why`;
  });
}
$("after").addEventListener("load", pictureCame);
$("after").addEventListener("error", pictureCame);
prepareDrop();
attempt("anw", async () => {
  await refresh();
  for (const name of Object.keys(state.marks)) {
    $("mark").append(new Option(about[name] ? `${name}: ${about[name]}` : name, name));
  }
  $("mark").value = state.mark;
  setMark();
  showPhoto(0);
});
