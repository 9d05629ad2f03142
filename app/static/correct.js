/* The page Correct: choose, remove, merge, split and add instances. */
(() => {
  "use strict";
  const { Stage, el, icon, iconButton, on, tell, zoomButtons } = window.lisaMicro.parts;
  const kinds = window.lisaMicro.kinds;
  const TOOLS = [
    ["choose", "Select", "Click an instance to select it; hold Shift to select several. Delete removes the selected instances."],
    ["box", "Add by box", "Drag a box around a missing object."],
    ["points", "Add by points", "Click on a missing object; Alt+click marks what is not part of it. Enter adds the object."],
    ["cut", "Cut", "Drag a line across an instance to split it there."],
  ];

  /* The stage with selected instances, points and a cut line. */
  class CorrectStage extends Stage {
    listen() {
      const canvas = this.canvas;
      const claim = (event) => event.stopImmediatePropagation();
      let from = null;
      canvas.addEventListener("pointerdown", (event) => {
        if (!this.info || event.button !== 0 || !["points", "cut"].includes(this.tool)) return;
        claim(event);
        if (this.locked) return;
        canvas.focus({ preventScroll: true });
        canvas.setPointerCapture(event.pointerId);
        const place = this.place(event);
        const point = this.toMicrograph(place.x, place.y);
        if (this.tool === "points") this.onPoint(point, event.altKey || event.ctrlKey ? 0 : 1);
        else [from, this.cut] = [point, [point, point]];
        this.draw();
      }, true);
      canvas.addEventListener("pointermove", (event) => {
        if (!["points", "cut"].includes(this.tool)) return;
        claim(event);
        canvas.style.cursor = "crosshair";
        this.tip.hidden = true;
        if (!from) return;
        const place = this.place(event);
        this.cut = [from, this.toMicrograph(place.x, place.y)];
        this.draw();
      }, true);
      const end = (event) => {
        if (!["points", "cut"].includes(this.tool)) return;
        claim(event);
        const [cut, done] = [this.cut, event.type === "pointerup"];
        [from, this.cut] = [null, null];
        if (done && cut && Math.hypot(cut[1][0] - cut[0][0], cut[1][1] - cut[0][1]) >= 2) this.onCut(cut);
        this.draw();
      };
      canvas.addEventListener("pointerup", end, true);
      canvas.addEventListener("pointercancel", end, true);
      canvas.addEventListener("dblclick", (event) => { if (this.tool !== "choose") claim(event); }, true);
      /* remembered for the click handler: whether Shift was held */
      canvas.addEventListener("pointerdown", (event) => { this.more = event.shiftKey || event.ctrlKey || event.metaKey; }, true);
      super.listen();
    }
    highlightAll(labels) {
      const layer = this.layers[0];
      this.chosen = !layer ? [] : labels.filter((label) => layer.boxes[label]).map((label) => {
        const k = this.info.shown[0] / this.info.width, box = layer.boxes[label];
        const [x0, y0] = [Math.max(0, Math.floor(box[0] * k) - 3), Math.max(0, Math.floor(box[1] * k) - 3)];
        const x1 = Math.min(this.info.shown[0], Math.ceil(box[2] * k) + 3), y1 = Math.min(this.info.shown[1], Math.ceil(box[3] * k) + 3);
        return { x0, y0, canvas: this.highlight(layer, label, x0, y0, x1, y1) };
      });
      this.draw();
    }
    drawNow() {
      super.drawNow();
      if (!this.picture || !this.canvas.width) return;
      const context = this.canvas.getContext("2d");
      context.setTransform(this.scale, 0, 0, this.scale, this.x, this.y);
      for (const item of this.chosen || []) context.drawImage(item.canvas, item.x0, item.y0);
      const thin = this.ratio / this.scale;
      for (const { point, inside } of this.points || []) {
        const [x, y] = this.toShown(point);
        context.beginPath();
        context.arc(x, y, 6 * thin, 0, 2 * Math.PI);
        context.fillStyle = inside ? "#18a558" : "#d92d20";
        context.fill();
        context.lineWidth = 2 * thin;
        context.strokeStyle = "#fff";
        context.stroke();
        context.beginPath();
        context.moveTo(x - 3 * thin, y);
        context.lineTo(x + 3 * thin, y);
        if (inside) { context.moveTo(x, y - 3 * thin); context.lineTo(x, y + 3 * thin); }
        context.stroke();
      }
      if (this.cut) {
        const [[x0, y0], [x1, y1]] = this.cut.map((point) => this.toShown(point));
        for (const [width, colour] of [[5, "rgba(0,0,0,.55)"], [2.5, "#ffd23f"]]) {
          context.beginPath();
          context.moveTo(x0, y0);
          context.lineTo(x1, y1);
          context.lineWidth = width * thin;
          context.lineCap = "round";
          context.strokeStyle = colour;
          context.stroke();
        }
      }
    }
  }

  kinds.correct = (root, trigger) => {
    let view = null, chosen = [], tool = "choose";
    const stage = new CorrectStage({ onPick: (target) => pick(target) });
    stage.tool = tool;
    stage.points = [];
    const rounded = (point) => point.map((v) => Math.round(10 * v) / 10);
    const act = (action) => {
      if (!view || view.pending) return;
      lock(true);
      trigger("act", action);
    };
    const lock = (on_) => {
      stage.locked = on_;
      root.dataset.busy = String(on_);
      refresh();
    };

    const choose = (labels) => {
      chosen = labels;
      stage.highlightAll(labels);
      root.dataset.chosen = labels.join(",");
      refresh();
      const last = labels[labels.length - 1];
      tell("select", last && view && view.layer ? { layer: view.layer.id, label: last } : null, "correct");
    };
    const pick = (target) => {
      if (!target) return stage.more ? null : choose([]);
      if (!stage.more) return choose(chosen.length === 1 && chosen[0] === target.label ? [] : [target.label]);
      return choose(chosen.includes(target.label) ? chosen.filter((k) => k !== target.label) : [...chosen, target.label]);
    };
    on("select", (target, from) => {
      if (from !== "table" || !view || !view.layer || !target || target.layer !== view.layer.id) return;
      choose([target.label]);
      const box = view.layer.boxes[target.label], k = stage.info.shown[0] / stage.info.width;
      if (box) stage.bringIntoView(...box.map((v) => v * k));
      stage.draw();
    });

    stage.onPoint = (point, inside) => { stage.points.push({ point: rounded(point), inside }); refresh(); };
    stage.onCut = (cut) => act({ action: "split", line: cut.map(rounded), ...(chosen.length === 1 ? { instance: chosen[0] } : {}) });
    const boxed = () => {
      const box = stage.boxes.pop();
      stage.boxes = [];
      stage.activeBox = undefined;
      if (box && !stage.locked) {
        stage.boxes = [box]; /* visible until the answer arrives */
        act({ action: "add", box: rounded(box) });
      }
    };
    const addPoints = () => {
      if (stage.points.length) act({ action: "add", points: stage.points.map((p) => p.point), point_labels: stage.points.map((p) => p.inside) });
    };
    const clearPoints = () => { stage.points = []; stage.draw(); refresh(); };

    const setTool = (name) => {
      tool = stage.tool = name;
      stage.onBoxes = name === "box" ? boxed : null;
      stage.canvas.style.cursor = name === "choose" ? "default" : "crosshair";
      stage.points = [];
      stage.boxes = [];
      toolButtons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.tool === name)));
      hint.textContent = TOOLS.find(([key]) => key === name)[2];
      stage.draw();
      refresh();
    };
    const toolButtons = TOOLS.map(([name, text, title]) => el("button", { class: "lm-button", type: "button", "data-tool": name, title, "aria-pressed": String(name === "choose"), onclick: () => setTool(name) }, text));
    const button = (text, title, onclick, name) => el("button", { class: "lm-button", type: "button", title, onclick, "data-do": name }, text);
    const remove = button("Remove", "Remove the selected instances (Delete)", () => act({ action: "remove", instances: chosen }), "remove");
    const merge = button("Merge", "Merge the selected instances into one", () => act({ action: "merge", instances: chosen }), "merge");
    const split = button("Split by shape", "Split the selected instance at its narrowest place", () => act({ action: "split", instance: chosen[0] }), "split");
    const add = button("Add", "Add the object marked by the points (Enter)", addPoints, "add");
    const forget = button("Clear points", "Remove the points (Escape)", clearPoints, "forget");
    const undo = iconButton("back", "Undo (Ctrl+Z)", () => trigger("step", { way: "undo" }));
    const redo = iconButton("back", "Redo (Ctrl+Y)", () => trigger("step", { way: "redo" }));
    redo.classList.add("lm-mirrored");
    undo.dataset.do = "undo";
    redo.dataset.do = "redo";
    const stop = button("Stop", "Cancel the segmentation", () => trigger("stop", {}), "stop");
    const working = el("div", { class: "lm-nothing", role: "status", hidden: true });
    stage.root.append(working);

    const name = el("div", { class: "lm-name" });
    const facts = el("div", { class: "lm-facts" });
    const layers = el("div", { class: "lm-legend" });
    const hint = el("div", { class: "lm-imagenotes" }, TOOLS[0][2]);
    const message = el("div", { class: "lm-message lm-bad", role: "alert", hidden: true });
    const opacity = el("input", { type: "range", min: "0.05", max: "1", step: "0.05", value: "0.45", "aria-label": "Opacity of the masks", oninput: (event) => { stage.opacity = Number(event.target.value); stage.repaint(); } });
    const top = el("div", { class: "lm-row lm-viewtop" }, el("div", { class: "lm-title" }, name, facts), el("div", { class: "lm-group" }, undo, redo), zoomButtons(stage));
    const bar = el("div", { class: "lm-row lm-tools" }, el("div", { class: "lm-group lm-joined", role: "group", "aria-label": "Tools" }, toolButtons), el("div", { class: "lm-group" }, remove, merge, split, add, forget, stop));
    const full = el("div", { hidden: true }, top, bar, hint, message, stage.root, el("div", { class: "lm-row lm-display" }, layers, el("label", { class: "lm-opacity" }, "Opacity", opacity)));
    const blank = el("div", { class: "lm-blank" });
    root.append(blank, full);

    root.addEventListener("keydown", (event) => {
      const key = event.key.toLowerCase();
      if (event.target.tagName === "INPUT") return;
      if ((event.key === "Delete" || event.key === "Backspace") && chosen.length) act({ action: "remove", instances: chosen });
      else if (event.key === "Enter" && event.target === stage.canvas && stage.points.length) addPoints();
      else if (event.key === "Escape") { clearPoints(); choose([]); }
      else if ((event.ctrlKey || event.metaKey) && key === "z" && !event.shiftKey && !undo.disabled) trigger("step", { way: "undo" });
      else if ((event.ctrlKey || event.metaKey) && (key === "y" || (key === "z" && event.shiftKey)) && !redo.disabled) trigger("step", { way: "redo" });
      else return;
      event.preventDefault();
      event.stopPropagation();
    }, true);

    const refresh = () => {
      const [marking, free] = [tool === "points", !stage.locked];
      [remove, merge, split].forEach((b) => { b.hidden = marking; });
      [add, forget].forEach((b) => { b.hidden = !marking; });
      stop.hidden = !(view && view.pending);
      remove.disabled = !free || !chosen.length;
      merge.disabled = !free || chosen.length < 2;
      split.disabled = !free || chosen.length !== 1;
      add.disabled = !free || !stage.points.length;
      forget.disabled = !stage.points.length;
      undo.disabled = !free || !(view && view.undo);
      redo.disabled = !free || !(view && view.redo);
    };

    return async (value) => {
      const before = view;
      view = value;
      blank.hidden = Boolean(value.image);
      full.hidden = !value.image;
      blank.textContent = value.open ? "Segment something on the page “Chat”; then correct it here." : "Open a micrograph on the page “Chat” and segment something; then correct it here.";
      message.textContent = value.notice;
      message.hidden = !value.notice;
      working.hidden = !value.pending;
      working.textContent = value.pending ? `${value.pending.stage} … ${value.pending.seconds} s` : "";
      if (!value.image) return;
      name.textContent = value.name;
      name.title = value.name;
      facts.textContent = `${value.layer.count} ${value.layer.phrase} · “${value.prompt}”`;
      stage.canvas.setAttribute("aria-label", `Micrograph ${value.name} with ${value.layer.count} instances to correct`);
      layers.replaceChildren(...(value.layers.length < 2 ? [] : value.layers.map((layer) => el("button", { class: `lm-button lm-layerbutton${layer.current ? " lm-current" : ""}`, type: "button", "data-layer": layer.layer, "aria-pressed": String(layer.current), onclick: () => { if (!layer.current) trigger("layer", { layer: layer.layer }); } }, el("i", { class: "lm-dot", style: { background: layer.colour } }), layer.phrase))));
      if (!value.pending) {
        stage.points = [];
        stage.boxes = [];
        stage.activeBox = undefined;
        lock(false);
      }
      refresh();
      if (before && before.layer && before.layer.id === value.layer.id && !value.notice && value.pending) return;
      try {
        await stage.show(value.image, [value.layer]);
      } catch (error) {
        message.textContent = error.message;
        message.hidden = false;
      }
      if (view !== value) return;
      choose(chosen.filter((label) => value.layer.boxes[label]));
      root.dataset.count = String(value.layer.count);
      root.dataset.layer = value.layer.id;
    };
  };

  kinds.steps = (root, trigger) => {
    const title = el("h2", { class: "lm-sectiontitle" }, "Steps");
    const state = el("span", { class: "lm-pill" });
    const list = el("ol", { class: "lm-steps" });
    const note = el("div", { class: "lm-message", role: "status", hidden: true });
    const reset = el("button", { class: "lm-button", type: "button", title: "Back to the model's segmentation; redo restores the steps", onclick: () => trigger("step", { way: "reset" }) }, icon("trash"), "Start over");
    root.append(el("div", { class: "lm-row lm-stepshead" }, title, state, reset), list, note);
    return (value) => {
      const steps = value.steps || [];
      root.hidden = !value.image;
      reset.hidden = !steps.length;
      state.hidden = !value.image;
      state.textContent = value.accepted ? "Accepted" : steps.length ? "Not accepted yet" : "As segmented by the model";
      state.className = `lm-pill${value.accepted ? " lm-ready" : steps.length ? " lm-loading" : ""}`;
      list.start = (value.earlier || 0) + 1;
      list.replaceChildren(...(steps.length ? steps.map((text) => el("li", {}, text)) : [el("li", { class: "lm-nosteps" }, "No changes. Accept the segmentation if it is correct.")]));
      list.scrollTop = list.scrollHeight;
      note.textContent = value.message || "";
      note.hidden = !value.message;
    };
  };

  kinds.correctmeasures = kinds.measures;
})();
