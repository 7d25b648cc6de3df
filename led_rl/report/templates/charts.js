// Charts from their descriptions (led_rl/report/chart.py): panels of lines and points, intervals, hover, choices.
const PANEL = { width: 260, left: 52, right: 14, top: 30, bottom: 44 };

class Chart {
  constructor(figure, spec) {
    this.spec = spec;
    this.chosen = {};
    this.host = figure.querySelector(".plot");
    const controls = figure.querySelector(".controls");
    for (const control of spec.controls) {
      this.chosen[control.name] = new Set(control.chosen);
      controls.append(choice(control, this.chosen[control.name], () => this.draw()));
    }
    this.tip = node("div", { class: "tip", role: "status", "aria-live": "polite", hidden: "" });
    this.host.after(this.tip);
    this.host.tabIndex = 0;
    this.host.addEventListener("keydown", (event) => this.key(event));
    this.host.addEventListener("blur", () => this.hide());
    this.host.addEventListener("pointermove", (event) => this.hover(event));
    this.host.addEventListener("pointerleave", () => this.hide());
    new ResizeObserver(() => { if (this.host.clientWidth !== this.width) this.draw(); }).observe(this.host);
    this.draw();
  }

  shows(tags) {
    return Object.entries(tags || {}).every(([name, value]) =>
      [value].flat().every((one) => !this.chosen[name] || this.chosen[name].has(one)));
  }

  draw() {
    this.hide();
    this.width = this.host.clientWidth || 640;
    const series = this.spec.series.filter((one) => this.shows(one.tags));
    const shown = this.spec.panels.map((panel, index) => index).filter((index) => series.some((one) => one.panel === index));
    this.spots = [];
    this.host.replaceChildren();
    if (!shown.length) {
      this.host.append(node("p", { class: "missing" }, "Nothing is chosen: press one of the buttons above in each row."));
      return;
    }
    const columns = Math.max(1, Math.min(shown.length, this.spec.columns || 3, Math.floor(this.width / PANEL.width)));
    const width = this.width / columns;
    const height = Math.round(Math.min(this.spec.tall || 0.74 * width, 0.62 * width + 150, 460));
    const rows = Math.ceil(shown.length / columns);
    const picture = shape("svg", { viewBox: `0 0 ${this.width} ${rows * height}`, width: this.width, height: rows * height,
      role: "img", "aria-label": this.spec.title });
    const shared = this.spec.share ? this.spec.share : "";
    const everything = series.filter((one) => shown.includes(one.panel));
    shown.forEach((index, place) => {
      const own = series.filter((one) => one.panel === index);
      const frame = { x: (place % columns) * width, y: Math.floor(place / columns) * height, width, height };
      picture.append(this.panel(index, own, {
        x: shared.includes("x") ? everything : own, y: shared.includes("y") ? everything : own }, frame));
    });
    this.halo = shape("circle", { r: 8, fill: "none", stroke: "var(--ink)", "stroke-width": 1.5, visibility: "hidden" });
    picture.append(this.halo);
    this.host.append(picture);
  }

  panel(index, series, ranged, frame) {
    const panel = this.spec.panels[index];
    const left = panel.y.ticks ? Math.min(0.4 * frame.width, 12 + 6.4 * Math.max(...panel.y.ticks.map((tick) => tick[1].length))) : PANEL.left;
    const box = { left: frame.x + left, right: frame.x + frame.width - PANEL.right,
      top: frame.y + PANEL.top, bottom: frame.y + frame.height - PANEL.bottom };
    const x = scale(panel.x, ranged.x.flatMap((one) => one.points.flatMap((p) => [p.x, p.xlo, p.xhi])), box.left, box.right, 64);
    const y = scale(panel.y, ranged.y.flatMap((one) => one.points.flatMap((p) => [p.y, p.lo, p.hi])), box.bottom, box.top, 34);
    const group = shape("g");
    for (const shade of panel.shades || []) {
      const from = Math.max(x.at(shade.from), box.left), to = Math.min(x.at(shade.to), box.right);
      if (to <= from) continue;
      const cover = shape("rect", { x: from, y: box.top, width: to - from, height: box.bottom - box.top, class: `shade ${shade.kind}` });
      cover.append(shape("title", {}, shade.text));
      group.append(cover);
      if (to - from > 44) group.append(label(shade.text.split(":")[0], (from + to) / 2, box.top + 11, "middle", "shade-label"));
    }
    for (const [value, text] of x.ticks) group.append(
      shape("line", { x1: x.at(value), x2: x.at(value), y1: box.top, y2: box.bottom, class: "grid" }),
      label(text, x.at(value), box.bottom + 16, "middle"));
    for (const [value, text] of y.ticks) group.append(
      shape("line", { x1: box.left, x2: box.right, y1: y.at(value), y2: y.at(value), class: "grid" }),
      label(text, box.left - 7, y.at(value) + 4, "end"));
    if (panel.zero === "y" && y.min <= 0 && y.max >= 0) group.append(shape("line", { x1: box.left, x2: box.right, y1: y.at(0), y2: y.at(0), class: "zero" }));
    if (panel.zero === "x" && x.min <= 0 && x.max >= 0) group.append(shape("line", { x1: x.at(0), x2: x.at(0), y1: box.top, y2: box.bottom, class: "zero" }));
    group.append(
      shape("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "axis" }),
      label(panel.x.label, (box.left + box.right) / 2, box.bottom + 35, "middle", "axis-label"),
      label(shortened(panel.title ? panel.title + (panel.y.label ? `  (${panel.y.label})` : "") : panel.y.label, frame.width - 10),
        frame.x + 6, frame.y + 14, "start", "panel-title"));
    for (const one of series) group.append(this.line(one, x, y, index));
    for (const arrow of this.spec.arrows || []) if (arrow.panel === index && this.shows(arrow.tags)) group.append(pointer(arrow, x, y));
    return group;
  }

  line(one, x, y, panel) {
    const ink = colour(one.colour);
    const group = shape("g", { "data-series": one.name });
    const points = one.points.map((p) => ({ ...p, px: x.at(p.x), py: y.at(p.y) }));
    if (one.interval === "band") {
      const known = points.filter((p) => p.lo !== undefined);
      const outline = [...known.map((p) => `${p.px},${y.at(p.hi)}`), ...known.reverse().map((p) => `${p.px},${y.at(p.lo)}`)];
      if (known.length > 1) group.append(shape("polygon", { points: outline.join(" "), fill: ink, class: "band" }));
    } else for (const p of points) {
      if (p.lo !== undefined) group.append(shape("line", { x1: p.px, x2: p.px, y1: y.at(p.lo), y2: y.at(p.hi), stroke: ink, class: one.interval === "faint" ? "bar faint" : "bar" }));
      if (p.xlo !== undefined) group.append(shape("line", { x1: x.at(p.xlo), x2: x.at(p.xhi), y1: p.py, y2: p.py, stroke: ink, class: one.interval === "faint" ? "bar faint" : "bar" }));
    }
    if (one.line !== false && points.length > 1) group.append(shape("polyline", {
      points: points.map((p) => `${p.px},${p.py}`).join(" "), stroke: ink, fill: "none",
      class: one.thin ? "curve thin" : "curve", "stroke-dasharray": one.dash ? "5 4" : null }));
    for (const p of points) {
      if (one.marker) group.append(marker(one.marker, p.px, p.py, p.size || 4, ink, p.hollow || one.hollow));
      if (p.mark) group.append(label(p.mark, p.px + 8, p.py - 7, "start", "mark"));
      this.spots.push({ x: p.px, y: p.py, panel, lines: [one.name, ...(p.note || [])] });
    }
    return group;
  }

  hover(event) {
    const frame = this.host.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let best = -1, nearest = 30 * 30;
    this.spots.forEach((spot, index) => {
      const distance = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (distance < nearest) { nearest = distance; best = index; }
    });
    best < 0 ? this.hide() : this.show(best);
  }

  key(event) {
    const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") return this.hide();
    if (!(event.key in moves) || !this.spots || !this.spots.length) return;
    event.preventDefault();
    const next = (this.at === undefined ? (moves[event.key] > 0 ? -1 : this.spots.length) : this.at) + moves[event.key];
    this.show(Math.max(0, Math.min(this.spots.length - 1, next)));
  }

  show(index) {
    const spot = this.spots[index];
    this.at = index;
    this.halo.setAttribute("cx", spot.x);
    this.halo.setAttribute("cy", spot.y);
    this.halo.style.visibility = "visible";
    this.tip.replaceChildren(...spot.lines.map((text, line) => node(line ? "div" : "b", {}, text)));
    this.tip.hidden = false;
    const room = this.host.clientWidth - this.tip.offsetWidth - 4;
    this.tip.style.left = `${this.host.offsetLeft + Math.max(0, Math.min(spot.x + 12, room))}px`;
    this.tip.style.top = `${this.host.offsetTop + Math.max(0, spot.y - this.tip.offsetHeight - 12)}px`;
  }

  hide() {
    this.at = undefined;
    this.tip.hidden = true;
    if (this.halo) this.halo.style.visibility = "hidden";
  }
}

function label(text, x, y, anchor, kind = "tick") {
  return shape("text", { x, y, "text-anchor": anchor, class: kind }, text);
}

function shortened(text, room) {
  const most = Math.max(8, Math.floor(room / 6.9));
  return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text;
}

function pointer(arrow, x, y) {
  const [x1, y1, x2, y2] = [x.at(arrow.from[0]), y.at(arrow.from[1]), x.at(arrow.to[0]), y.at(arrow.to[1])];
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [a, b] = [(x2 - x1) / length, (y2 - y1) / length];
  const [sx, sy, ex, ey] = [x1 + 12 * a, y1 + 12 * b, x2 - 12 * a, y2 - 12 * b];
  const head = `${ex},${ey} ${ex - 9 * a - 4.5 * b},${ey - 9 * b + 4.5 * a} ${ex - 9 * a + 4.5 * b},${ey - 9 * b - 4.5 * a}`;
  const group = shape("g", { class: "arrow" });
  group.append(
    shape("line", { x1: sx, y1: sy, x2: ex - 6 * a, y2: ey - 6 * b }), shape("polygon", { points: head }),
    label(arrow.text, (sx + ex) / 2 + 8, (sy + ey) / 2 - 8, "start", "mark"));
  return group;
}

// From values to pixels, with ticks. Explicit ticks stand for categories.
function scale(axis, values, from, to, apart) {
  let known = values.filter((value) => Number.isFinite(value));
  if (axis.log) known = known.filter((value) => value > 0);
  let [min, max] = axis.range || [Math.min(...known), Math.max(...known)];
  if (!axis.range) {
    if (min === max) [min, max] = axis.log ? [min / 1.5, max * 1.5] : [min - (Math.abs(min) || 1) * 0.1, max + (Math.abs(max) || 1) * 0.1];
    const pad = 0.06;
    [min, max] = axis.log ? [min * (max / min) ** -pad, max * (max / min) ** pad] : [min - pad * (max - min), max + pad * (max - min)];
  }
  const position = axis.log
    ? (value) => from + (to - from) * Math.log(Math.max(value, 1e-12) / min) / Math.log(max / min)
    : (value) => from + (to - from) * (value - min) / (max - min);
  const room = Math.max(2, Math.abs(to - from) / apart);
  let ticks = axis.ticks || (axis.log ? logTicks(min, max) : niceTicks(min, max, room));
  if (axis.ticks && apart > 40) {
    const widest = 10 + 6.2 * Math.max(...ticks.map((tick) => tick[1].length));
    const every = Math.ceil(ticks.length * widest / Math.abs(to - from));
    ticks = ticks.filter((tick, index) => index % every === 0);
  }
  return { at: position, min, max, ticks: ticks.filter(([value]) => value >= min && value <= max) };
}

function niceTicks(min, max, count) {
  const raw = (max - min) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const ticks = [];
  for (let value = Math.ceil(min / step) * step; value <= max + 1e-9 * step; value += step) ticks.push([value, written(value)]);
  return ticks;
}

function logTicks(min, max) {
  const ticks = [], factors = max / min < 20 ? [1, 1.5, 2, 3, 5, 7] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power++)
    for (const factor of factors) ticks.push([factor * 10 ** power, written(factor * 10 ** power)]);
  return ticks;
}

function written(value) {
  if (Math.abs(value) < 1e-12) return "0";
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5 ? value.toExponential(1).replace(".0e", "e") : String(Number(value.toPrecision(4)));
}
