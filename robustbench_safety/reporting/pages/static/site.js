"use strict";
// The script of every page. Without it all tables can be read; with it they can be sorted and filtered.
(function () {
  const root = document.documentElement;
  const store = {
    // A browser may forbid storage, most of all for pages opened from a disk.
    get() { try { return localStorage.getItem("rbs-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("rbs-theme", value); } catch { /* the choice then ends with the page */ } },
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

  document.addEventListener("DOMContentLoaded", themeButton);
})();
