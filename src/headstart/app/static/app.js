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

function onDrop(form, take) {
  for (const name of ["dragover", "dragenter"]) form.addEventListener(name, (event) => {
    event.preventDefault();
    form.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) form.addEventListener(name, () => form.classList.remove("over"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
  });
}

function takeDrops(form) {
  onDrop(form, (files) => send(form, files));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, [...form.elements.files.files]);
  });
}

async function ask(form, file) {
  const state = form.querySelector(".state");
  state.textContent = "sending ...";
  const body = new FormData();
  body.append("image", file, file.name || "image.png");
  const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
  const text = await answer.text();
  if (answer.ok) location.assign(`${location.pathname}?${new URLSearchParams({ tried: text })}`);
  else state.textContent = new DOMParser().parseFromString(text, "text/html").body.textContent.trim();
}

function takeImages(form) {
  onDrop(form, (files) => ask(form, files[0]));
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(form, form.elements.image.files[0]); });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) ask(form, file);
  });
  const camera = form.querySelector(".camera"), video = camera.querySelector("video");
  form.querySelector("[data-camera]").addEventListener("click", async () => {
    const state = form.querySelector(".state");
    if (!navigator.mediaDevices) {
      state.textContent = "This browser gives no camera to a page without HTTPS; use the local address.";
      return;
    }
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
      camera.hidden = false;
    } catch (error) { state.textContent = `No camera: ${error.message}`; }
  });
  form.querySelector("[data-shoot]").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    video.srcObject.getTracks().forEach((track) => track.stop());
    canvas.toBlob((blob) => ask(form, new File([blob], "camera.png", { type: "image/png" })), "image/png");
  });
}

function sortByKeys(list) {
  const rows = () => [...list.children];
  let here = 0;
  const show = (place) => {
    here = Math.max(0, Math.min(place, rows().length - 1));
    rows().forEach((row, number) => row.classList.toggle("here", number === here));
    rows()[here].scrollIntoView({ block: "nearest" });
  };
  list.addEventListener("keydown", (event) => {  // the field for another class
    if (event.target.name !== "other" || event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    const row = event.target.closest("li");
    htmx.ajax("POST", event.target.form.action, { target: row, swap: "outerHTML", values: { label: event.target.value } });
    show(rows().indexOf(row) + 1);
    event.target.blur();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
    if (event.key === "ArrowDown" || event.key === "ArrowRight") show(here + 1);
    else if (event.key === "ArrowUp" || event.key === "ArrowLeft") show(here - 1);
    else {
      if (event.key === "Enter" && event.target !== document.body) return;  // a button that has the focus
      const control = rows()[here].querySelector(`[data-key="${CSS.escape(event.key === "Enter" ? "1" : event.key)}"]`);
      if (!control) return;
      if (control.tagName === "INPUT") control.focus();
      else { control.click(); if (event.key !== "u") show(here + 1); }
    }
    event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", () => show(here));
  show(0);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-live]").forEach(follow);
  document.querySelectorAll("[data-drop]").forEach(takeDrops);
  document.querySelectorAll("[data-try]").forEach(takeImages);
  document.querySelectorAll("[data-sorted]").forEach(sortByKeys);
});
