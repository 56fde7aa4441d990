"""Style and behaviour of the drawings in the report of `bireme profile`."""

BODY = """
<section class="drawing"><div class="bar"><h2>Classes</h2></div><div id="shares"></div></section>
<section class="drawing"><div class="bar"><h2>Timeline</h2>
<span class="quiet">the fastest run; wheel zooms, dragging moves, double click shows all</span>
<output id="left"></output></div><canvas id="timeline" tabindex="0"></canvas></section>
<section class="drawing"><div class="bar"><h2>Arena</h2>
<span class="quiet">which tensor lies where, from which step to which</span>
<label><input type="checkbox" id="by-time"> steps as wide as their time</label></div>
<canvas id="arena" tabindex="0"></canvas></section>
<section class="drawing"><div class="bar"><h2>Graph</h2>
<span class="quiet">steps in order; lines lead from a result to who reads it</span></div>
<div id="graph"><svg id="lanes"></svg><ol id="rows"></ol></div></section>
<aside id="details" hidden></aside><div id="tip" hidden></div>
"""

STYLE = """
.quiet, output { color: var(--quiet); font-size: .85rem; }
canvas { width: 100%; display: block; border: 1px solid var(--line); border-radius: .3rem;
  touch-action: none; }
#timeline { height: 5rem; } #arena { height: 20rem; }
#shares { display: flex; height: 1.6rem; border-radius: .3rem; overflow: hidden; }
#shares div { overflow: hidden; white-space: nowrap; padding: .1rem .4rem; color: #fff;
  min-width: 0; text-shadow: 0 0 3px #000a; }
#graph { display: flex; max-height: 36rem; overflow: auto; border: 1px solid var(--line);
  border-radius: .3rem; }
#lanes { flex: none; } #lanes path { fill: none; stroke-width: 1.5; }
#rows { list-style: none; margin: 0; padding: 0; flex: 1; min-width: 0; }
#rows li { height: 22px; line-height: 22px; display: flex; gap: .7rem; cursor: pointer;
  white-space: nowrap; padding-right: .6rem; font-variant-numeric: tabular-nums; }
#rows li:hover, #rows li.on { background: var(--head); }
#rows .time { width: 5.5rem; text-align: right; flex: none; }
#rows .length { width: 8rem; flex: none; } #rows .length i { display: block; height: 10px;
  margin-top: 6px; border-radius: 2px; }
#rows .part { width: 8.5rem; flex: none; } #rows .what { width: 15rem; flex: none;
  overflow: hidden; text-overflow: ellipsis; }
#rows .node { color: var(--quiet); overflow: hidden; text-overflow: ellipsis; }
#by-time { width: auto; }
@media (max-width: 45rem) { #rows .length { display: none; } #rows .what { width: auto; } }
#tip, #details { position: fixed; background: var(--back); border: 1px solid var(--line);
  border-radius: .4rem; padding: .5rem .7rem; box-shadow: 0 2px 12px #0004; z-index: 2; }
#tip { pointer-events: none; max-width: 30rem; font-size: .85rem; overflow-wrap: anywhere; }
#details { right: 1rem; bottom: 1rem; width: min(32rem, calc(100vw - 2rem)); max-height: 60vh;
  overflow: auto; }
#details h3 { margin: 0 1.5rem .3rem 0; font-size: 1rem; }
#details dl { gap: .3rem 1.2rem; margin: .5rem 0; }
#details button { position: absolute; top: .4rem; right: .5rem; border: 0; background: none;
  color: inherit; font: inherit; cursor: pointer; }
#details li { overflow-wrap: anywhere; } #details ul { margin: .3rem 0; padding-left: 1.1rem; }
"""

SCRIPT = """
{
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const hues = [212, 28, 140, 280, 350, 175, 50, 250, 95, 320, 10, 195, 70];
const color = (c, light = 48) => `hsl(${hues[c % hues.length]} 62% ${light}%)`;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const ms = (us) => us >= 1000 ? `${(us / 1000).toFixed(3)} ms` : `${us.toFixed(2)} \\u00b5s`;
const bytes = (n) => n >= 1e5 ? `${(n / 1e6).toFixed(2)} MB` : `${(n / 1e3).toFixed(1)} KB`;
const percent = (x) => x === null ? "?" : `${(100 * x).toFixed(0)} %`;
const node = (tag, text = "", kind = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
let chosen = -1;

for (const [i, c] of data.classes.entries()) {
  const part = node("div", `${c.name} ${(100 * c.share).toFixed(1)} %`);
  part.style.flex = `${Math.max(c.share, 0.002)} 1 0`;
  part.style.background = color(i, 42);
  part.title = part.textContent;
  byId("shares").append(part);
}
if (data.left) byId("left").textContent = `${data.left} events are not shown`;

// --- a canvas that zooms along x -----------------------------------------------------------------
const views = [];
function view(canvas, extent, draw, hit) {
  const it = { from: 0, to: extent(), width: 0, height: 0 };
  it.x = (value) => (value - it.from) / (it.to - it.from) * it.width;
  const value = (event) => it.from + event.offsetX / it.width * (it.to - it.from);
  it.reset = () => { it.from = 0; it.to = extent(); };
  it.draw = () => {
    const scale = devicePixelRatio || 1;
    it.width = canvas.clientWidth; it.height = canvas.clientHeight;
    canvas.width = it.width * scale; canvas.height = it.height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "11px system-ui, sans-serif";
    draw(it, pen);
  };
  const clamp = () => {
    const span = Math.min(it.to - it.from, extent());
    it.from = Math.max(0, Math.min(it.from, extent() - span));
    it.to = it.from + span;
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = value(event), factor = Math.exp(event.deltaY / 400);
    it.from = at - (at - it.from) * factor; it.to = at + (it.to - at) * factor;
    clamp(); it.draw();
  }, { passive: false });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { at: value(event), moved: false };
    canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (held) {
      const shift = held.at - value(event);
      if (Math.abs(shift) * it.width > 3 * (it.to - it.from)) held.moved = true;
      if (held.moved) { it.from += shift; it.to += shift; clamp(); it.draw(); }
      return;
    }
    const found = hit(it, value(event), event.offsetY);
    tip(event, found && found.text);
  });
  canvas.addEventListener("pointerup", (event) => {
    const found = held && !held.moved && hit(it, value(event), event.offsetY);
    held = null;
    if (found && found.step >= 0) choose(found.step, true);
  });
  canvas.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  canvas.addEventListener("dblclick", () => { it.reset(); it.draw(); });
  views.push(it);
  return it;
}
function tip(event, text) {
  const box = byId("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  box.style.left = `${Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.max(event.clientY - box.offsetHeight - 10, 4)}px`;
}

// --- timeline ------------------------------------------------------------------------------------
const row = 26, top = 18;
byId("timeline").style.height = `${top + data.threads * row + 6}px`;
const end = Math.max(1, ...data.events.map((e) => e[3]));
view(byId("timeline"), () => end, (it, pen) => {
  pen.fillStyle = css("--quiet");
  const wish = (it.to - it.from) / 8, power = 10 ** Math.floor(Math.log10(wish));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= wish);
  for (let t = Math.ceil(it.from / step) * step; t < it.to; t += step) {
    pen.fillText(ms(t), it.x(t) + 3, 12);
    pen.fillRect(it.x(t), 0, 0.5, it.height);
  }
  for (const [step, worker, begin, stop] of data.events) {
    if (stop < it.from || begin > it.to) continue;
    const x = it.x(begin), width = Math.max(it.x(stop) - x, 0.6), y = top + worker * row;
    pen.fillStyle = color(data.steps[step].class, step === chosen ? 65 : 45);
    pen.fillRect(x, y, width > 3 ? width - 0.5 : width, row - 4);
    if (width < 46) continue;
    pen.save(); pen.beginPath(); pen.rect(x, y, width - 4, row); pen.clip();
    pen.fillStyle = "#fff"; pen.fillText(data.steps[step].what, x + 4, y + 15); pen.restore();
  }
}, (it, at, y) => {
  const worker = Math.floor((y - top) / row), near = (it.to - it.from) / it.width;
  const found = data.events.find((e) => e[1] === worker && e[2] - near <= at && at <= e[3] + near);
  if (!found) return null;
  const step = data.steps[found[0]];
  return { step: found[0],
    text: `#${found[0]} ${step.what}, ${ms(found[3] - found[2])}, thread ${worker}: `
      + step.short };
});

// --- arena ---------------------------------------------------------------------------------------
const starts = [];  // of each step along x, and the end
const place = () => {
  starts.length = 0;
  let sum = 0;
  for (const step of data.steps) { starts.push(sum); sum += byId("by-time").checked ? step.us : 1; }
  starts.push(Math.max(sum, 1e-6));
};
place();
const { tensors, bound, live } = data.arena, size = Math.max(data.arena.bytes, bound, 1);
const arena = view(byId("arena"), () => starts[starts.length - 1], (it, pen) => {
  const y = (n) => (it.height - 4) * (1 - n / (size * 1.08)) + 2;
  for (const [i, t] of tensors.entries()) {
    const x = it.x(starts[t.first]), width = Math.max(it.x(starts[t.last + 1]) - x, 0.6);
    const high = y(t.offset + t.bytes), low = y(t.offset);
    const on = chosen >= t.first && chosen <= t.last;
    pen.fillStyle = color(data.steps[t.first].class, on ? 62 : i % 2 ? 44 : 50);
    pen.fillRect(x, high, width, Math.max(low - high, 0.5));
    pen.strokeStyle = css("--back"); pen.lineWidth = 0.5;
    if (width > 2 && low - high > 2) pen.strokeRect(x, high, width, low - high);
    if (width > 60 && low - high > 12) {
      pen.save(); pen.beginPath(); pen.rect(x, high, width - 3, low - high); pen.clip();
      pen.fillStyle = "#fff";
      pen.fillText(`${t.name} ${bytes(t.bytes)}`, x + 3, (low + high) / 2 + 4);
      pen.restore();
    }
  }
  pen.beginPath(); pen.strokeStyle = css("--text"); pen.lineWidth = 1.2;
  live.forEach((n, i) => {
    pen.lineTo(it.x(starts[i]), y(n));
    pen.lineTo(it.x(starts[i + 1]), y(n));
  });
  pen.stroke();
  const same = data.arena.bytes - bound < size / 200;
  for (const [n, text, dash] of [[data.arena.bytes, same ? "peak = lower bound" : "peak", []],
      ...(same ? [] : [[bound, "lower bound", [5, 4]]])]) {
    pen.setLineDash(dash); pen.strokeStyle = pen.fillStyle = css("--bad"); pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(0, y(n)); pen.lineTo(it.width, y(n)); pen.stroke();
    pen.fillText(`${text} ${bytes(n)}`, 4, y(n) - 3);
  }
  pen.setLineDash([]);
}, (it, at, y) => {
  let step = starts.findIndex((s) => s > at) - 1;
  if (step < 0) step = data.steps.length - 1;
  const address = (1 - (y - 2) / (it.height - 4)) * size * 1.08;
  const t = tensors.find((t) => t.first <= step && step <= t.last && t.offset <= address
    && address < t.offset + t.bytes);
  const used = `at step #${step} ${bytes(live[step] ?? 0)} in use`;
  return { step, text: t ? `${t.name || "(unnamed)"} ${t.type}, ${bytes(t.bytes)} at ${t.offset}, `
    + `steps #${t.first} to #${t.last}; ${used}` : used };
});
byId("by-time").addEventListener("change", () => { place(); arena.reset(); arena.draw(); });

// --- graph ---------------------------------------------------------------------------------------
const gap = Math.min(14, Math.max(4, 220 / data.lanes)), high = 22;
const longest = Math.max(...data.steps.map((s) => s.us), 1e-9);
const svg = byId("lanes"), laneX = (lane) => 8 + lane * gap, rowY = (i) => i * high + high / 2;
svg.setAttribute("width", 16 + data.lanes * gap);
svg.setAttribute("height", data.steps.length * high);
const shape = (tag, fields) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(fields)) made.setAttribute(k, v);
  svg.append(made);
  return made;
};
data.steps.forEach((step, i) => {
  const line = color(step.class);
  if (step.last > i) {
    const x = laneX(step.lane);
    shape("path", { d: `M${x} ${rowY(i)}V${rowY(step.last) - high / 2}`, stroke: line });
  }
  for (const from of step.reads) {
    if (from >= i) continue;
    const x = laneX(data.steps[from].lane), to = laneX(step.lane), y = rowY(i);
    shape("path", { d: `M${x} ${y - high / 2}C${x} ${y - 2} ${to} ${y - high / 2 + 2} ${to} ${y}`,
      stroke: color(data.steps[from].class) });
  }
});
data.steps.forEach((step, i) => {
  const at = { cx: laneX(step.lane), cy: rowY(i), r: Math.min(4, gap / 2) };
  shape("circle", { ...at, fill: color(step.class) });
  const item = node("li"), length = node("span", "", "length"), bar = node("i");
  bar.style.width = `${Math.max(100 * step.us / longest, 0.5)}%`;
  bar.style.background = color(step.class);
  length.append(bar);
  const news = step.part === null ? "" : step.part >= 0.8 ? " good" : step.part < 0.5 ? " bad" : "";
  item.append(node("span", ms(step.us), "time"), length,
    node("span", step.part === null ? "" : `${percent(step.part)} of ${step.limit}`, `part${news}`),
    node("span", step.what, "what"), node("span", step.short, "node"));
  item.addEventListener("click", () => choose(i, false));
  byId("rows").append(item);
});

function choose(i, scroll) {
  byId("rows").children[chosen]?.classList.remove("on");
  chosen = i;
  const step = data.steps[i], item = byId("rows").children[i], box = byId("details");
  item.classList.add("on");
  if (scroll) byId("graph").scrollTop = item.offsetTop - byId("graph").offsetTop - 100;
  const close = node("button", "\\u00d7");
  close.addEventListener("click", () => { box.hidden = true; });
  box.replaceChildren(close, node("h3", `#${i} ${step.what}`));
  const facts = node("dl");
  const fact = (name, text) => {
    const part = node("div");
    part.append(node("dt", name), node("dd", text));
    facts.append(part);
  };
  fact("class", data.classes[step.class].name);
  const [low, most] = step.spread.map(ms), share = (100 * step.share).toFixed(1);
  fact("time", `${ms(step.us)} (${low} to ${most}), ${share} %`);
  if (step.calls !== 1) fact("calls", step.calls);
  if (step.gflops !== null) fact("GFLOP/s", step.gflops.toFixed(1));
  if (step.gbs !== null) fact("GB/s", step.gbs.toFixed(1));
  fact("limit", `${percent(step.part)} of ${step.limit}`);
  fact("needs at least", Object.entries(step.parts).map(([k, v]) => `${k} ${ms(v)}`).join(", "));
  fact("tasks", step.tasks);
  fact("kernel", step.kernel + (step.version ? ` for ${step.version}` : ""));
  fact("fused", step.ops);
  fact("operands \\u2192 results", step.types);
  box.append(facts);
  const list = (title, texts) => {
    if (!texts.length) return;
    const all = node("ul");
    all.append(...texts.map((text) => node("li", text)));
    box.append(node("dt", title), all);
  };
  list("what to do", step.advice);
  list("nodes", step.nodes);
  box.hidden = false;
  for (const it of views) it.draw();
}
const redraw = () => { for (const it of views) it.draw(); };
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
}
"""
