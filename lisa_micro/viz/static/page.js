/* A page with one viewer: in a frame of a notebook's output, or alone. The data are in the element `lm-view`. */
(() => {
  "use strict";
  const { Stage, el, layerControls, zoomButtons } = window.lisaMicro.parts;
  const view = JSON.parse(document.getElementById("lm-view").textContent);
  const root = document.querySelector(".lm-mount");

  const stage = new Stage({ modestWheel: true, onPick: (target) => stage.select(target) });
  stage.canvas.setAttribute("aria-label", `Micrograph ${view.name}`);
  const controls = layerControls(stage);
  const title = el("div", { class: "lm-title" }, el("div", { class: "lm-name", title: view.name }, view.name), el("div", { class: "lm-facts" }, view.facts));
  const hint = el("div", { class: "lm-imagenotes" }, "Click the image, then zoom with the wheel and drag; a double click shows all of it. Point at an instance to see its number and size.");
  root.append(el("div", { class: "lm-row lm-viewtop" }, title, zoomButtons(stage)), stage.root, controls.root, hint);

  /* In a frame: as high as the content; the still picture in front of it, for where scripts do not run, goes. */
  const frame = window.frameElement;
  const fit = () => { frame.style.height = `${Math.ceil(root.getBoundingClientRect().height) + 4}px`; };
  stage.show(view.image, view.layers).then(() => {
    controls.draw();
    root.dataset.ready = "true";
    if (!frame) return;
    new ResizeObserver(fit).observe(root);
    fit();
    const still = frame.previousElementSibling;
    if (still) still.style.display = "none";
  });
})();
