"use strict";
(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const byId = (id) => document.getElementById(id);
  const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const remember = (key, value) => {
    if (value === "" || value === null) state.delete(key); else state.set(key, value);
    history.replaceState(null, "", state.size ? "#" + state : location.pathname + location.search);
  };

  // hover values
  const tip = byId("tip");
  all(".point title").forEach((title) => title.remove());
  document.addEventListener("pointermove", (event) => {
    const point = event.target.closest ? event.target.closest(".point") : null;
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = point.dataset.tip;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + "px";
  });

  // filters
  const boxes = all("input[data-filter]");
  function filter() {
    const off = { method: new Set(), codec: new Set(), dataset: new Set() };
    boxes.filter((box) => !box.checked).forEach((box) => off[box.dataset.filter].add(box.value));
    all("[data-method], [data-codec], [data-dataset]").forEach((node) => {
      const hide = Object.keys(off).some((key) => off[key].has(node.dataset[key]));
      node.classList.toggle("off", hide);
    });
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

  // copies
  all("button[data-copy]").forEach((button) => button.addEventListener("click", () => {
    const area = byId(button.dataset.copy);
    const done = (ok) => { byId("copied").textContent = ok ? "copied" : "select the text and copy it"; area.hidden = ok; };
    const byHand = () => { area.hidden = false; area.select(); done(document.execCommand("copy")); };
    if (navigator.clipboard) navigator.clipboard.writeText(area.value).then(() => done(true), byHand); else byHand();
  }));

  // frame viewer
  const viewer = byId("viewer");
  if (viewer) {
    const cases = all(".case");
    const pick = { case: byId("case"), left: byId("left"), right: byId("right") };
    const at = byId("at"), under = byId("under"), over = byId("over"), divider = byId("divider");
    const figures = () => all("figure", cases[pick.case.value || 0]);
    const figure = (key) => figures().find((f) => f.dataset.layer === key);
    function fill() {
      for (const side of ["left", "right"]) {
        const before = pick[side].value;
        pick[side].replaceChildren(...figures().map((f) => new Option(f.querySelector("img").alt, f.dataset.layer)));
        if (figure(before)) pick[side].value = before;
      }
    }
    function show() {
      const left = figure(pick.left.value), right = figure(pick.right.value);
      const source = (f) => f.querySelector("img");
      over.src = source(left).src; over.alt = source(left).alt;
      under.src = source(right).src; under.alt = source(right).alt;
      for (const [image, side] of [[over, left], [under, right]]) image.className = /^(truth|[pe]\d+)$/.test(side.dataset.layer) ? "flat" : "";
      over.style.clipPath = "inset(0 " + (100 - at.value) + "% 0 0)";
      divider.style.left = at.value + "%";
      const notes = [left, right].map((f) => f.querySelector("figcaption").innerText.replace("\n", ": "));
      byId("facts").textContent = cases[pick.case.value].dataset.facts + " | left: " + notes[0] + " | right: " + notes[1];
    }
    function changed() {
      show();
      for (const key of ["case", "left", "right"]) remember(key, pick[key].value);
      remember("at", at.value);
    }
    pick.case.value = state.get("case") || "0";
    if (pick.case.selectedIndex < 0) pick.case.value = "0";
    fill();
    const last = figures().filter((f) => f.dataset.layer.startsWith("p")).pop();
    pick.left.value = figure(state.get("left")) ? state.get("left") : "truth";
    pick.right.value = figure(state.get("right")) ? state.get("right") : (last || figures()[0]).dataset.layer;
    if (state.has("at")) at.value = state.get("at");
    pick.case.addEventListener("change", () => { fill(); changed(); });
    pick.left.addEventListener("change", changed);
    pick.right.addEventListener("change", changed);
    at.addEventListener("input", changed);
    const stage = document.querySelector(".stage");
    const drag = (event) => {
      if (event.type === "pointermove" && event.buttons !== 1) return;
      const box = stage.getBoundingClientRect();
      at.value = Math.round(100 * (event.clientX - box.left) / box.width);
      changed();
    };
    stage.addEventListener("pointerdown", drag);
    stage.addEventListener("pointermove", drag);
    viewer.hidden = false;
    show();
  }

  const sorted = /^(\d+)([ad])$/.exec(state.get("sort") || "");
  if (sorted) sort(Number(sorted[1]), sorted[2] === "a" ? "ascending" : "descending");
  if (boxes.some((box) => !box.checked)) filter();
})();
