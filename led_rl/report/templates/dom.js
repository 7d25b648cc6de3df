"use strict";
// Everything below builds the page through the DOM: text from a record is only ever set as text, never parsed as HTML.
const SVG = "http://www.w3.org/2000/svg";

function node(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "stroke" || key === "fill") element.style[key] = value;
    else if (key === "css") for (const [name, setting] of Object.entries(value)) element.style.setProperty(name, setting);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const colour = (name) => (name === "none" ? "none" : `var(--${name})`);

function data(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : null;
}

// A row of buttons of which one, or several, are pressed. `chosen` is a Set that the buttons keep up to date.
function choice(control, chosen, changed) {
  const buttons = control.options.map((option) => {
    const swatch = option.colour ? swatchOf(option) : null;
    const button = node("button", { type: "button", class: "chip", "aria-pressed": String(chosen.has(option.value)) },
      ...(swatch ? [swatch] : []), option.label);
    button.addEventListener("click", () => {
      if (control.several) chosen.has(option.value) ? chosen.delete(option.value) : chosen.add(option.value);
      else { chosen.clear(); chosen.add(option.value); }
      buttons.forEach((one, at) => one.setAttribute("aria-pressed", chosen.has(control.options[at].value)));
      changed();
    });
    button.dataset.value = option.value;
    return button;
  });
  return node("div", { class: "chips", role: "group", "aria-label": control.label, "data-control": control.name },
    node("span", { class: "chips-label" }, control.label), ...buttons);
}

function swatchOf(option) {
  const picture = shape("svg", { class: "swatch", viewBox: "0 0 26 12", width: 26, height: 12, "aria-hidden": "true" });
  if (option.line !== false) picture.append(shape("line", {
    x1: 1, x2: 25, y1: 6, y2: 6, stroke: colour(option.colour), "stroke-width": 2, "stroke-dasharray": option.dash ? "4 3" : null }));
  if (option.marker) picture.append(marker(option.marker, 13, 6, 4, colour(option.colour), option.hollow));
  return picture;
}

function marker(kind, x, y, r, ink, hollow) {
  const paint = { fill: hollow ? "var(--card)" : ink, stroke: ink, "stroke-width": 1.5 };
  if (kind === "square") return shape("rect", { x: x - 0.88 * r, y: y - 0.88 * r, width: 1.76 * r, height: 1.76 * r, ...paint });
  const corners = {
    diamond: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
    up: [[0, -1.2], [1.15, 0.85], [-1.15, 0.85]],
    down: [[0, 1.2], [1.15, -0.85], [-1.15, -0.85]],
    plus: [[-.4, -1.1], [.4, -1.1], [.4, -.4], [1.1, -.4], [1.1, .4], [.4, .4], [.4, 1.1], [-.4, 1.1], [-.4, .4], [-1.1, .4], [-1.1, -.4], [-.4, -.4]],
  }[kind];
  if (corners) return shape("polygon", { points: corners.map(([a, b]) => `${x + a * r},${y + b * r}`).join(" "), ...paint });
  return shape("circle", { cx: x, cy: y, r, ...paint });
}
