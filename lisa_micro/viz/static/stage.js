/* The stage: a picture to zoom and pan, with masks drawn over it, or with boxes to draw. */
(() => {
  "use strict";
  const { el } = window.lisaMicro.parts;
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  const SHADES = [[0, 0], [255, 0.35], [0, 0.3], [255, 0.6]];
  const shade = (colour, k) => colour.map((v) => Math.round(v + (SHADES[k][0] - v) * SHADES[k][1]));

  const niceLength = (longest) => {
    const power = 10 ** Math.floor(Math.log10(longest));
    return [5, 2, 1].map((f) => f * power).find((v) => v <= longest * (1 + 1e-9));
  };
  const lengthWords = (nm) => {
    for (const [limit, factor, unit] of [[1, 1e3, "pm"], [1e3, 1, "nm"], [1e6, 1e-3, "µm"], [1e9, 1e-6, "mm"]])
      if (nm < limit * (1 - 1e-9)) return `${+(nm * factor).toPrecision(4)} ${unit}`;
    return `${+(nm * 1e-9).toPrecision(4)} m`;
  };

  const loadImage = (url) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The picture could not be fetched."));
    image.src = url;
  });
  const labelCache = new Map();
  const loadLabels = (url) => {
    if (!labelCache.has(url)) {
      if (labelCache.size > 24) labelCache.delete(labelCache.keys().next().value);
      labelCache.set(url, loadImage(url).then((image) => {
        const canvas = document.createElement("canvas");
        canvas.width = image.width;
        canvas.height = image.height;
        const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
        context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, image.width, image.height).data;
        const labels = new Int32Array(image.width * image.height);
        for (let k = 0; k < labels.length; k++) labels[k] = data[4 * k] + 256 * data[4 * k + 1] + 65536 * data[4 * k + 2];
        return labels;
      }));
      labelCache.get(url).catch(() => labelCache.delete(url));
    }
    return labelCache.get(url);
  };

  
  class Stage {
    /* `modestWheel`: the wheel zooms after a click on the image or with Ctrl, and scrolls the page otherwise */
    constructor({ onHover, onPick, onBoxes, onRuler, modestWheel } = {}) {
      Object.assign(this, { onHover, onPick, onBoxes, onRuler, modestWheel });
      this.ruler = null;
      this.canvas = el("canvas", { class: "lm-canvas", tabindex: "0", role: "img" });
      this.tip = el("div", { class: "lm-tip", hidden: true });
      this.bar = el("div", { class: "lm-scalebar", hidden: true }, el("span"), el("i"));
      this.root = el("div", { class: "lm-stage" }, this.canvas, this.tip, this.bar);
      this.layers = [];
      this.boxes = [];
      this.mode = "fill";
      this.opacity = 0.45;
      this.key = null;
      this.listen();
      new ResizeObserver(() => this.resize()).observe(this.root);
    }
    async show(image, layers) {
      const number = (this.number = (this.number || 0) + 1);
      const loading = Promise.all(layers.map((layer) => loadLabels(layer.url)));
      if (image.url !== this.url) {
        const picture = await loadImage(image.url);
        if (number !== this.number) return;
        this.picture = picture;
        this.url = image.url;
        this.root.style.aspectRatio = `${image.shown[0]} / ${image.shown[1]}`;
        this.root.style.setProperty("--ratio", image.shown[0] / image.shown[1]);
        this.info = image;
        this.resize();
        this.fit();
      }
      this.info = image;
      const labels = await loading;
      if (number !== this.number) return;
      this.layers = layers.map((layer, k) => ({ ...layer, labels: labels[k], visible: layer.visible !== false }));
      this.selected = null;
      this.layers.forEach((layer) => this.paint(layer));
      this.root.dataset.layers = String(this.layers.length);
      this.draw();
    }
    resize() {
      const box = this.root.getBoundingClientRect();
      if (!box.width || !this.info) return;
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
      if (this.canvas.width === width && this.canvas.height === height) return;
      const fitted = this.scale === undefined || this.isFitted;
      [this.canvas.width, this.canvas.height, this.ratio] = [width, height, ratio];
      if (fitted) this.fit();
      else this.draw();
    }
    fit() {
      if (!this.info || !this.canvas.width) return;
      const [w, h] = this.info.shown;
      this.scale = Math.min(this.canvas.width / w, this.canvas.height / h);
      this.x = (this.canvas.width - w * this.scale) / 2;
      this.y = (this.canvas.height - h * this.scale) / 2;
      this.isFitted = true;
      this.minScale = this.scale;
      this.draw();
    }
    zoom(factor, at) {
      if (!this.info) return;
      const [cx, cy] = at || [this.canvas.width / 2, this.canvas.height / 2];
      const scale = Math.min(Math.max(this.scale * factor, this.minScale), this.minScale * 64);
      if (scale <= this.minScale * 1.001) return this.fit();
      this.x = cx - ((cx - this.x) * scale) / this.scale;
      this.y = cy - ((cy - this.y) * scale) / this.scale;
      this.scale = scale;
      this.isFitted = false;
      this.draw();
    }
    /* position of the pointer in px of the picture as sent */
    place(event) {
      const box = this.canvas.getBoundingClientRect();
      const px = [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
      return { px, x: (px[0] - this.x) / this.scale, y: (px[1] - this.y) / this.scale, left: event.clientX - box.left, top: event.clientY - box.top };
    }
    at(place) {
      if (!this.info) return null;
      const [w, h] = this.info.shown;
      const [x, y] = [Math.floor(place.x), Math.floor(place.y)];
      if (x < 0 || y < 0 || x >= w || y >= h) return null;
      for (const layer of this.stacked().reverse()) {
        const label = layer.visible && layer.labels[y * w + x];
        if (label) return { layer: layer.id, label };
      }
      return null;
    }
    paint(layer) {
      const [w, h] = this.info.shown;
      const sheet = (canvas) => Object.assign(canvas || el("canvas"), { width: w, height: h }).getContext("2d");
      const [context, solid] = [sheet(layer.canvas), sheet(layer.solid)];
      [layer.canvas, layer.solid] = [context.canvas, solid.canvas];
      const [image, mask] = [context.createImageData(w, h), solid.createImageData(w, h)];
      const [out, covered] = [new Uint32Array(image.data.buffer), new Uint32Array(mask.data.buffer)];
      layer.pixels = 0;
      this.painted = (this.painted || 0) + 1;
      const colours = SHADES.map((_, k) => shade(rgb(layer.colour), k));
      const pack = (c, alpha) => ((Math.round(alpha * 255) << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;
      const edge = colours.map((c) => pack(c, 0.95));
      const inside = colours.map((c) => pack(c, this.mode === "fill" ? this.opacity : 0));
      const thick = Math.max(1, Math.round(Math.max(w, h) / 650));
      const labels = layer.labels;
      for (let y = 0, k = 0; y < h; y++)
        for (let x = 0; x < w; x++, k++) {
          const label = labels[k];
          if (!label) continue;
          layer.pixels++;
          covered[k] = 0xff000000;
          let border = false;
          for (let t = 1; t <= thick && !border; t++)
            border = (x >= t && labels[k - t] !== label) || (x + t < w && labels[k + t] !== label) ||
              (y >= t && labels[k - t * w] !== label) || (y + t < h && labels[k + t * w] !== label);
          const s = layer.shades[label - 1] || 0;
          out[k] = border ? edge[s] : inside[s];
        }
      context.putImageData(image, 0, 0);
      solid.putImageData(mask, 0, 0);
    }
    /* the layers from the bottom up: where they overlap the smaller one is shown, so that a part of a set can be told from the set */
    stacked() {
      return [...this.layers].sort((a, b) => (b.pixels || 0) - (a.pixels || 0));
    }
    /* all visible layers in one picture */
    masks() {
      const visible = this.stacked().filter((layer) => layer.visible);
      const now = `${this.painted} ${visible.map((layer) => layer.id).join(" ")}`;
      if (this.sheet && this.sheetOf === now) return this.sheet;
      this.sheetOf = now;
      this.sheet ||= el("canvas");
      [this.sheet.width, this.sheet.height] = this.info.shown;
      const context = this.sheet.getContext("2d");
      for (const layer of visible) {
        /* layers that another script has painted, such as frames of a video, lie above each other */
        if (layer.solid) {
          context.globalCompositeOperation = "destination-out";
          context.drawImage(layer.solid, 0, 0);
        }
        context.globalCompositeOperation = "source-over";
        context.drawImage(layer.canvas, 0, 0);
      }
      return this.sheet;
    }
    repaint() {
      this.layers.forEach((layer) => this.paint(layer));
      this.draw();
    }
    select(target, move) {
      this.selected = null;
      const layer = target && this.layers.find((other) => other.id === target.layer);
      const box = layer && layer.boxes[target.label];
      if (layer && box) {
        const k = this.info.shown[0] / this.info.width;
        const [x0, y0] = [Math.max(0, Math.floor(box[0] * k) - 3), Math.max(0, Math.floor(box[1] * k) - 3)];
        const x1 = Math.min(this.info.shown[0], Math.ceil(box[2] * k) + 3);
        const y1 = Math.min(this.info.shown[1], Math.ceil(box[3] * k) + 3);
        this.selected = { ...target, x0, y0, canvas: this.highlight(layer, target.label, x0, y0, x1, y1) };
        if (move) this.bringIntoView(x0, y0, x1, y1);
      }
      this.root.dataset.selected = target ? `${target.layer}:${target.label}` : "";
      this.draw();
    }
    highlight(layer, label, x0, y0, x1, y1) {
      const [w, h, full] = [x1 - x0, y1 - y0, this.info.shown[0]];
      const canvas = el("canvas");
      [canvas.width, canvas.height] = [w, h];
      const context = canvas.getContext("2d");
      const image = context.createImageData(w, h);
      const isInside = (x, y) => x >= 0 && y >= 0 && x < w && y < h && layer.labels[(y + y0) * full + x + x0] === label;
      const width = Math.max(1, Math.round(full / 500));
      for (let y = 0; y < h; y++)
        for (let x = 0; x < w; x++) {
          const here = isInside(x, y);
          let border = false;
          for (let t = 1; t <= width && !border; t++)
            border = [[t, 0], [-t, 0], [0, t], [0, -t]].some(([dx, dy]) => isInside(x + dx, y + dy) !== here);
          const k = 4 * (y * w + x);
          if (border) image.data.set(here ? [255, 255, 255, 255] : [0, 0, 0, 150], k);
          else if (here) image.data.set([255, 255, 255, 70], k);
        }
      context.putImageData(image, 0, 0);
      return canvas;
    }
    bringIntoView(x0, y0, x1, y1) {
      const left = x0 * this.scale + this.x, right = x1 * this.scale + this.x;
      const top = y0 * this.scale + this.y, bottom = y1 * this.scale + this.y;
      if (left >= 0 && top >= 0 && right <= this.canvas.width && bottom <= this.canvas.height) return;
      this.x += this.canvas.width / 2 - (left + right) / 2;
      this.y += this.canvas.height / 2 - (top + bottom) / 2;
    }
    draw() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        this.drawNow();
      });
    }
    drawNow() {
      if (!this.picture || !this.canvas.width) return;
      const context = this.canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      context.setTransform(this.scale, 0, 0, this.scale, this.x, this.y);
      context.imageSmoothingEnabled = this.scale < 3;
      context.drawImage(this.picture, 0, 0, this.info.shown[0], this.info.shown[1]);
      if (this.layers.length) context.drawImage(this.masks(), 0, 0);
      if (this.selected) context.drawImage(this.selected.canvas, this.selected.x0, this.selected.y0);
      const boxes = this.drawing ? [...this.boxes, this.drawing] : this.boxes;
      boxes.forEach((box, k) => {
        const [x0, y0, x1, y1] = this.toShown(box);
        const active = k === this.activeBox;
        context.lineWidth = (active ? 3 : 2) * (this.ratio / this.scale);
        const own = this.boxColour && this.boxColour(box);
        context.strokeStyle = own || (active ? "#ffd23f" : "#00b3ff");
        context.fillStyle = active ? "rgba(255,210,63,.18)" : own ? "transparent" : "rgba(0,179,255,.12)";
        context.fillRect(x0, y0, x1 - x0, y1 - y0);
        context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      });
      this.drawRuler(context);
      this.drawScaleBar();
    }
    /* the line between two ends that a person marks, and strokes across it at both */
    drawRuler(context) {
      const ends = (this.ruler || []).map((end) => this.toShown(end));
      if (!ends.length) return;
      const px = this.ratio / this.scale;
      const [[x0, y0], [x1, y1]] = [ends[0], ends[1] || ends[0]];
      const length = Math.hypot(x1 - x0, y1 - y0);
      const [dx, dy] = length ? [(-(y1 - y0) / length) * 9 * px, ((x1 - x0) / length) * 9 * px] : [0, 9 * px];
      for (const [width, colour] of [[5, "#10151b"], [2.5, "#ffd23f"]]) {
        context.lineWidth = width * px;
        context.strokeStyle = colour;
        context.beginPath();
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
        for (const [x, y] of ends) {
          context.moveTo(x - dx, y - dy);
          context.lineTo(x + dx, y + dy);
        }
        context.stroke();
      }
    }
    /* a line that is almost level or upright becomes so: scale bars are */
    static straight([from, to]) {
      const [dx, dy] = [Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
      if (dy < 0.06 * dx) return [from, [to[0], from[1]]];
      return dx < 0.06 * dy ? [from, [from[0], to[1]]] : [from, to];
    }
    isInside(place) {
      return place.x >= 0 && place.y >= 0 && place.x <= this.info.shown[0] && place.y <= this.info.shown[1];
    }
    /* the end that stays where a drag from this place of the canvas moves the other one */
    otherEnd([x, y]) {
      if (this.ruler.length < 2) return null;
      const far = this.ruler.map((end) => {
        const [sx, sy] = this.toShown(end);
        return Math.hypot(sx * this.scale + this.x - x, sy * this.scale + this.y - y);
      });
      if (Math.min(...far) > 12 * this.ratio) return null;
      return this.ruler[far[0] < far[1] ? 1 : 0];
    }
    /* begin to mark the ends of a scale bar, `[]` or both ends in px of the micrograph; `null` ends it */
    measure(ends) {
      this.ruler = ends;
      this.tip.hidden = true;
      this.draw();
    }
    /* mark an end: the first, the second, then the nearer one is moved */
    markEnd(point) {
      if (this.ruler.length === 2) {
        const far = this.ruler.map((end) => Math.hypot(end[0] - point[0], end[1] - point[1]));
        this.ruler = [this.ruler[far[0] < far[1] ? 1 : 0], point];
      } else this.ruler = [...this.ruler, point];
      if (this.ruler.length === 2) this.ruler = Stage.straight(this.ruler);
      this.onRuler();
    }
    drawScaleBar() {
      const nm = this.info.nm;
      /* it would cover the bar that is marked */
      this.bar.hidden = !nm || Boolean(this.ruler);
      if (this.bar.hidden) return;
      const cssPerPx = ((this.info.shown[0] / this.info.width) * this.scale) / this.ratio;
      const length = niceLength(((this.canvas.width / this.ratio) * 0.26 * nm) / cssPerPx);
      this.bar.firstChild.textContent = lengthWords(length);
      this.bar.lastChild.style.width = `${(length / nm) * cssPerPx}px`;
    }
    /* boxes are in px of the micrograph */
    toShown(box) {
      const k = this.info.shown[0] / this.info.width;
      return box.map((v) => v * k);
    }
    toMicrograph(x, y) {
      const k = this.info.width / this.info.shown[0];
      return [Math.min(Math.max(x * k, 0), this.info.width), Math.min(Math.max(y * k, 0), this.info.height)];
    }
    listen() {
      const canvas = this.canvas;
      let drag = null;
      canvas.addEventListener("wheel", (event) => {
        if (!this.info || (this.modestWheel && !event.ctrlKey && document.activeElement !== canvas)) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), this.place(event).px);
      }, { passive: false });
      canvas.addEventListener("pointerdown", (event) => {
        if (!this.info || event.button > 1) return;
        canvas.setPointerCapture(event.pointerId);
        const place = this.place(event);
        drag = { px: place.px, x: this.x, y: this.y, moved: false };
        if ((this.onBoxes || this.ruler) && event.button === 0 && !event.shiftKey) {
          const point = this.toMicrograph(place.x, place.y);
          drag.from = (this.ruler && this.otherEnd(place.px)) || point;
          drag.inside = this.isInside(place);
        }
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!this.info) return;
        const place = this.place(event);
        if (drag) {
          const [dx, dy] = [place.px[0] - drag.px[0], place.px[1] - drag.px[1]];
          if (Math.hypot(dx, dy) > 4 * this.ratio) drag.moved = true;
          if (drag.from && drag.moved && this.ruler) {
            if (drag.inside) this.ruler = Stage.straight([drag.from, this.toMicrograph(place.x, place.y)]);
            this.onRuler();
            this.draw();
          } else if (drag.from && drag.moved) {
            const [x, y] = this.toMicrograph(place.x, place.y);
            this.drawing = [Math.min(x, drag.from[0]), Math.min(y, drag.from[1]), Math.max(x, drag.from[0]), Math.max(y, drag.from[1])];
            this.draw();
          } else if (!drag.from && drag.moved && !this.isFitted) {
            [this.x, this.y] = [drag.x + dx, drag.y + dy];
            this.draw();
          }
          this.tip.hidden = true;
          return;
        }
        this.hover(this.at(place), place);
      });
      const release = (event) => {
        if (!drag) return;
        const place = this.place(event);
        if (this.ruler && drag.from) {
          if (!drag.inside) this.onRuler("outside");
          else if (!drag.moved) this.markEnd(this.toMicrograph(place.x, place.y));
        } else if (this.drawing) {
          const [x0, y0, x1, y1] = this.drawing;
          this.drawing = null;
          if (x1 - x0 >= 2 && y1 - y0 >= 2) {
            this.boxes.push([x0, y0, x1, y1]);
            this.activeBox = this.boxes.length - 1;
            this.onBoxes();
          }
        } else if (!drag.moved && this.onBoxes) {
          const [x, y] = this.toMicrograph(place.x, place.y);
          const inside = this.boxes.map((b, k) => [k, (b[2] - b[0]) * (b[3] - b[1]), b]).filter(([, , b]) => b[0] <= x && x <= b[2] && b[1] <= y && y <= b[3]);
          this.activeBox = inside.length ? inside.sort((a, b) => a[1] - b[1])[0][0] : undefined;
          this.onBoxes();
        } else if (!drag.moved && this.onPick) this.onPick(this.at(place));
        drag = null;
        this.draw();
      };
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", () => { drag = null; this.drawing = null; this.draw(); });
      canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
      canvas.addEventListener("dblclick", () => this.fit());
      canvas.addEventListener("keydown", (event) => {
        if (event.key === "+" || event.key === "=") this.zoom(1.3);
        else if (event.key === "-") this.zoom(1 / 1.3);
        else if (event.key === "0") this.fit();
        else if ((event.key === "Delete" || event.key === "Backspace") && this.onBoxes && this.activeBox !== undefined) {
          this.boxes.splice(this.activeBox, 1);
          this.activeBox = undefined;
          this.onBoxes();
          this.draw();
        } else return;
        event.preventDefault();
      });
    }
    hover(target, place) {
      this.canvas.style.cursor = this.onBoxes || this.ruler ? "crosshair" : target ? "pointer" : this.isFitted ? "default" : "grab";
      const layer = !this.ruler && target && this.layers.find((other) => other.id === target.layer);
      this.tip.hidden = !layer;
      if (!layer) return;
      this.tip.replaceChildren(
        el("b", {}, el("i", { style: { background: layer.colour } }), `${layer.concept} ${target.label}`),
        ...(layer.lines[target.label] || []).map(([name, value]) => el("div", {}, el("span", {}, name), el("span", {}, value))),
      );
      const box = this.root.getBoundingClientRect();
      const right = place.left > box.width - 210;
      this.tip.style.left = right ? "" : `${place.left + 14}px`;
      this.tip.style.right = right ? `${box.width - place.left + 14}px` : "";
      this.tip.style.top = `${Math.min(place.top + 12, box.height - 110)}px`;
    }
  }

  Object.assign(window.lisaMicro.parts, { Stage, loadImage, loadLabels, rgb });
})();
