// What happens when the page opens.
document.documentElement.classList.add("live");
for (const spec of data("charts") || []) {
  const figure = document.getElementById(spec.name);
  if (figure) new Chart(figure, spec);
}
document.querySelectorAll("table.sortable").forEach(sortable);
const inspected = data("inspected");
if (inspected) new Inspector(document.getElementById("inspector"), inspected);
const sampled = data("sampled");
if (sampled) new Samples(document.getElementById("samples"), sampled);

const dark = matchMedia("(prefers-color-scheme: dark)");
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
});

// The contents list says where the reader is.
const places = new Map([...document.querySelectorAll("nav.contents a")].map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  places.forEach((link) => link.removeAttribute("aria-current"));
  const link = places.get(entry.target.id);
  if (link) link.setAttribute("aria-current", "true");
}), { rootMargin: "-10% 0px -80% 0px" });
document.querySelectorAll("main > section[id]").forEach((section) => seen.observe(section));
