"use strict";
(function () {
  const root = document.getElementById("viewer");
  if (!root) return;
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("frames").textContent);
  const page = window.vssbench;
  const make = (name, attributes, text) => {
    const node = document.createElementNS(/^(svg|path|line|polyline|circle|rect)$/.test(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", name);
    Object.entries(attributes || {}).forEach(([key, value]) => node.setAttribute(key, value));
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const pick = { seq: byId("seq"), left: byId("left"), right: byId("right"), worst: byId("worst"), view: byId("view"), mix: byId("mix") };
  const slider = byId("frame"), at = byId("at"), stage = byId("stage"), grid = byId("grid"), line = byId("timeline"), facts = byId("facts"), classes = byId("frame-classes"), play = byId("play");
  const panes = { left: byId("over"), right: byId("under") };
  let index = 0, timer = 0;
  const track = () => data.tracks[pick.seq.value] || data.tracks[0];
  const frame = () => track().frames[index];
  const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1) + " %");

  // layers: a base picture and what lies over it
  function layers() {
    const names = [["decoded", "decoded frame"], ["truth", data.truth_title]];
    if (track().frames.some((f) => f.motion)) names.splice(1, 0, ["motion", "motion to the keyframe"]);
    track().methods.forEach((title, k) => names.push(["p" + k, title]));
    track().methods.forEach((title, k) => names.push(["e" + k, "errors of " + title]));
    return names;
  }
  const title = (key) => (layers().find((layer) => layer[0] === key) || ["", ""])[1];
  const method = (key) => (/^[pe]\d+$/.test(key) ? Number(key.slice(1)) : -1);
  function pictures(key, f) {
    if (key === "decoded") return { base: f.decoded, lay: null, look: "" };
    if (key === "motion") return { base: f.decoded, lay: f.motion, look: "dim" };
    if (key[0] === "e") return { base: f.decoded, lay: f.e[method(key)], look: "pale flat" };
    const labels = key === "truth" ? f.truth : f.p[method(key)];
    return pick.mix.checked ? { base: f.decoded, lay: labels, look: "mixed flat" } : { base: labels, lay: null, look: "flat" };
  }
  function paint(pane, key, f) {
    const wanted = pictures(key, f), images = pane.querySelectorAll("img");
    [wanted.base, wanted.lay].forEach((source, i) => {
      images[i].hidden = !source;
      if (source && images[i].getAttribute("src") !== source) images[i].src = source;
    });
    images[0].alt = title(key);
    pane.dataset.look = wanted.look;
  }
  function preload(f) {
    if (f) [pick.left.value, pick.right.value].forEach((key) => Object.values(pictures(key, f)).slice(0, 2).forEach((source) => { if (source) new Image().src = source; }));
  }

  // the frame in numbers
  function describe() {
    const f = frame(), parts = ["frame " + f.frame, f.type + " picture", "d = " + f.d];
    if (f.bits !== null) parts.push(f.bits.toLocaleString("en") + " bits");
    if (f.qp !== null) parts.push("QP " + f.qp.toFixed(1));
    const score = (side) => { const k = method(pick[side].value); return k < 0 ? "" : side + ": " + track().methods[k] + " " + data.score + " " + percent(f.miou[k]); };
    return parts.concat([score("left"), score("right")].filter(Boolean)).join(" · ");
  }
  function tabulate() {
    const f = frame(), names = data.classes[track().dataset], shown = track().methods.map((_, k) => k);
    const head = make("tr"), body = make("tbody");
    head.append(make("th", { scope: "col" }, "class"));
    shown.forEach((k) => head.append(make("th", { scope: "col", class: "number" }, track().methods[k])));
    names.forEach(([name, colour], c) => {
      if (!shown.some((k) => f.iou[k] && f.iou[k][c] !== null)) return;
      const row = make("tr"), cell = make("th", { scope: "row" }), mark = make("svg", { class: "swatch", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" });
      mark.append(make("rect", { width: 12, height: 12, rx: 2, fill: colour }));
      cell.append(mark, " " + name);
      row.append(cell);
      shown.forEach((k) => row.append(make("td", { class: "number" }, f.iou[k] ? percent(f.iou[k][c]).replace(" %", "") : "–")));
      body.append(row);
    });
    const top = make("thead"); top.append(head);
    classes.replaceChildren(make("caption", {}, data.class_score + " in this frame (%)"), top, body);
  }

  // score by frame, click to go there
  function timeline() {
    const width = 720, height = 96, left = 40, right = 712, top = 8, bottom = 74, frames = track().frames;
    const chosen = [...new Set([method(pick.left.value), method(pick.right.value)])].filter((k) => k >= 0);
    const keys = chosen.length ? chosen : track().methods.map((_, k) => k).slice(0, 2);
    const values = keys.flatMap((k) => frames.map((f) => f.miou[k])).filter((v) => v !== null);
    let low = Math.min(...values), high = Math.max(...values);
    if (!values.length) { low = 0; high = 1; }
    if (high - low < 0.02) { low -= 0.01; high += 0.01; }
    const x = (i) => (frames.length < 2 ? (left + right) / 2 : left + (i * (right - left)) / (frames.length - 1));
    const y = (v) => bottom - ((v - low) / (high - low)) * (bottom - top);
    const svg = make("svg", { viewBox: "0 0 " + width + " " + height, class: "chart", role: "img", "aria-label": data.score + " of each frame: " + keys.map((k) => track().methods[k]).join(", ") });
    const write = (px, py, text, anchor) => { const node = document.createElementNS("http://www.w3.org/2000/svg", "text"); Object.entries({ x: px, y: py, class: "tick", "text-anchor": anchor }).forEach(([n, v]) => node.setAttribute(n, v)); node.textContent = text; svg.append(node); };
    [low, high].forEach((v) => { svg.append(make("line", { class: "grid", x1: left, x2: right, y1: y(v), y2: y(v) })); write(left - 5, y(v) + 4, (100 * v).toFixed(0) + " %", "end"); });
    frames.forEach((f, i) => { if (f.type === "I") { svg.append(make("line", { class: "key", x1: x(i), x2: x(i), y1: top, y2: bottom })); write(x(i), bottom + 16, "I " + f.frame, i ? "middle" : "start"); } });
    keys.forEach((k) => {
      const group = make("g", { class: "series s" + (page.series[track().methods[k]] || 0) % 8 });
      const line = document.createElementNS("http://www.w3.org/2000/svg", "g"); line.setAttribute("class", group.getAttribute("class"));
      const path = frames.map((f, i) => (f.miou[k] === null ? null : x(i).toFixed(1) + "," + y(f.miou[k]).toFixed(1))).filter(Boolean).join(" ");
      line.append(make("polyline", { points: path }));
      frames.forEach((f, i) => { if (f.miou[k] !== null) line.append(make("circle", { class: "marker", cx: x(i).toFixed(1), cy: y(f.miou[k]).toFixed(1), r: i === index ? 4.5 : 2.2 })); });
      svg.append(line);
    });
    svg.append(make("line", { class: "cursor", x1: x(index), x2: x(index), y1: top, y2: bottom }));
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect(), px = ((event.clientX - box.left) / box.width) * width;
      go(Math.round(((px - left) / (right - left)) * (frames.length - 1)));
    });
    line.replaceChildren(svg);
  }

  // which frames are worst
  function ranking() {
    const k = Math.max(0, method(pick.right.value)), other = method(pick.left.value);
    const scored = track().frames.map((f, i) => ({ i, f, own: f.miou[k], loss: other >= 0 && other !== k ? f.miou[k] - f.miou[other] : null })).filter((one) => one.own !== null);
    return { k, other, worst: scored.slice().sort((a, b) => a.own - b.own).slice(0, 10), lost: other >= 0 && other !== k ? scored.slice().sort((a, b) => a.loss - b.loss).slice(0, 10) : [] };
  }
  function rank() {
    const found = ranking();
    const group = (label, rows, text) => { const node = make("optgroup", { label }); rows.forEach((one) => node.append(new Option("frame " + one.f.frame + ", d = " + one.f.d + ": " + text(one), one.i))); return node; };
    pick.worst.replaceChildren(new Option("go to …", ""));
    pick.worst.append(group("lowest " + data.score + " of " + track().methods[found.k], found.worst, (one) => percent(one.own)));
    if (found.lost.length) pick.worst.append(group("most behind " + track().methods[found.other], found.lost, (one) => (100 * one.loss).toFixed(1) + " points"));
  }

  // all layers of a frame at once, as in the paper's Figure 3
  function tiles() {
    const f = frame();
    grid.replaceChildren(...layers().filter(([key]) => key !== "motion" || f.motion).map(([key, name]) => {
      const figure = make("figure"), pane = make("button", { type: "button", class: "pane tile", "aria-label": "compare " + name }), k = method(key);
      pane.append(make("img", { alt: "" }), make("img", { alt: "" }));
      paint(pane, key, f);
      pane.querySelector("img").alt = name;
      pane.addEventListener("click", () => { pick.right.value = key; pick.view.value = "swipe"; changed(); });
      figure.append(pane, make("figcaption", {}, name + (key[0] === "p" && k >= 0 ? " (" + percent(f.miou[k]) + ")" : "")));
      return figure;
    }));
  }

  function show() {
    const f = frame(), swipe = pick.view.value !== "grid";
    slider.max = track().frames.length - 1;
    slider.value = index;
    slider.setAttribute("aria-valuetext", "frame " + f.frame + ", d = " + f.d);
    const held = stage.contains(document.activeElement) || grid.contains(document.activeElement);
    stage.hidden = byId("swipe").hidden = !swipe;
    grid.hidden = swipe;
    if (held) (swipe ? stage : grid).focus({ preventScroll: true }); // what is hidden loses the keyboard
    if (swipe) {
      paint(panes.left, pick.left.value, f);
      paint(panes.right, pick.right.value, f);
      panes.left.style.clipPath = "inset(0 " + (100 - at.value) + "% 0 0)";
      byId("divider").style.left = at.value + "%";
      preload(track().frames[index + 1]);
    } else tiles();
    byId("count").textContent = index + 1 + " / " + track().frames.length;
    facts.textContent = describe();
    tabulate();
    timeline();
    rank();
  }
  function changed() {
    show();
    const f = frame();
    ["seq", "left", "right", "view"].forEach((key) => page.remember(key, pick[key].value));
    page.remember("frame", f.frame + "." + f.d);
    page.remember("at", at.value);
    page.remember("mix", pick.mix.checked ? "1" : "");
  }
  function go(to) { index = Math.max(0, Math.min(track().frames.length - 1, to)); changed(); }
  function fill() {
    for (const side of ["left", "right"]) {
      const before = pick[side].value;
      pick[side].replaceChildren(...layers().map(([key, name]) => new Option(name, key)));
      if (layers().some(([key]) => key === before)) pick[side].value = before;
    }
  }
  function stop() { clearInterval(timer); timer = 0; play.textContent = "Play"; play.setAttribute("aria-pressed", "false"); }
  function toggle() {
    if (timer) return stop();
    play.textContent = "Pause"; play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => go((index + 1) % track().frames.length), 1000 / Math.min(12, track().rate || 5));
  }
  function restore() {
    const state = page.state();
    pick.seq.value = state.get("seq") || "0";
    if (pick.seq.selectedIndex < 0) pick.seq.value = "0";
    fill();
    const keys = layers().map((layer) => layer[0]), answers = keys.filter((key) => key[0] === "p");
    pick.left.value = keys.includes(state.get("left")) ? state.get("left") : "truth";
    pick.right.value = keys.includes(state.get("right")) ? state.get("right") : answers[answers.length - 1] || "decoded";
    pick.view.value = state.get("view") === "grid" ? "grid" : "swipe";
    pick.mix.checked = state.get("mix") === "1";
    const place = (state.get("frame") || "").split(".").map(Number);
    const found = track().frames.findIndex((f) => f.frame === place[0] && f.d === place[1]);
    index = found >= 0 ? found : track().frames.length - 1;
    if (/^\d+$/.test(state.get("at") || "")) at.value = state.get("at");
  }

  data.tracks.forEach((one, i) => pick.seq.append(new Option(one.title, i)));
  restore();
  pick.seq.addEventListener("change", () => { stop(); index = Math.min(index, track().frames.length - 1); fill(); changed(); });
  ["left", "right", "view", "mix"].forEach((key) => pick[key].addEventListener("change", changed));
  pick.worst.addEventListener("change", () => { if (pick.worst.value !== "") { stop(); go(Number(pick.worst.value)); } });
  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  at.addEventListener("input", changed);
  byId("previous").addEventListener("click", () => { stop(); go(index - 1); });
  byId("next").addEventListener("click", () => { stop(); go(index + 1); });
  play.addEventListener("click", toggle);
  const drag = (event) => {
    if (event.type === "pointermove" && event.buttons !== 1) return;
    const box = stage.getBoundingClientRect();
    at.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    changed();
  };
  stage.addEventListener("pointerdown", drag);
  stage.addEventListener("pointermove", drag);
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  const keys = {
    ArrowLeft: () => go(index - 1), ArrowRight: () => go(index + 1), Home: () => go(0), End: () => go(track().frames.length - 1), " ": toggle,
    "[": () => { at.value = Number(at.value) - 5; changed(); }, "]": () => { at.value = Number(at.value) + 5; changed(); },
    w: () => { const order = ranking().worst.map((one) => one.i), place = order.indexOf(index); go(order[(place + 1) % order.length]); },
    x: () => { const left = pick.left.value; pick.left.value = pick.right.value; pick.right.value = left; changed(); },
    g: () => { pick.view.value = pick.view.value === "grid" ? "swipe" : "grid"; changed(); },
    o: () => { pick.mix.checked = !pick.mix.checked; changed(); },
  };
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target.tagName;
    if (on === "SELECT" || (on === "INPUT" && event.key.length > 1) || (/^(INPUT|BUTTON)$/.test(on) && event.key === " ")) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    if (event.key !== " ") stop();
    act();
  });
  window.addEventListener("hashchange", () => { stop(); restore(); show(); });
  root.hidden = false;
  document.documentElement.classList.add("scripted"); // the strips below the viewer are for paper and for readers without scripts
  show();
})();
