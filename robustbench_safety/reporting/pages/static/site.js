"use strict";
// The script of every page. Without it all tables can be read; with it they can be sorted and filtered.
(function () {
  const root = document.documentElement;
  root.classList.add("js");

  const store = {
    // A browser may forbid storage, most of all for pages opened from a disk.
    get() { try { return localStorage.getItem("rbs-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("rbs-theme", value); } catch { /* the choice ends with the page */ } },
  };
  const chosen = store.get();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  function themeButton() {
    const button = document.getElementById("theme");
    if (!button) return;
    const prefersDark = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
    const show = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      store.set(root.dataset.theme);
      show();
    });
    prefersDark.addEventListener("change", show);
    show();
    button.hidden = false;
  }

  function suiteTable() {
    const table = document.getElementById("board");
    const controls = document.getElementById("controls");
    if (!table || !controls) return;
    const heads = [...table.tHead.rows[0].cells];
    const search = document.getElementById("search");
    const count = document.getElementById("count");
    const off = document.getElementById("columns-off");
    const boxes = (name) => [...controls.querySelectorAll(`input[name="${name}"]`)];
    // Ranked rows, the others, and papers' numbers are sorted each among themselves.
    const groups = [...table.tBodies].map((body) => ({
      body,
      label: body.querySelector("tr.group"),
      rows: [...body.querySelectorAll("tr[data-kind]")].map((row) => ({ row, kind: row.dataset.kind, words: null })),
    }));
    const total = groups.reduce((sum, group) => sum + group.rows.length, 0);
    const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

    function keyOf(row, index, isText) {
      const cell = row.cells[index];
      if (isText) return cell.firstChild.textContent;
      return cell.dataset.v ? Number(cell.dataset.v) : null;
    }

    function sort(index, descending) {
      const isText = "text" in heads[index].dataset;
      const sign = descending ? -1 : 1;
      const compare = isText ? collator.compare : (a, b) => a - b;
      for (const group of groups) {
        const keyed = group.rows.map((one) => ({ row: one.row, key: keyOf(one.row, index, isText) }));
        keyed.sort((a, b) => {
          if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
          return sign * compare(a.key, b.key);
        });
        // Moved while they are out of the page, the rows are laid out once and not at every step.
        const next = group.body.nextSibling;
        group.body.remove();
        group.body.append(...keyed.map((one) => one.row));
        table.insertBefore(group.body, next);
      }
      for (const head of heads) head.removeAttribute("aria-sort");
      heads[index].setAttribute("aria-sort", descending ? "descending" : "ascending");
    }

    function filter() {
      const kinds = new Set(boxes("kind").filter((box) => box.checked).map((box) => box.value));
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const group of groups) {
        let inGroup = 0;
        for (const one of group.rows) {
          if (words.length && one.words === null) one.words = one.row.cells[0].textContent.toLowerCase();
          const show = kinds.has(one.kind) && words.every((word) => one.words.includes(word));
          if (one.row.hidden === show) one.row.hidden = !show;
          inGroup += show;
        }
        if (group.label) group.label.hidden = inGroup === 0;
        shown += inGroup;
      }
      count.textContent = `${shown} of ${total} ${total === 1 ? "row" : "rows"} shown`;
    }

    function columns() {
      const hidden = new Set(boxes("column").filter((box) => !box.checked).map((box) => box.value));
      const selectors = heads
        .map((head, i) => (hidden.has(head.dataset.id) ? `.js .board tr:not(.group)>:nth-child(${i + 1})` : ""))
        .filter(Boolean);
      const shown = heads.length - 2 - hidden.size;
      off.textContent = `.js .board{--n:${shown}}${selectors.length ? `${selectors.join(",")}{display:none}` : ""}`;
    }

    // What was chosen stands in the address: a view can be sent to somebody, and going back restores it.
    function remember() {
      const state = new URLSearchParams();
      const sorted = heads.find((head) => head.hasAttribute("aria-sort"));
      if (sorted) state.set("sort", `${sorted.dataset.id}:${sorted.getAttribute("aria-sort")}`);
      if (search.value) state.set("search", search.value);
      for (const name of ["kind", "column"]) {
        const all = boxes(name);
        if (all.some((box) => box.checked !== box.defaultChecked)) {
          state.set(name, all.filter((box) => box.checked).map((box) => box.value).join(" "));
        }
      }
      try { history.replaceState(null, "", `#${state}`); } catch { /* too often, or forbidden: nothing is lost */ }
    }

    function recall() {
      if (!location.hash.includes("=")) return;
      const state = new URLSearchParams(location.hash.slice(1));
      search.value = (state.get("search") || "").slice(0, 200);
      for (const name of ["kind", "column"]) {
        if (!state.has(name)) continue;
        const wanted = new Set(state.get(name).split(" "));
        for (const box of boxes(name)) box.checked = wanted.has(box.value);
      }
      const [id, order] = (state.get("sort") || "").split(":");
      const index = heads.findIndex((head) => head.dataset.id === id);
      if (index >= 0) sort(index, order === "descending");
      columns();
    }

    heads.forEach((head, index) => {
      head.querySelector("button").addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        // The best first; once more, the worst first.
        sort(index, now ? now === "ascending" : head.dataset.better === "higher");
        remember();
      });
    });
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { filter(); remember(); }, 60);
    });
    controls.addEventListener("submit", (event) => event.preventDefault());
    controls.addEventListener("change", (event) => {
      if (event.target.name === "kind") filter();
      if (event.target.name === "column") columns();
      if (event.target !== search) remember();
    });
    if (matchMedia("(max-width: 40rem)").matches) document.getElementById("choices").open = false;
    recall();
    filter();
    controls.hidden = false;
  }

  document.addEventListener("DOMContentLoaded", () => { themeButton(); suiteTable(); });
})();
