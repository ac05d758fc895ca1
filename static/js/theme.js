// Before the first paint: without a choice of the user's own, the theme follows the system.
(() => {
  const root = document.documentElement;
  if (root.hasAttribute("data-theme-chosen")) return;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
  dark.addEventListener("change", follow);
  follow();
})();
