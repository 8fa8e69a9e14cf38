// What pages do beyond links, forms and htmx. Everything works without it, but for the keys and the viewer.
"use strict";

const viewer = () => document.getElementById("viewer");
const isTyping = (element) => element.matches("input, textarea, select, [contenteditable]");

// Polls rest while nobody looks, and while somebody uses what they would replace.
document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.detail.elt;
  if (!(part.getAttribute("hx-trigger") || "").startsWith("every")) return;
  const used = part.querySelector("details[open]") || part.contains(document.activeElement) && isTyping(document.activeElement);
  if (document.hidden || used) event.preventDefault();
});

// Galleries: what comes into view is loaded; what changed is renewed where it is seen.
const seen = new Set();
const stale = new WeakSet();
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (target.matches(".more")) {
      if (isIntersecting) htmx.trigger(target, "reach");
    } else if (isIntersecting) {
      seen.add(target);
      if (stale.delete(target)) htmx.trigger(target, "renew");
    } else seen.delete(target);
  }
}, { rootMargin: "800px" });

function watchGallery() {
  for (const part of seen) if (!part.isConnected) seen.delete(part);
  document.querySelectorAll("#gallery .shots, #gallery .more").forEach((part) => watch.observe(part));
}

document.addEventListener("shots-changed", () => {
  document.querySelectorAll("#gallery .shots[data-open]").forEach((part) => {
    if (seen.has(part)) htmx.trigger(part, "renew");
    else stale.add(part);
  });
});

// The viewer: a dialog over the gallery.
document.addEventListener("htmx:afterSwap", (event) => {
  watchGallery();
  if (event.detail.target.id !== "viewer-body" || !viewer()) return;
  if (!viewer().open) viewer().showModal();
  viewer().querySelector("h2")?.focus();
});

document.addEventListener("click", (event) => {
  const { target } = event;
  if (target.closest("[data-close]") || target === viewer()) {
    if (viewer()) viewer().close();
    else history.back();
  }
  const copy = target.closest("[data-copy]");
  if (copy) {
    const text = document.getElementById(copy.dataset.copy);
    text.select();
    navigator.clipboard?.writeText(text.value);
    copy.textContent = "Copied";
  }
  const place = target.closest("[data-line]");
  if (place) goTo(document.getElementById("manifest"), Number(place.dataset.line), Number(place.dataset.column));
});

function goTo(text, line, column) {
  const before = text.value.split("\n").slice(0, line - 1);
  const start = before.reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
  text.focus();
  text.setSelectionRange(start, start + 1);
  text.scrollTop = (line - 4) * parseFloat(getComputedStyle(text).lineHeight);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const link = document.querySelector(`.viewer [data-key="${CSS.escape(event.key)}"]`);
  if (link && (!viewer() || viewer().open)) {
    event.preventDefault();
    link.click();
  }
});

// Fields of the form are asked for their plan by htmx; its buttons send it as forms do, once.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-submit]")) return;
  event.submitter?.setAttribute("aria-busy", "true");
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("[data-sent]").forEach((form) => delete form.dataset.sent);
});

// Menus close by Escape, and when another place is clicked.
const openMenus = () => document.querySelectorAll("details.menu[open]");
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  openMenus().forEach((menu) => {
    menu.open = false;
    menu.querySelector("summary").focus();
  });
});
document.addEventListener("click", (event) => {
  openMenus().forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});

watchGallery();
