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
    // htmx makes a link its own a moment after it has put it there; until then it would leave the page.
    htmx.process(link);
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

// Picks: keys on the tiles of a gallery. The selection is the focused tile, or a range made with Shift.
let anchor = null;
const tiles = () => [...document.querySelectorAll("#gallery .shot > a")];

function selection() {
  const chosen = [...document.querySelectorAll("#gallery .shot.chosen > a")];
  const focused = document.activeElement?.closest?.("#gallery .shot > a");
  return chosen.length ? chosen : focused ? [focused] : [];
}

function choose(from, to, all) {
  const [first, last] = [all.indexOf(from), all.indexOf(to)].sort((one, other) => one - other);
  all.forEach((tile, at) => tile.parentElement.classList.toggle("chosen", first !== last && first <= at && at <= last));
}

function move(key, extend) {
  const all = tiles();
  const here = all.indexOf(document.activeElement);
  const across = all.filter((tile) => tile.offsetParent && tile.getBoundingClientRect().top === all[0].getBoundingClientRect().top).length || 1;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  const next = all[here + step];
  if (!next) return;
  anchor = extend ? anchor || all[here] : null;
  choose(extend ? anchor : next, next, all);
  next.focus();
}

function mark(change) {
  const picked = selection();
  const bar = document.getElementById("picks");
  if (!picked.length || !bar) return;
  for (const { parentElement: tile } of picked) {
    if ("kept" in change) {
      if (change.kept === "undecided") delete tile.dataset.kept;
      else tile.dataset.kept = change.kept;
    }
    if (change.stars > 0) tile.dataset.stars = change.stars;
    else if ("stars" in change) delete tile.dataset.stars;
  }
  const positions = picked.map((tile) => tile.dataset.position).join(",");
  htmx.ajax("POST", bar.dataset.url, { target: "#picks", swap: "innerHTML", values: { ...change, positions, token: bar.dataset.token } });
  if ("kept" in change && picked.length === 1) move("ArrowRight", false);
}

function compare() {
  const dialog = document.getElementById("compare");
  const images = selection().filter((tile) => tile.dataset.full).slice(0, 4).map((tile) => {
    const image = new Image();
    image.src = tile.dataset.full;
    image.alt = tile.querySelector(".name").textContent;
    const pane = document.createElement("div");
    pane.append(image);
    return pane;
  });
  if (images.length < 2) return;
  dialog.querySelector(".compared").replaceChildren(...images);
  dialog.querySelector("[data-zoom]").value = 1;
  dialog.showModal();
}

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-zoom]")) return;
  document.querySelectorAll(".compared img").forEach((image) => { image.style.width = `${event.target.value * 100}%`; });
});
document.addEventListener("scroll", (event) => {
  const pane = event.target;
  if (!pane.parentElement?.matches?.(".compared")) return;
  for (const other of pane.parentElement.children) other.scrollTo(pane.scrollLeft, pane.scrollTop);
}, true);
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-end]")) document.getElementById("compare").close();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !document.activeElement?.matches?.("#gallery .shot > a")) return;
  const { key } = event;
  if (key.startsWith("Arrow")) move(key, event.shiftKey);
  else if (key === "k") mark({ kept: "yes" });
  else if (key === "j") mark({ kept: "no" });
  else if (key === "u") mark({ kept: "undecided" });
  else if (/^[0-5]$/.test(key)) mark({ stars: Number(key) });
  else if (key === "c") compare();
  else return;
  event.preventDefault();
});
