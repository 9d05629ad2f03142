/* The scale bar of a micrograph: mark its two ends, type its length, or say that there is none. */
(() => {
  "use strict";
  const { el, icon } = window.lisaMicro.parts;
  const HOW = "Click the two ends of the scale bar in the picture, or drag along it. An end can be dragged; the wheel zooms, Shift+drag pans.";

  /* `ask(change)` sends `{ action, ends, length }` to the app. */
  const scaleBarPanel = (stage, ask) => {
    let view = null, key = null, sent = false;
    const ends = () => (stage.ruler || []).flat().map((v) => Math.round(100 * v) / 100);
    const known = el("span", { class: "lm-facts" });
    const hint = el("div", { class: "lm-imagenotes" });
    const pixels = el("span", { class: "lm-facts lm-barpixels" });
    const length = el("input", { class: "lm-barlength", type: "text", maxlength: "60", placeholder: "20 nm", "aria-label": "Length of the scale bar with its unit" });
    const act = (action) => {
      sent = true;
      ask({ action, ends: ends(), length: length.value });
    };
    const button = (name, text, onclick, more = "") => el("button", { class: `lm-button ${more}`, type: "button", "data-bar": name, onclick }, text);
    const set = button("mark", "Set", () => act("mark"), "lm-barset");
    const again = button("read", "Read it again", () => act("read"));
    const open = el("button", { class: "lm-button", type: "button", "data-bar": "open", "aria-expanded": "false", title: "Correct the scale bar of the picture", onclick: () => (root.hidden ? begin() : end()) }, icon("ruler"), "Scale bar");
    const root = el("form", { class: "lm-barpanel", hidden: true, onsubmit: (event) => { event.preventDefault(); act("mark"); } },
      el("div", { class: "lm-row" }, el("b", {}, "Scale bar"), known),
      hint,
      el("div", { class: "lm-row" },
        el("label", { class: "lm-group" }, "Length", length), pixels,
        el("div", { class: "lm-group" }, set, button("none", "There is no scale bar here", () => act("none")), again, button("close", "Cancel", () => end()))));
    for (const place of [root, stage.root]) place.addEventListener("keydown", (event) => { if (event.key === "Escape" && !root.hidden) end(); });

    const marked = (problem) => {
      const line = stage.ruler || [];
      hint.textContent = problem === "outside" ? "This place is outside of the picture; click within it." : HOW;
      hint.classList.toggle("lm-badtext", problem === "outside");
      root.dataset.ends = String(line.length);
      const px = line.length === 2 ? Math.hypot(line[1][0] - line[0][0], line[1][1] - line[0][1]) : 0;
      pixels.textContent = line.length === 2 ? `= ${px.toFixed(1)} px` : line.length ? "one end marked" : "no end marked yet";
      set.disabled = line.length < 2;
    };
    const begin = () => {
      const line = view && view.ends;
      stage.measure(line ? [line.slice(0, 2), line.slice(2)] : []);
      length.value = view ? view.length : "";
      root.hidden = false;
      open.setAttribute("aria-expanded", "true");
      marked();
    };
    const end = () => {
      stage.measure(null);
      root.hidden = true;
      sent = false;
      open.setAttribute("aria-expanded", "false");
    };
    /* the bar of the open micrograph; what was marked stays for correction if the app refused it */
    const show = (bar, image, refused) => {
      view = bar;
      known.textContent = bar ? bar.told : "";
      again.hidden = !(bar && bar.changed);
      if (!root.hidden && (image !== key || (sent && !refused))) end();
      sent = false;
      key = image;
    };
    return { root, button: open, marked, show };
  };

  Object.assign(window.lisaMicro.parts, { scaleBarPanel });
})();
