// What pages need beside htmx: live parts, dropped files. Nothing here is inline, nothing is fetched elsewhere.
"use strict";

function follow(element) {
  if (element.dataset.state !== "running") return;
  const source = new EventSource(element.dataset.live);
  source.onmessage = (event) => { if (element.innerHTML !== event.data) element.innerHTML = event.data; };
  source.addEventListener("end", () => { source.close(); location.reload(); });
  window.addEventListener("pagehide", () => source.close());
}

async function send(form, files) {
  const state = form.querySelector(".state");
  const batches = [];
  for (let start = 0; start < files.length; start += 100) batches.push(files.slice(start, start + 100));
  let said = "";
  for (const [place, batch] of batches.entries()) {
    state.textContent = batches.length > 1 ? `sending ${place + 1} of ${batches.length} ...` : "sending ...";
    const body = new FormData();
    body.append("class", form.elements.class.value);
    for (const file of batch) body.append("files", file, file.name);
    const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
    const text = await answer.text();
    if (!answer.ok) {
      state.textContent = new DOMParser().parseFromString(text, "text/html").body.textContent.trim();
      return;
    }
    said = text;
  }
  location.assign(`${location.pathname}?${new URLSearchParams({ message: said })}`);
}

function takeDrops(form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, [...form.elements.files.files]);
  });
  for (const name of ["dragover", "dragenter"]) form.addEventListener(name, (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) form.addEventListener(name, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length) send(form, files);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-live]").forEach(follow);
  document.querySelectorAll("[data-drop]").forEach(takeDrops);
});
