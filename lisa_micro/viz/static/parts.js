/* Building blocks of pages: elements, icons, buttons. Text is always set as text, never as HTML. */
(() => {
  "use strict";
  if (window.lisaMicro) return;

  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "style") Object.assign(node.style, value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    for (const child of children.flat()) if (child != null && child !== false) node.append(child);
    return node;
  };
  const icons = {
    plus: "M12 5v14M5 12h14", minus: "M5 12h14", fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
    eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7-10-7-10-7zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
    hidden: "M3 3l18 18M10 6.2A10 10 0 0 1 12 6c6 0 10 6 10 6a18 18 0 0 1-3 3.4M6 7.6A18 18 0 0 0 2 12s4 6 10 6a10 10 0 0 0 3.4-.6",
    ruler: "M3 15V9h18v6zM7 9v3M11 9v3M15 9v3M19 9v3",
    plot: "M4 20h16M7 20v-6M12 20V6M17 20v-9",
    upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4", trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13", back: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  };
  const icon = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", "lm-icon");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", icons[name]);
    svg.append(path);
    return svg;
  };
  const iconButton = (name, title, onclick) =>
    el("button", { class: "lm-button lm-square", type: "button", title, "aria-label": title, onclick }, icon(name));

  window.lisaMicro = { parts: { el, icon, iconButton }, kinds: {} };
})();
