/* The page Find all like this: boxes around examples, some of them "not like this", and what was found. */
(() => {
  "use strict";
  const { Stage, el, icon, iconButton, on, fileInput, zoomButtons } = window.lisaMicro.parts;
  const kinds = window.lisaMicro.kinds;
  const COLOURS = { like: "#18a558", unlike: "#f08c00" };

  kinds.like = (root, trigger) => {
    let view = null, kind = "like", shownLayer = null;
    const rounded = (box) => box.map((v) => Math.round(10 * v) / 10);
    const changed = () => {
      stage.boxes.forEach((box) => { box.kind ||= kind; });
      const of = (name) => stage.boxes.filter((box) => box.kind === name).map(rounded);
      /* read by the page when the search starts, so that no box is missing */
      window.lisaMicro.examples = { like: of("like"), unlike: of("unlike") };
      const { like, unlike } = window.lisaMicro.examples;
      count.textContent = `${like.length} like this, ${unlike.length} not like this`;
      root.dataset.like = String(like.length);
      root.dataset.unlike = String(unlike.length);
      swap.disabled = removeOne.disabled = stage.activeBox === undefined;
      removeAll.disabled = !stage.boxes.length;
    };
    const stage = new Stage({ onBoxes: changed });
    stage.boxColour = (box) => COLOURS[box.kind || kind];
    const count = el("div", { class: "lm-facts" });
    const name = el("div", { class: "lm-name" });
    const setKind = (value) => {
      kind = value;
      kindButtons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.kind === value)));
    };
    const kindButtons = [["like", "Like this"], ["unlike", "Not like this"]].map(([value, text]) =>
      el("button", { class: "lm-button", type: "button", "data-kind": value, "aria-pressed": String(value === kind), title: `New boxes are “${text.toLowerCase()}”`, onclick: () => setKind(value) },
        el("i", { class: "lm-dot", style: { background: COLOURS[value] } }), text));
    const swap = el("button", { class: "lm-button", type: "button", title: "Make the selected box the other kind", onclick: () => {
      const box = stage.boxes[stage.activeBox];
      box.kind = box.kind === "like" ? "unlike" : "like";
      changed();
      stage.draw();
    } }, "Swap");
    const removeOne = iconButton("back", "Remove the selected box", () => { stage.boxes.splice(stage.activeBox, 1); stage.activeBox = undefined; changed(); stage.draw(); });
    const removeAll = iconButton("trash", "Remove all boxes", () => { stage.boxes = []; stage.activeBox = undefined; changed(); stage.draw(); });
    const masks = el("input", { type: "checkbox", checked: true, onchange: () => { stage.layers.forEach((layer) => { layer.visible = masks.checked; }); stage.draw(); } });
    const loaded = el("span", { class: "lm-facts" });
    const say = (words, bad) => { loaded.textContent = words; loaded.classList.toggle("lm-badtext", Boolean(bad)); };
    const files = fileInput(trigger, "uploaded", "exemplar", { accept: ".json,application/json", say });
    const forget = iconButton("trash", "Forget the loaded exemplar", () => trigger("unload", {}));
    const load = el("button", { class: "lm-button", type: "button", title: "An exemplar made on another micrograph", onclick: () => files.open() }, icon("upload"), "Load exemplar");
    const hint = el("div", { class: "lm-imagenotes" }, "Drag a box closely around one object; several boxes are better than one. Draw “not like this” around what was found by mistake, and find again. Click a box to select it; Delete removes it.");
    const full = el("div", { class: "lm-full", hidden: true },
      el("div", { class: "lm-row lm-viewtop" }, el("div", { class: "lm-title" }, name, count), el("div", { class: "lm-group" }, removeOne, removeAll), zoomButtons(stage)),
      el("div", { class: "lm-row lm-tools" }, el("div", { class: "lm-group lm-joined", role: "group", "aria-label": "Kind of new boxes" }, kindButtons), el("div", { class: "lm-group" }, swap, load, files.input, forget, loaded)),
      stage.root, hint, el("div", { class: "lm-row lm-display" }, el("label", {}, masks, " Show what was found")));
    const empty = el("div", { class: "lm-blank" }, "Open a micrograph on the page “Chat” first.");
    root.append(empty, full);
    on("select", (target, from) => {
      if (from !== "table" || !view || !view.layer || !target || target.layer !== view.layer.id) return;
      stage.select(target, true);
    });
    return async (value) => {
      const other = !value.image || !view || !view.image || view.image.key !== value.image.key;
      view = value;
      files.upload = value.upload;
      say(value.loaded, false);
      forget.hidden = !value.loaded;
      empty.hidden = Boolean(value.image);
      full.hidden = !value.image;
      if (!value.image) return;
      name.textContent = value.name;
      if (other) {
        stage.boxes = [];
        stage.activeBox = undefined;
        shownLayer = null;
      }
      const id = value.layer ? value.layer.id : "";
      if (other || id !== shownLayer) {
        await stage.show(value.image, value.layer ? [{ ...value.layer, visible: masks.checked }] : []);
        if (view !== value) return;
        shownLayer = id;
        root.dataset.count = value.layer ? String(value.layer.count) : "";
      }
      if (other) changed();
    };
  };

  kinds.likeoutcome = (root) => (value) => {
    const nodes = [];
    if (value.notice) nodes.push(el("div", { class: "lm-notice", role: "alert" }, value.notice));
    if (value.pending) nodes.push(el("div", { class: "lm-reply lm-working", role: "status" }, el("span", { class: "lm-dots" }, el("i"), el("i"), el("i")), el("span", {}, value.pending.stage), el("span", { class: "lm-meta" }, `${value.pending.seconds} s`)));
    else if (value.text) {
      nodes.push(el("p", { class: "lm-verdict" }, value.text));
      if (value.notes.length) nodes.push(el("ul", { class: "lm-notes" }, ...value.notes.map((note) => el("li", {}, note))));
    } else if (!value.notice) nodes.push(el("div", { class: "lm-blank lm-how" }, el("p", {}, "Draw a box around one object, and everything like it is found, also things that have no name here."), el("p", {}, "The exemplar can be downloaded and loaded for other micrographs, and serves the command line as --like.")));
    root.replaceChildren(...nodes);
  };

  kinds.likemeasures = kinds.measures;
})();
