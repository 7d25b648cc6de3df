// The token inspector: plain sampling beside LED, and what every layer would have said at a token.
class Inspector {
  constructor(host, content) {
    this.content = content;
    this.checkpoint = new Set([content.checkpoints[content.checkpoints.length - 1].value]);
    this.problem = 0;
    this.picker = node("select", { "aria-label": "Problem" });
    this.picker.addEventListener("change", () => this.go(Number(this.picker.value)));
    const step = (words, by) => node("button", { type: "button", class: "small", onclick: () => this.go(this.problem + by) }, words);
    const jump = (words, kind) => node("button", { type: "button", class: "small", onclick: () => this.jump(kind) }, words);
    this.question = node("div", { class: "row" });
    this.sides = node("div", { class: "sides" });
    this.layers = node("div", { class: "layers", "aria-live": "polite" });
    host.append(
      choice({ name: "checkpoint", label: "Checkpoint", options: content.checkpoints }, this.checkpoint, () => this.draw()),
      node("div", { class: "row" }, step("previous", -1), this.picker, step("next", 1), jump("where they part", "first"), jump("next explored", "x")),
      this.question, this.sides, this.legend(), this.layers);
    host.addEventListener("keydown", (event) => this.key(event));
    this.draw();
  }

  text(index) { return this.content.strings[index]; }

  legend() {
    const token = (kind, words, heat = 0) => node("span", {}, node("span", { class: `token ${kind}`, css: { "--heat": heat } }, "abc"), ` ${words}`);
    const known = this.content.views.some((view) => view.tokens.some((one) => one.d !== undefined));
    return node("div", { class: "legend" },
      token("", "sure"), token("", "unsure (entropy of the final layer)", 75), token("explored", "drawn by LED's exploration"),
      token("first", "here the two part"), known ? token("decision", "a choice by the task's grammar; all others follow from what stands before") : null,
      node("span", {}, node("kbd", {}, "\u2190"), " ", node("kbd", {}, "\u2192"), " token, ", node("kbd", {}, "o"), " other sample, ", node("kbd", {}, "d"),
        " where they part, ", node("kbd", {}, "e"), " next explored, ", node("kbd", {}, "n"), " ", node("kbd", {}, "p"), " problem"));
  }

  go(problem) {
    const count = this.content.problems.length;
    this.problem = (problem + count) % count;
    this.draw();
  }

  draw() {
    const [checkpoint] = this.checkpoint;
    const views = this.content.views.filter((view) => view.checkpoint === checkpoint);
    this.picker.replaceChildren(...this.content.problems.map((asked, index) => {
      const pair = views.filter((view) => view.problem === index);
      const parted = pair.length && pair[0].samples_parted ? ` (parts in ${pair[0].samples_parted} of ${pair[0].samples})` : " (never parts)";
      return node("option", { value: String(index) }, `${index + 1}. ${asked.question.slice(0, 60)}${pair.length ? parted : ""}`);
    }));
    this.picker.value = String(this.problem);
    const asked = this.content.problems[this.problem];
    this.question.replaceChildren(node("b", {}, asked.question), node("span", { class: "soft" }, `gold: ${asked.gold}`));
    this.shown = views.filter((view) => view.problem === this.problem).sort((a, b) => a.arm - b.arm);
    const [left, right] = this.shown.map((view) => view.tokens.map((one) => one.t));
    this.first = -1;
    if (left && right) this.first = Array.from({ length: Math.max(left.length, right.length) }, (_, at) => at).find((at) => left[at] !== right[at]) ?? -1;
    this.buttons = [];
    this.sides.replaceChildren(...this.shown.map((view, side) => this.side(view, side)));
    const start = this.first >= 0 ? this.first : 0;
    const opening = this.shown.findIndex((view) => view.tokens.length > start);
    if (opening >= 0) this.show(this.shown.length > 1 && this.shown[1].tokens.length > start ? 1 : opening, start);
    else this.layers.replaceChildren();
  }

  side(view, side) {
    const tokens = node("div", { class: "tokens", role: "group", "aria-label": `tokens of ${this.content.arms[view.arm]}` });
    this.buttons.push(view.tokens.map((token, at) => {
      const kinds = ["token", token.x ? "explored" : "", token.d ? "decision" : "", token.j === null ? "answering" : "", at === this.first ? "first" : ""];
      const button = node("button", { type: "button", class: kinds.filter(Boolean).join(" "), tabindex: "-1",
        css: { "--heat": Math.round(Math.min(1, token.h / 1.2) * 80) } }, visible(this.text(token.t)));
      button.addEventListener("pointerenter", () => this.show(side, at));
      button.addEventListener("focus", () => this.show(side, at));
      button.addEventListener("click", () => this.show(side, at));
      tokens.append(button, " ");
      if (this.text(token.t).includes("\n")) tokens.append(node("br"));
      return button;
    }));
    const cut = view.length_tokens > view.tokens.length ? `, the first ${view.tokens.length} shown` : "";
    return node("div", { class: "side" },
      node("h3", {}, this.content.arms[view.arm], node("span", { class: `verdict-tag ${view.correct ? "right" : "wrong"}` }, view.correct ? "right" : view.status),
        node("span", { class: "soft" }, `sample ${view.sample}, ${view.length_tokens} tokens${cut}`)), tokens);
  }

  show(side, at) {
    for (const row of this.buttons) for (const button of row) { button.classList.remove("now"); button.tabIndex = -1; }
    const button = this.buttons[side][at];
    button.classList.add("now");
    button.tabIndex = 0;
    [this.side_at, this.token_at] = [side, at];
    const view = this.shown[side], token = view.tokens[at];
    const place = token.d === undefined ? "" : token.d ? `a choice (${this.text(token.k)}; legal: ${token.g.map((one) => this.text(one)).join(" ")})` : `forced (${this.text(token.k)})`;
    const facts = [
      `token ${at + 1} of ${view.length_tokens}`, place, `entropy ${token.h} nats`, `p1 ${token.m}`, `log q ${token.q}`,
      token.x ? "explored: drawn from LED's e" : "not explored",
      token.j === null ? "LED does not act here" : `LED explores with probability ${token.c}, with layers down to ${token.j}`];
    this.layers.replaceChildren(
      node("div", { class: "row" }, node("b", {}, visible(this.text(token.t)), ""), node("span", { class: "soft" }, `${this.content.arms[view.arm]}: ${facts.filter(Boolean).join(", ")}`)),
      token.l ? node("div", { class: "tables" }, this.table(view, token), this.choices(token)) : node("p", { class: "missing" }, "No table of layers was kept for this token: the final layer was sure, and the file is bounded."));
    this.layers.dataset.stop = token.j === null ? "" : String(token.j);
  }

  table(view, token) {
    const rows = token.l.map((layer, index) => ({ layer, number: index + 1 })).reverse();
    const top = Math.max(...token.l.map((layer) => layer.length / 2));
    return node("div", {}, node("div", { class: "scroll" }, node("table", {},
      node("thead", {}, node("tr", {}, node("th", { class: "text" }, "layer"), node("th", {}, "nats"),
        ...Array.from({ length: top }, (_, rank) => node("th", { class: "text" }, rank ? `${rank + 1}` : "most probable")))),
      node("tbody", {}, ...rows.map(({ layer, number }) => {
        const depth = view.window.indexOf(number);
        const stop = number === token.j;
        const row = node("tr", { class: [depth >= 0 ? "in-window" : "", stop ? "stop" : ""].filter(Boolean).join(" "), "data-layer": String(number) },
          node("td", { class: "text" }, stop ? `${number}  j*` : String(number)),
          node("td", {}, token.n[number - 1].toPrecision(3)));
        for (let rank = 0; rank < layer.length / 2; rank++) {
          const [text, p] = [layer[2 * rank], layer[2 * rank + 1]];
          row.append(node("td", { class: text === token.t ? "top drawn" : "top" }, visible(this.text(text)), node("span", { class: "ci" }, ` ${p < 0.001 ? "<0.001" : p.toPrecision(2)}`),
            node("span", { class: "cell-bar", css: { width: `${100 * p}%` } })));
        }
        return row;
      })))),
      node("p", { class: "note" }, `Shaded: the layers LED draws on. j*: LED adds up the layers from the last one down to this one, where the sum over its top ${this.content.support} tokens is the most undecided. Probabilities at T = ${this.content.temperature}, read ${this.content.final_norm ? "through" : "without"} the final norm; nats: the layer's entropy. Underlined: the token that was drawn.`));
  }

  choices(token) {
    const rows = [];
    for (let at = 0; at < token.s.length; at += 4) rows.push(token.s.slice(at, at + 4));
    return node("div", { class: "choices" }, node("div", { class: "scroll" }, node("table", {},
      node("thead", {}, node("tr", {}, ...["LED's choices", "final layer", "exploring", "LED"].map((name, column) => node("th", { class: column ? "" : "text" }, name)))),
      node("tbody", {}, ...rows.map(([text, ...shares]) => node("tr", {},
        node("td", { class: text === token.t ? "top drawn" : "top" }, visible(this.text(text))),
        ...shares.map((share) => node("td", {}, share < 0.0005 ? "<0.001" : share.toFixed(3)))))))),
      node("p", { class: "note" }, "Shares among LED's top tokens: exploit (the final layer), explore, and the mixture that LED draws from."));
  }

  jump(kind) {
    if (kind === "first") return this.first >= 0 && this.focus(this.side_at, Math.min(this.first, this.buttons[this.side_at].length - 1));
    const places = this.shown.flatMap((view, side) => view.tokens.map((token, at) => ({ side, at, token }))).filter((one) => one.token.x);
    const next = places.find((one) => one.side > this.side_at || (one.side === this.side_at && one.at > this.token_at)) || places[0];
    if (next) this.focus(next.side, next.at);
  }

  focus(side, at) {
    const button = this.buttons[side] && this.buttons[side][at];
    if (button) { button.focus(); this.show(side, at); }
  }

  key(event) {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = { ArrowRight: () => this.focus(this.side_at, this.token_at + 1), ArrowLeft: () => this.focus(this.side_at, this.token_at - 1),
      o: () => this.focus(1 - this.side_at, Math.min(this.token_at, (this.buttons[1 - this.side_at] || []).length - 1)),
      d: () => this.jump("first"), e: () => this.jump("x"), n: () => this.go(this.problem + 1), p: () => this.go(this.problem - 1) }[event.key];
    if (!move) return;
    event.preventDefault();
    move();
    if (event.key === "n" || event.key === "p") this.focus(this.side_at, this.token_at);
  }
}

const visible = (text) => text.replace(/\n/g, "\u23ce").replace(/^ +| +$/g, (spaces) => "\u00b7".repeat(spaces.length)) || "\u00b7";
