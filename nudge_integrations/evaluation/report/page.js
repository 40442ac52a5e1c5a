"use strict";
(() => {
  const ROWS = matchMedia("(max-width: 46rem)").matches ? 10 : 25;
  const root = document.documentElement;

  // Storage is refused to some pages (opened from a file, private windows); the theme is then not remembered.
  const remembered = () => {
    try { return localStorage.getItem("nudge-report-theme"); } catch { return null; }
  };
  const remember = (theme) => {
    try { localStorage.setItem("nudge-report-theme", theme); } catch { return; }
  };
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();

  function wireTheme() {
    const button = document.getElementById("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const name = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember(root.dataset.theme);
      name();
    });
    system.addEventListener("change", name);
    button.hidden = false;
    name();
  }

  const percent = (value) => value.toFixed(1);
  const points = (value) => {
    const size = Math.abs(value).toFixed(1);
    return size === "0.0" ? size : (value > 0 ? "+" : "\u2212") + size;
  };
  const rank = (row, value) => (row.document === null ? "" : value === null ? "not found" : value.toLocaleString("en"));
  const colour = (row) => ({ 1: "gain-text", "-1": "loss-text" })[row.outcome];

  function readRows(rows) {
    return rows.map(([text, id, document, old, now, before, after, change, outcome, opened]) => ({
      text, id, document, old, new: now, before, after, change, outcome, opened,
      searched: `${text}\n${id}\n${document ?? ""}`.toLowerCase(),
    }));
  }

  function make(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function drawTops([old, now, relevant], documents) {
    const item = (number) => {
      const [id, text] = documents[number];
      const good = relevant.includes(number);
      return make("li", {}, good ? make("strong", {}, id) : id, ...(good ? [make("em", {}, " relevant")] : []), ...(text ? [make("small", {}, text)] : []));
    };
    const lists = [["Before", old], ["After", now]].map(([title, top]) => make("div", {}, make("h4", {}, title), make("ol", {}, ...top.map(item))));
    return make("div", { class: "tops" }, ...lists);
  }

  function drawRow(row, columns, documents) {
    const where = `query ${row.id}` + (row.document === null ? "" : `, document ${row.document}`);
    const names = [row.text, make("small", {}, where)];
    const inside = row.opened.length ? [make("details", {}, make("summary", {}, ...names), drawTops(row.opened, documents))] : names;
    const head = make("th", { scope: "row", role: "rowheader" }, ...inside);
    const figures = [rank(row, row.old), rank(row, row.new), percent(row.before), percent(row.after), points(row.change)];
    const cells = figures.map((figure, index) => make("td", { role: "cell", "data-label": columns[index + 1] }, figure));
    if (row.outcome) cells.at(-1).className = colour(row);
    return make("tr", { role: "row" }, head, ...cells);
  }

  // What is not known goes last, whichever way the rest is sorted.
  function byKey(key, sign) {
    return (one, other) => {
      if (one[key] === null || other[key] === null) return (one[key] === null) - (other[key] === null);
      const order = key === "text" ? one.text.localeCompare(other.text) : one[key] - other[key];
      return sign * order;
    };
  }

  function wireTable() {
    const table = document.getElementById("query-table");
    const { columns, rows, documents } = JSON.parse(document.getElementById("query-data").textContent);
    const [search, outcome, shown, previous, next] = ["search", "outcome", "shown", "previous", "next"].map((id) => document.getElementById(id));
    const heads = [...table.tHead.rows[0].cells];
    const all = readRows(rows);
    let found = all;
    let page = 0;

    function draw() {
      const first = page * ROWS;
      const here = found.slice(first, first + ROWS);
      table.tBodies[0].replaceChildren(...here.map((row) => drawRow(row, columns, documents)));
      previous.disabled = page === 0;
      next.disabled = first + ROWS >= found.length;
      const range = here.length ? `${first + 1}\u2013${first + here.length} of ` : "";
      shown.textContent = `${range}${found.length.toLocaleString("en")} queries`;
    }
    function turn(to) { page = to; draw(); }
    function filter() {
      const words = search.value.toLowerCase().split(/\s+/);
      const fits = (row) => outcome.value === "all" || row.outcome === Number(outcome.value);
      found = all.filter((row) => fits(row) && words.every((word) => row.searched.includes(word)));
      turn(0);
    }
    function sort(head) {
      const upwards = head.getAttribute("aria-sort") === "descending" || (head.getAttribute("aria-sort") === "none" && head.dataset.key === "text");
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
      all.sort(byKey(head.dataset.key, upwards ? 1 : -1));
      filter();
    }

    for (const head of heads) {
      const button = make("button", { type: "button" }, head.textContent);
      button.addEventListener("click", () => sort(head));
      head.replaceChildren(button);
    }
    search.addEventListener("input", filter);
    outcome.addEventListener("change", filter);
    previous.addEventListener("click", () => turn(page - 1));
    next.addEventListener("click", () => turn(page + 1));
    for (const part of document.querySelectorAll(".controls, .pager")) part.hidden = false;
    draw();
  }

  document.addEventListener("DOMContentLoaded", () => { wireTheme(); wireTable(); });
})();
