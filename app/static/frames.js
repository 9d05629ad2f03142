/* A frame of a video: the stage with tracks in constant colours, their numbers, and recent events. */
(() => {
  "use strict";
  const { Stage, el, rgb } = window.lisaMicro.parts;

  class FrameStage extends Stage {
    constructor(options) {
      super(options);
      this.marked = new Set();
      this.numbers = true;
      this.colours = {};
    }
    /* wait for both pictures, so that masks are never drawn on another frame */
    async showFrame(image, labels, layer) {
      const number = (this.number = (this.number || 0) + 1);
      const [picture, found] = await Promise.all([image.picture, labels]);
      if (number !== this.number) return;
      const other = !this.info || this.info.key !== image.key;
      this.picture = picture;
      this.info = image;
      if (other) {
        this.root.style.aspectRatio = `${image.shown[0]} / ${image.shown[1]}`;
        this.root.style.setProperty("--ratio", image.shown[0] / image.shown[1]);
        this.resize();
        this.fit();
      }
      this.layers = found ? [{ ...layer, labels: found, visible: true, canvas: this.layers[0]?.canvas }] : [];
      this.repaint();
      this.tip.hidden = true;
    }
    paint(layer) {
      const [w, h] = this.info.shown;
      const canvas = (layer.canvas ||= el("canvas"));
      [canvas.width, canvas.height] = [w, h];
      this.painted = (this.painted || 0) + 1;
      const context = canvas.getContext("2d");
      const image = context.createImageData(w, h);
      const out = new Uint32Array(image.data.buffer);
      const pack = (c, alpha) => ((Math.round(alpha * 255) << 24) | (c[2] << 16) | (c[1] << 8) | c[0]) >>> 0;
      const styles = {};
      const style = (label) => (styles[label] ||= (() => {
        const colour = rgb(this.colours[label] || "#888888");
        const chosen = this.marked.has(label);
        const dim = this.marked.size && !chosen ? 0.45 : 1;
        return { edge: pack(chosen ? [255, 255, 255] : colour, 0.95 * dim), inside: pack(colour, this.mode === "fill" ? this.opacity * dim : 0), chosen };
      })());
      const thick = Math.max(1, Math.round(Math.max(w, h) / 500));
      const labels = layer.labels;
      for (let y = 0, k = 0; y < h; y++)
        for (let x = 0; x < w; x++, k++) {
          const label = labels[k];
          if (!label) continue;
          const { edge, inside, chosen } = style(label);
          const width = chosen ? thick + 1 : thick;
          let border = false;
          for (let t = 1; t <= width && !border; t++)
            border = (x >= t && labels[k - t] !== label) || (x + t < w && labels[k + t] !== label) ||
              (y >= t && labels[k - t * w] !== label) || (y + t < h && labels[k + t * w] !== label);
          out[k] = border ? edge : inside;
        }
      context.putImageData(image, 0, 0);
    }
    hover(target, place) {
      const layer = target && this.layers.find((other) => other.id === target.layer);
      if (layer) layer.colour = this.colours[target.label] || "#888888";
      super.hover(target, place);
    }
    drawNow() {
      super.drawNow();
      if (!this.picture || !this.canvas.width) return;
      const context = this.canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      const k = (this.info.shown[0] / this.info.width) * this.scale;
      const at = (x, y) => [(x + 0.5) * k + this.x, (y + 0.5) * k + this.y];
      const write = (text, x, y, size, colour) => {
        context.font = `600 ${size * this.ratio}px system-ui, sans-serif`;
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.lineWidth = 3 * this.ratio;
        context.lineJoin = "round";
        context.strokeStyle = "rgba(10,14,18,.85)";
        context.strokeText(text, x, y);
        context.fillStyle = colour;
        context.fillText(text, x, y);
      };
      /* white on the colour of the event is readable on any particle */
      const badge = (text, x, y, size, colour) => {
        context.font = `600 ${size * this.ratio}px system-ui, sans-serif`;
        const [wide, high] = [context.measureText(text).width + 10 * this.ratio, (size + 6) * this.ratio];
        const left = Math.min(Math.max(x, wide / 2), this.canvas.width - wide / 2) - wide / 2;
        context.fillStyle = colour;
        context.beginPath();
        context.roundRect(left, y - high / 2, wide, high, 4 * this.ratio);
        context.fill();
        context.textAlign = "center";
        context.textBaseline = "middle";
        context.fillStyle = "#fff";
        context.fillText(text, left + wide / 2, y);
      };
      const boxes = this.layers[0]?.boxes || {};
      const names = Object.keys(boxes);
      if (this.numbers && names.length <= 120)
        for (const name of names) {
          const [x0, y0, x1, y1] = boxes[name];
          write(name, ...at((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5), 11, "#fff");
        }
      const labelled = [];
      for (const mark of this.marks || []) {
        if (mark.after.length && !mark.after.some((name) => boxes[name])) continue; /* these tracks have ended since */
        const box = mark.after.length === 1 && boxes[mark.after[0]];
        const [x, y] = box ? at((box[0] + box[2]) / 2 - 0.5, (box[1] + box[3]) / 2 - 0.5) : at(mark.x, mark.y);
        const radius = (20 + 5 * mark.age) * this.ratio;
        context.globalAlpha = 1 - 0.2 * mark.age;
        for (const [colour, wide] of [["rgba(10,14,18,.7)", 5], [mark.colour, 2.5]]) {
          context.beginPath();
          context.arc(x, y, radius, 0, 2 * Math.PI);
          context.lineWidth = wide * this.ratio;
          context.strokeStyle = colour;
          context.stroke();
        }
        /* newest first; older events nearby get no label */
        if (labelled.every(([a, b]) => Math.hypot(a - x, b - y) > 50 * this.ratio)) {
          const below = y + radius + 10 * this.ratio;
          badge(mark.kind, x, below < this.canvas.height - 10 * this.ratio ? below : y - radius - 10 * this.ratio, 11, mark.colour);
          labelled.push([x, y]);
        }
        context.globalAlpha = 1;
      }
    }
  }

  window.lisaMicro.parts.FrameStage = FrameStage;
})();
