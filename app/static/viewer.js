/* The micrograph with its masks, and the micrograph to draw boxes on. */
(() => {
  "use strict";
  const { Stage, el, icon, iconButton, layerControls, on, scaleBarPanel, tell, send, zoomButtons } = window.lisaMicro.parts;

  /* A place to drop or choose a file; triggers `event` with the key of the upload. */
  const fileInput = (trigger, event, kind, { accept, say }) => {
    const state = { upload: null };
    const input = el("input", { type: "file", class: "lm-file", accept: accept || null, "data-kind": kind });
    const take = async (file) => {
      if (!file || !state.upload) return;
      say(`Sending ${file.name} ...`, false);
      try {
        const key = await send(file, kind, state.upload, (share) => say(`Sending ${file.name}: ${Math.round(100 * share)} %`, false));
        say(`Reading ${file.name} ...`, false);
        trigger(event, { key });
      } catch (error) {
        say(error.message, true);
      }
      input.value = "";
    };
    input.addEventListener("change", () => take(input.files[0]));
    state.input = input;
    state.open = () => input.click();
    state.over = (node) => {
      node.addEventListener("dragover", (e) => { e.preventDefault(); node.classList.add("lm-dropping"); });
      node.addEventListener("dragleave", () => node.classList.remove("lm-dropping"));
      node.addEventListener("drop", (e) => {
        e.preventDefault();
        node.classList.remove("lm-dropping");
        take(e.dataTransfer.files[0]);
      });
    };
    return state;
  };

  Object.assign(window.lisaMicro.parts, { fileInput });

  window.lisaMicro.kinds.viewer = (root, trigger) => {
    const hidden = new Set();
    let view = null;
    const stage = new Stage({
      onPick: (target) => { stage.select(target); tell("select", target, "stage"); },
      onRuler: (problem) => bar.marked(problem),
    });
    const bar = scaleBarPanel(stage, (change) => trigger("scalebar", change));
    on("select", (target, from) => {
      if (from === "stage") return;
      stage.select(target, true);
      const box = stage.root.getBoundingClientRect();
      /* in a narrow window the table is below the image */
      if (box.bottom < 120 || box.top > window.innerHeight - 120) stage.root.scrollIntoView({ block: "center", behavior: "smooth" });
    });

    const message = el("div", { class: "lm-message", role: "status", hidden: true });
    const say = (text, bad) => {
      message.textContent = text;
      message.hidden = !text;
      message.classList.toggle("lm-bad", Boolean(bad));
    };
    const files = fileInput(trigger, "uploaded", "image", { say });
    files.over(root);

    const name = el("div", { class: "lm-name" });
    const facts = el("div", { class: "lm-facts" });
    const notes = el("div", { class: "lm-imagenotes" });
    const thumbs = el("div", { class: "lm-thumbs" });
    const add = el("button", { class: "lm-button", type: "button", onclick: () => files.open() }, icon("upload"), "Open a file");
    const top = el("div", { class: "lm-row lm-viewtop" }, el("div", { class: "lm-title" }, name, facts), el("div", { class: "lm-group" }, bar.button, add), zoomButtons(stage));
    const nothing = el("div", { class: "lm-nothing", hidden: true });
    stage.root.append(nothing);

    const controls = layerControls(stage, {
      onShow: (layer) => hidden[layer.visible ? "delete" : "add"](layer.id),
      onColour: (layer, number, done) => {
        const change = { turn: view.turn, layer: number, colour: layer.colour };
        if (done) trigger("recolour", change);
        else tell("colour", change);
      },
    });

    const samples = el("div", { class: "lm-samples" });
    const drop = el("button", { class: "lm-drop", type: "button", onclick: () => files.open() }, icon("upload"),
      el("b", {}, "Drop a micrograph here, or click to choose a file"),
      el("span", {}, "TIFF, PNG, JPEG, MRC, DM3, DM4, EMD, SER. Files stay in this app and are removed when you close the page."));
    const empty = el("div", { class: "lm-empty" }, drop, el("div", { class: "lm-or" }, "or try a sample"), samples);
    const full = el("div", { class: "lm-full", hidden: true }, top, bar.root, stage.root, controls.root, notes);
    const strip = el("div", { class: "lm-strip", hidden: true }, thumbs);
    root.append(message, empty, full, strip, files.input);

    const sampleCard = (sample) => el("button", { class: "lm-sample", type: "button", "data-sample": sample.name, onclick: () => trigger("sample", { name: sample.name }) },
      el("img", { src: `/lisa/sample/${encodeURIComponent(sample.name)}.png`, alt: "", loading: "lazy" }), el("span", {}, sample.title));

    return async (value) => {
      view = value;
      files.upload = value.upload;
      say(value.notice || "", Boolean(value.notice));
      const open = Boolean(value.image);
      empty.hidden = open;
      full.hidden = !open;
      samples.replaceChildren(...value.samples.map(sampleCard));
      samples.previousSibling.hidden = !value.samples.length;
      strip.hidden = !open;
      const others = value.samples.filter((sample) => !value.pictures.some((p) => p.key === `sample-${sample.name}`));
      thumbs.replaceChildren(
        ...value.pictures.map((p) => el("button", { class: `lm-thumb${p.current ? " lm-current" : ""}`, type: "button", title: p.name, "data-key": p.key, onclick: () => trigger("choose", { key: p.key }) }, el("img", { src: p.thumb, alt: p.name }))),
        ...(others.length ? [el("span", { class: "lm-more" }, "Samples"), ...others.map((s) => el("button", { class: "lm-thumb lm-thumbsample", type: "button", title: s.title, "data-sample": s.name, onclick: () => trigger("sample", { name: s.name }) }, el("img", { src: `/lisa/sample/${encodeURIComponent(s.name)}.png`, alt: s.title })))] : []),
      );
      bar.show(value.bar, value.image && value.image.key, Boolean(value.notice));
      if (!open) return;
      name.textContent = value.name;
      name.title = value.name;
      facts.textContent = value.facts;
      notes.textContent = value.notes.join(" ");
      nothing.textContent = value.nothing;
      nothing.hidden = !value.nothing;
      stage.canvas.setAttribute("aria-label", `Micrograph ${value.name}`);
      try {
        await stage.show(value.image, value.layers.map((layer) => ({ ...layer, visible: !hidden.has(layer.id) })));
      } catch (error) {
        say(error.message, true);
      }
      controls.draw();
    };
  };

  window.lisaMicro.boxes = [];
  window.lisaMicro.kinds.boxes = (root) => {
    let view = null;
    const boxesChanged = () => {
      count.textContent = stage.boxes.length === 1 ? "1 box" : `${stage.boxes.length} boxes`;
      removeOne.disabled = stage.activeBox === undefined;
      removeAll.disabled = !stage.boxes.length;
      root.dataset.boxes = String(stage.boxes.length);
      /* read by the page when the comparison starts, so that no box is missing */
      window.lisaMicro.boxes = stage.boxes.map((box) => box.map((v) => Math.round(10 * v) / 10));
    };
    const stage = new Stage({ onBoxes: boxesChanged });
    const count = el("div", { class: "lm-facts" });
    const name = el("div", { class: "lm-name" });
    const removeOne = iconButton("back", "Remove the selected box", () => { stage.boxes.splice(stage.activeBox, 1); stage.activeBox = undefined; boxesChanged(); stage.draw(); });
    const removeAll = iconButton("trash", "Remove all boxes", () => { stage.boxes = []; stage.activeBox = undefined; boxesChanged(); stage.draw(); });
    const hint = el("div", { class: "lm-imagenotes" }, "Drag a box around each object. Click a box to select it; Delete removes it. The wheel zooms; Shift+drag pans.");
    const full = el("div", { class: "lm-full", hidden: true },
      el("div", { class: "lm-row lm-viewtop" }, el("div", { class: "lm-title" }, name, count), el("div", { class: "lm-group" }, removeOne, removeAll), zoomButtons(stage)), stage.root, hint);
    const empty = el("div", { class: "lm-blank" }, "Open a micrograph on the page “Chat” first.");
    root.append(empty, full);
    return async (value) => {
      const other = !value.image || !view || !view.image || view.image.key !== value.image.key || value.reset;
      view = value;
      empty.hidden = Boolean(value.image);
      full.hidden = !value.image;
      if (!value.image) return;
      name.textContent = value.name;
      if (other) {
        stage.boxes = [];
        stage.activeBox = undefined;
      }
      await stage.show(value.image, []);
      if (other) boxesChanged();
    };
  };

  window.lisaMicro.kinds.truth = (root, trigger) => {
    const text = el("span", { class: "lm-facts" });
    const say = (words, bad) => { text.textContent = words; text.classList.toggle("lm-badtext", Boolean(bad)); };
    const files = fileInput(trigger, "uploaded", "truth", { say });
    files.over(root);
    root.append(el("button", { class: "lm-button", type: "button", onclick: () => files.open() }, icon("upload"), "True labels (optional)"), text, files.input);
    root.classList.add("lm-truth");
    return (value) => {
      files.upload = value.upload;
      say(value.text || "", value.bad);
    };
  };
})();
