// A table whose headings sort it. A cell sorts by its data-value if it has one, else by its text.
function sortable(table) {
  table.querySelectorAll("thead th").forEach((heading, column) => {
    const button = node("button", { type: "button", class: "sort" }, ...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("thead th").forEach((one) => one.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...body.rows].map((row, place) => ({ row, place, value: value(row) }));
      const numbers = rows.every((one) => one.value === "" || !Number.isNaN(Number(one.value)));
      const order = (a, b) => (numbers ? (a.value === "" ? -Infinity : Number(a.value)) - (b.value === "" ? -Infinity : Number(b.value)) : a.value.localeCompare(b.value)) || a.place - b.place;
      rows.sort((a, b) => (descending ? -order(a, b) : order(a, b)));
      body.append(...rows.map((one) => one.row));
    });
  });
}
