"use strict";
(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const byId = (id) => document.getElementById(id);
  const read = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  let state = read();
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) state = read(); });
  const remember = (key, value) => {
    if (value === "" || value === null) state.delete(key); else state.set(key, value);
    history.replaceState(null, "", state.size ? "#" + state : location.pathname + location.search);
  };

  window.vssbench = { state: () => state, remember, series: JSON.parse(byId("series").textContent) };

  // hover values
  const tip = byId("tip");
  all(".point title").forEach((title) => title.remove());
  document.addEventListener("pointermove", (event) => {
    const point = event.target.closest ? event.target.closest("[data-tip]") : null;
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.dataset.tip;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + "px";
  });

  // methods explain themselves
  const told = new Map(all("#glossary dt").map((name) => [name.textContent, name.nextElementSibling.textContent]));
  all(".legend li[data-method], tr[data-method] > th, .series[data-method] .name").forEach((place) => {
    const text = told.get(place.closest("[data-method]").dataset.method);
    if (text) place.dataset.tip = text;
  });

  // paper shows what is folded on the screen
  const folded = () => all("details:not([open])");
  let opened = [];
  window.addEventListener("beforeprint", () => { opened = folded(); opened.forEach((part) => { part.open = true; }); });
  window.addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));

  // filters
  const boxes = all("input[data-filter]");
  const rates = [byId("kbps-from"), byId("kbps-to")];
  rates.forEach((box, i) => {
    if (!box) return;
    const wanted = (state.get("kbps") || "").split("-")[i];
    if (/^\d+(\.\d+)?$/.test(wanted || "")) box.value = wanted;
    box.addEventListener("input", filter);
  });
  function filter() {
    const off = { method: new Set(), codec: new Set(), dataset: new Set() };
    boxes.filter((box) => !box.checked).forEach((box) => off[box.dataset.filter].add(box.value));
    const [low, high] = rates.map((box) => (box && box.value !== "" ? Number(box.value) : NaN));
    all("[data-method], [data-codec], [data-dataset]").forEach((node) => {
      const rate = parseFloat(node.dataset.kbps);
      const hide = Object.keys(off).some((key) => off[key].has(node.dataset[key])) || rate < low || rate > high;
      node.classList.toggle("off", hide);
    });
    remember("kbps", rates.some((box) => box && box.value !== "") ? rates.map((box) => box.value).join("-") : "");
    Object.keys(off).forEach((key) => remember("no-" + key, [...off[key]].map(encodeURIComponent).join(",")));
  }
  boxes.forEach((box) => {
    const hidden = (state.get("no-" + box.dataset.filter) || "").split(",").filter(Boolean).map(decodeURIComponent);
    if (hidden.includes(box.value)) box.checked = false;
    box.addEventListener("change", filter);
  });

  // sorting: rows of all sections together, missing values last
  const table = document.querySelector("table.sortable");
  const heads = all("thead th", table);
  const bodies = all("tbody", table);
  const original = bodies.map((body) => all("tr", body));
  const number = (cell) => { const value = parseFloat(cell.dataset.value); return Number.isNaN(value) ? null : value; };
  function sort(index, direction) {
    const head = heads[index];
    if (!head) return;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const rows = original.flat().slice();
    rows.sort((a, b) => {
      if (head.dataset.sort === "text") return sign * a.cells[index].textContent.trim().localeCompare(b.cells[index].textContent.trim());
      const x = number(a.cells[index]), y = number(b.cells[index]);
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (x - y);
    });
    bodies[0].append(...rows);
    byId("unsort").hidden = false;
    remember("sort", index + (sign > 0 ? "a" : "d"));
  }
  heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
    const first = head.dataset.better === "higher" ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    sort(index, head.getAttribute("aria-sort") === first ? second : first);
  }));
  byId("unsort").addEventListener("click", () => {
    bodies.forEach((body, i) => body.append(...original[i]));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    byId("unsort").hidden = true;
    remember("sort", "");
  });

  // columns: groups can be hidden
  const groups = all("input[data-columns]");
  function columns() {
    groups.forEach((box) => all('[data-group="' + box.dataset.columns + '"]').forEach((cell) => cell.classList.toggle("off", !box.checked)));
    remember("show", groups.filter((box) => box.checked).map((box) => box.dataset.columns).join(","));
  }
  groups.forEach((box) => {
    if ((state.get("show") || "").split(",").includes(box.dataset.columns)) box.checked = true;
    box.addEventListener("change", columns);
  });
  if (groups.length) columns();

  // copies
  all("button[data-copy]").forEach((button) => button.addEventListener("click", () => {
    const area = byId(button.dataset.copy);
    const done = (ok) => { byId("copied").textContent = ok ? "copied" : "select the text and copy it"; area.hidden = ok; };
    const byHand = () => { area.hidden = false; area.select(); done(document.execCommand("copy")); };
    if (navigator.clipboard) navigator.clipboard.writeText(area.value).then(() => done(true), byHand); else byHand();
  }));

  const sorted = /^(\d+)([ad])$/.exec(state.get("sort") || "");
  if (sorted) sort(Number(sorted[1]), sorted[2] === "a" ? "ascending" : "descending");
  if (boxes.some((box) => !box.checked) || rates.some((box) => box && box.value !== "")) filter();
})();
