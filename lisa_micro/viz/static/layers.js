/* Controls of a stage: zoom, and which masks are shown, how, and in which colour. */
(() => {
  "use strict";
  const { el, icon, iconButton } = window.lisaMicro.parts;

  const zoomButtons = (stage) => el("div", { class: "lm-group" },
    iconButton("plus", "Zoom in", () => stage.zoom(1.4)),
    iconButton("minus", "Zoom out", () => stage.zoom(1 / 1.4)),
    iconButton("fit", "Fit the whole image", () => stage.fit()));

  /* Legend, fill or outline, and opacity. `draw()` after the layers of the stage have changed; `onShow(layer)` and
     `onColour(layer, number, done)` tell what the user changed, `done` being false while a colour is dragged. */
  const layerControls = (stage, { onShow, onColour } = {}) => {
    const mode = (value, text) => el("button", { class: "lm-button", type: "button", "data-mode": value, onclick: () => {
      stage.mode = value;
      modes.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.mode === value));
      stage.repaint();
    }, "aria-pressed": String(value === "fill") }, text);
    const modes = el("div", { class: "lm-group lm-joined" }, mode("fill", "Fill"), mode("outline", "Outline"));
    const opacity = el("input", { type: "range", min: "0.05", max: "1", step: "0.05", value: "0.45", "aria-label": "Opacity of the masks", oninput: (event) => {
      stage.opacity = Number(event.target.value);
      stage.repaint();
    } });
    const legend = el("div", { class: "lm-legend" });
    const look = el("div", { class: "lm-group" }, modes, el("label", { class: "lm-opacity" }, "Opacity", opacity));
    const root = el("div", { class: "lm-row lm-display" }, legend, look);
    const draw = () => {
      legend.replaceChildren(...stage.layers.map((layer, k) => {
        const eye = el("button", { class: "lm-eye", type: "button", title: "Show or hide", "aria-label": `Show or hide ${layer.phrase}`, "aria-pressed": String(layer.visible), onclick: () => {
          layer.visible = !layer.visible;
          if (onShow) onShow(layer);
          draw();
          stage.draw();
        } }, icon(layer.visible ? "eye" : "hidden"));
        const colour = el("input", { type: "color", value: layer.colour, title: "Colour", "aria-label": `Colour of ${layer.phrase}`,
          oninput: (event) => { layer.colour = event.target.value; stage.paint(layer); stage.draw(); if (onColour) onColour(layer, k, false); },
          onchange: () => onColour && onColour(layer, k, true) });
        return el("span", { class: `lm-layer${layer.visible ? "" : " lm-off"}` }, colour, el("span", {}, `${layer.phrase} (${layer.count})`), eye);
      }));
      look.hidden = !stage.layers.length;
    };
    return { root, draw };
  };

  Object.assign(window.lisaMicro.parts, { zoomButtons, layerControls });
})();
