// The sample browser: what models wrote, by checkpoint, arm, verdict and length.
class Samples {
  constructor(host, content) {
    this.content = content;
    this.chosen = { checkpoint: new Set([content.checkpoints[content.checkpoints.length - 1].value]),
      arm: new Set([content.arms[0].value]), verdict: new Set(["right", "wrong"]), length: new Set(["whole", "truncated"]) };
    const controls = [
      { name: "checkpoint", label: "Checkpoint", options: content.checkpoints, several: true },
      { name: "arm", label: "Arm", options: content.arms, several: true },
      { name: "verdict", label: "Answer", options: [{ value: "right", label: "right" }, { value: "wrong", label: "wrong" }], several: true },
      { name: "length", label: "Length", options: [{ value: "whole", label: "ended" }, { value: "truncated", label: "cut off by the budget" }], several: true },
    ];
    const rows = node("div", { class: "controls" });
    for (const control of controls) rows.append(choice(control, this.chosen[control.name], () => this.draw(true)));
    this.count = node("p", { class: "note", role: "status" });
    this.list = node("div");
    this.more = node("button", { type: "button", class: "small" }, "show more");
    this.more.addEventListener("click", () => { this.limit += 20; this.draw(false); });
    host.append(rows, this.count, this.list, this.more);
    this.draw(true);
  }

  draw(fresh) {
    if (fresh) this.limit = 8;
    const { problems, samples } = this.content;
    const found = samples.filter((one) => this.chosen.checkpoint.has(one.checkpoint) && this.chosen.arm.has(one.arm)
      && this.chosen.verdict.has(one.correct ? "right" : "wrong") && this.chosen.length.has(one.truncated ? "truncated" : "whole"));
    this.count.textContent = `${found.length} of the ${samples.length} samples on this page`;
    this.list.replaceChildren(...found.slice(0, this.limit).map((one) => {
      const asked = problems[one.problem] || {};
      return node("div", { class: "sample" },
        node("div", { class: "row" },
          node("span", { class: `verdict-tag ${one.correct ? "right" : "wrong"}` }, one.correct ? "right" : one.status),
          node("span", { class: "soft" }, `${this.name("checkpoints", one.checkpoint)}, ${this.name("arms", one.arm)}, T = ${one.temperature}, ${one.length} tokens${one.truncated ? ", cut off" : ""}`),
          one.answer === null ? null : node("span", { class: "soft" }, `answer: ${one.answer}`)),
        asked.question ? node("div", {}, node("b", {}, asked.question), asked.gold ? node("span", { class: "soft" }, `  gold: ${asked.gold}`) : null)
          : node("div", { class: "soft" }, `problem ${one.problem}`),
        node("pre", {}, one.text));
    }));
    this.more.hidden = found.length <= this.limit;
  }

  name(list, value) {
    const option = this.content[list].find((one) => one.value === value);
    return option ? option.label : value;
  }
}
